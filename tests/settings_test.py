"""Every setting of every kind of study has a rule; what it refuses is one line, before any work."""

import math
import pathlib

import numpy as np
import pytest

from mmalign_jax import checks, early, losses, settings
from mmalign_jax.cli import launching, register
from mmalign_jax.studies import registry
from mmalign_jax.studies.emergence import plan as emergence
from mmalign_jax.studies.strength import plan as study
from mmalign_jax.studies.train import plan as train_plan
from mmalign_jax.studies.zoo import plan as zoo_plan

PLANS = {'strength': study, 'emergence': emergence, 'train': train_plan}
FIELDS = [(kind, name) for kind, plan in PLANS.items() for name in plan.defaults()]
RULES = {'strength': study.rules(study.SOURCES['paired']), 'emergence': emergence.rules(),
         'train': train_plan.rules()}
NOTHING = object()
ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture
def idle(monkeypatch):
  """Fails where a plan makes tables, reads data or traces a program."""
  def work(*_, **__):
    raise AssertionError('work has begun')
  own = losses.own_ranges()  # asked for again with every setting; no row comes or goes here
  monkeypatch.setattr(losses, 'own_ranges', lambda: own)
  for module, name in ((study, 'make_tables'), (study.files, 'load'), (study, 'traceable'),
                       (emergence, 'make_tables'), (emergence, 'traceable'), (train_plan, 'fits')):
    monkeypatch.setattr(module, name, work)


def bad_values(kind: str, name: str) -> list:
  """Values that no setting of this rule can have."""
  rule = RULES[kind][name]
  if rule.kind == 'any':  # judged by the module that it is handed to
    return [NOTHING]
  bad = {'truth': [1, 0, 'True', None, 1.0], 'text': [1, None, b'x', 'a\nb', True],
         'name': [1, None, 'nonsense', True, 'x' * 10_000],
         'pairs': [(), 1, ((1,),), ((3, 1),), ((1.5, 2),), 'ab', ((True, 2),), None]}
  numbers = [math.nan, math.inf, -math.inf, True, np.True_, '1', '0.5', '', None, 1j, b'1', NOTHING,
             {}, -10**400, 10**400, np.datetime64('2020-01-01')]
  found = bad.get(rule.kind, numbers)
  if rule.kind in ('number', 'whole'):
    found = found + [rule.low - 1] * math.isfinite(rule.low) + (
        [rule.high * 2 + 1] * math.isfinite(rule.high))
    found = found + [0] * (rule.above and not rule.low) + [0.5] * (rule.kind == 'whole')
  if not rule.axis:
    return found + [(), [1, 2]] if rule.kind != 'pairs' else found
  fine = PLANS[kind].defaults()[name] or (1,)
  fine = fine[0] if isinstance(fine, tuple) else fine
  return found + [(v,) for v in found if v is not None] + [(fine, fine), [(fine,)]] + (
      [()] if rule.least else []) + ([range(10**9)] if rule.kind == 'whole' else [])


@pytest.mark.parametrize('kind', PLANS)
def test_every_setting_has_a_rule_and_its_default_passes(kind):
  defaults, rules = PLANS[kind].defaults(), PLANS[kind].rules()
  assert set(rules) == set(defaults)
  assert settings.checked({}, defaults, rules).keys() == defaults.keys()


@pytest.mark.parametrize('kind, name', FIELDS)
def test_a_bad_value_is_one_line_that_names_it_before_any_work(kind, name, idle):
  generator = {'generator': 'paired', 'data': 'digits'} if kind == 'strength' and (
      name in study.files.DEFAULTS or name == 'task') else {}
  for value in bad_values(kind, name):
    with pytest.raises(ValueError) as caught:
      PLANS[kind].from_settings(generator | {name: value})
    text = str(caught.value)
    assert '\n' not in text and len(text) < 700, text
    called = {'measures': 'measure', 'data_seed': 'seed'}.get(name, name)
    assert called in text.split('known:')[0], (value, text)


@pytest.mark.parametrize('kind', PLANS)
@pytest.mark.parametrize('value', [np.int64(1), np.uint8(1)])
def test_numbers_of_numpy_are_numbers(kind, value):
  defaults, rules = PLANS[kind].defaults(), PLANS[kind].rules()
  found = settings.checked({'seed': np.array([3, 1]), 'neighbors': value}, defaults, rules)
  assert found['seed'] == (1, 3) and type(found['neighbors']) is int and found['neighbors'] == 1


@pytest.mark.parametrize('axes, cells', [
    (dict(seed=range(10_000), lam=np.arange(10_000)), '100,000,000'),
    (dict(seed=range(1001), redundancy=tuple(range(9)), lam=np.linspace(0, 1, 1000)), '9,009,000')])
def test_a_grid_that_no_machine_holds_is_refused_with_its_size(axes, cells, idle):
  with pytest.raises(ValueError, match=f'{cells} cells'):
    study.from_settings(axes)


@pytest.mark.parametrize('given, message', [
    (dict(lam=(0.1, 0.1 + 1e-12)), 'lam=0.1 and 0.10.* are the same in float32'),
    (dict(lam=(1e39,)), 'lam=1e[+]39 is out of the range of float32'),
    (dict(lam=(1e-50,)), 'lam=1e-50 is out of the range of float32'),
    (dict(n_train=(2**25,)), 'n_train=.*is outside 1..16777216'),
    (dict(lam="(0, 1)"), "lam='[(]0, 1[)]' is not a number, but text: leave the inner quotes out"),
    (dict(n_align=3, neighbors=2), 'n_align=3 must be at least 4'),
    (dict(n_align=4, neighbors=4), 'neighbors=4 must be below n_align=4'),
    (dict(memory_gb=0), 'memory_gb=0 must be above 0'),
    (dict(chunk=-1), 'chunk=-1 must be a whole number of at least 0'),
    (dict(workers=-1), 'workers=-1 must be a whole number of at least 0'),
    (dict(resamples=0), 'resamples=0 must be a whole number of at least 20'),
    (dict(task='l1'), "task='l1' is not for generator 'bits'"),
    (dict(encoder='lenet'), "encoder 'lenet' takes images"),
    (dict(projection='none', width_1=3), 'embeddings of different widths: 3 and 12'),
    (dict(encoder='vit'), "encoder 'vit' takes images")])
def test_settings_that_do_not_fit(given, message):
  with pytest.raises(ValueError, match=message) as caught:
    study.from_settings(given)
  assert '\n' not in str(caught.value)


UNREAD = [
    ('strength', dict(unique_1=(99.,)), "unique_1=.* not a setting of generator 'bits'"),
    ('strength', dict(generator='paired', data='digits', task='auto', mismatched=(.5,)),
     "mismatched=.* not a setting of generator 'paired', which reads n_train"),
    ('strength', dict(data='digits'), "data='digits' has no effect: .*'bits' reads no files"),
    ('strength', dict(x1='left'), "x1='left' has no effect"),
    ('strength', dict(split_seed=1), 'split_seed=1 has no effect'),
    ('strength', dict(test_fraction=.5), 'test_fraction=0.5 has no effect'),
    ('strength', dict(group='g'), "group='g' has no effect"),
    ('strength', dict(lam=(1.,), lam_1=(0.,), lam_2=(0.,)), 'lam=.* lam_2 are both given'),
    ('strength', dict(min_temperature=.02), 'min_temperature=.*learnable_temperature=True'),
    ('strength', dict(max_temperature=2.), 'max_temperature=.*learnable_temperature=True'),
    ('strength', dict(projection='none', projection_width=4), 'projection_width=4 .*linear or mlp'),
    ('strength', dict(depth=2, depth_1=1, depth_2=3), 'depth=2 .*depth_1 and depth_2 stand for it'),
    ('strength', dict(width=2, width_1=1, width_2=3), 'width=2 .*width_1 and width_2 stand for it'),
    ('strength', dict(encoder='gru', encoder_1='mlp', encoder_2='mlp'), "encoder='gru' .*both"),
    ('strength', dict(transform='both'), "transform='both' .*without a transform_depth above 0"),
    ('strength', dict(transform_seed=1), 'transform_seed=1 .*without a transform_depth above 0'),
    ('strength', dict(chunk=2, memory_gb=3.), 'memory_gb=3.0 .*chunk=2 says'),
    ('emergence', dict(learning_rate=(1e-2,), weight_decay=(0.,), tune_epochs_1=3),
     'tune_epochs_1=3 .*nothing to tune'),
    ('emergence', dict(learning_rate=1e-2, weight_decay=0., bands=((1, 10),)),
     'bands=.*nothing to tune'),
    ('emergence', dict(measures='linear_cka', neighbors=5), 'neighbors=5 .*counts neighbours'),
    ('emergence', dict(generator='atoms', level=2), "level=2 is not a setting of .*'atoms'"),
    ('train', dict(max_temperature=2.), 'max_temperature=.* without learnable_temperature=True'),
    ('train', dict(projection='none', width_1=8, width_2=16, projection_width=4),
     'projection_width=4'),
    ('train', dict(resamples=200), "setting 'resamples' is unknown")]


@pytest.mark.parametrize('kind, given, message', UNREAD)
def test_a_setting_that_nothing_reads_is_refused(kind, given, message, idle):
  with pytest.raises(ValueError, match=message) as caught:
    PLANS[kind].from_settings(given)
  assert '\n' not in str(caught.value)


def test_defaults_and_presets_pass_and_what_is_not_read_is_not_recorded():
  made = study.from_settings({'unique_1': (0.0,), 'data': '', 'projection': 'none'})
  assert not {'unique_1', 'data', 'projection_width', 'transform', 'min_temperature', 'max_train',
              'study'} & set(made.settings)
  given = dict(lam=(0., 1.), lam_1=(0., 2.), lam_2=(0., 2.))
  made = study.from_settings(given, preset=('lam',))
  assert 'lam' not in made.axes and 'lam' not in made.settings
  assert study.from_settings({'study': 'strength'}).settings == study.from_settings({}).settings


def test_ranges_are_those_of_the_rules():
  for name in ('learning_rate', 'temperature', 'mismatched', 'seed'):
    rule = checks.traced_rule(name)
    assert rule.of(name, rule.high if math.isfinite(rule.high) else 1.0)


@pytest.mark.parametrize('kind', [*PLANS, 'zoo', 'objectives'])
def test_what_is_refused_early_is_refused_by_the_study_too(kind):
  plan = registry.STUDIES[kind]
  rules = {'zoo': zoo_plan.rules, 'objectives': RULES['strength'].copy}.get(
      kind, lambda: RULES[kind])()
  names = [name for name in plan.defaults() if name in rules and (
      name in early.LOWEST or name.startswith('lam') and name != 'lam_mode')]
  assert 'lam' in names or kind == 'zoo' or 'batch_size' in names
  for name in names:
    for value in (-1, -0.5, 0, 1e-30, 1, 3, 1.5, True, math.nan, -10**400, 'x', None):
      try:
        early.refuse({name: value})
        early.refuse({name: (1, value)})
      except ValueError as refused:
        with pytest.raises(ValueError) as caught:
          rules[name].of(name, value)
        assert str(caught.value).partition(' ')[0] == str(refused).partition(' ')[0]


def test_flags_that_hold_numbers_are_read_and_nothing_is_run():
  given = ['mmalign', '--config=x.py:quick', '--config.lam=(0, 1.5)', '--config.batch_size', '3',
           '-config.lam_1=-1', '--config.data=__import__("os").abort()', '--workdir=w',
           '--config.name={{}}', '--config.n_align={[1]}', '--config.neighbors=3in1',
           '--config.lam_2=' + '(' * 10_000, '--config.weight_decay=', '--config.learning_rate']
  assert launching.numbers(given) == {'lam': (0, 1.5), 'batch_size': (3,), 'lam_1': (-1,),
                                      'lam_2': (), 'weight_decay': (), 'learning_rate': ()}


def test_a_study_of_ones_own_may_take_what_none_of_the_package_does(monkeypatch):
  flags = lambda argv: argv  # absl's
  with pytest.raises(ValueError, match='^batch_size=0 must be at least 1$'):
    launching.parse(flags, ['mmalign', '--config=strength', '--config.batch_size=0'])
  with pytest.raises(ValueError, match='^lam=-2 must be at least 0$'):  # the first, every time
    launching.parse(flags, ['mmalign', '--config=strength', '--config.lam=-2', '--config.n_align=0',
                            '--config.batch_size=0', '--config.weight_decay=-1'])
  own = ['mmalign', f'--config={ROOT / "tests/own_study.py"}', '--config.batch_size=0']
  assert launching.parse(flags, own)[2] == '--config.batch_size=0'
  monkeypatch.setattr(register, 'loaded', ['own_study.py'])
  launching.parse(flags, ['mmalign', '--config=strength', '--config.batch_size=0'])
