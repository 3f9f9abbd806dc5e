"""Files as MultiBench publishes them, from the pickle to the answer of both studies of real pairs;
atoms beside strengths; a hostile pickle is refused by name."""

import json
import pathlib
import pickle
import runpy

import numpy as np
import pickles
import pytest
from scipy import stats

from mmalign_jax.information.decomposition import ATOMS
from mmalign_jax.studies import files, registry
from mmalign_jax.studies.objectives import atoms, atoms_figures, atoms_report, report
from mmalign_jax.studies.strength import scores

CONFIGS = pathlib.Path(__file__).resolve().parent.parent / 'configs'
SHORT = dict(n_align=16, neighbors=3, resamples=50)


def config(name: str, arg: str) -> dict:
  return runpy.run_path(str(CONFIGS / f'{name}.py'))['get_config'](arg).to_dict()


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  """A file in the published structure: {'train': {'vision', 'audio', 'text', 'labels', 'id'}}."""
  place = tmp_path_factory.mktemp('data') / 'mosi_raw.pkl'
  data = pickles.published()
  assert data['train']['labels'].shape == (30, 1, 1) and not data['train']['text'][:, 0].all()
  place.write_bytes(pickle.dumps(data))
  return place


@pytest.fixture(scope='module')
def strength(path, tmp_path_factory):
  """(data sets, folder, text) of strength_real on two views of it, a regression."""
  settings = config('strength_real', f'data={path},x1=vision,x2=text,pool=mean') | SHORT | dict(
      objectives=('cosine',), lam=(0.0, 1.0), seed=(0, 1, 2, 3, 4), steps=4, depth=1, width=4,
      batch_size=8, n_labelled=(0,), atoms=20, projection_width=4, tune_learning_rate=(),
      tune_weight_decay=(), tune_train_steps=(), tune_components=())
  folder, study = tmp_path_factory.mktemp('strength'), registry.STUDIES['objectives']
  plan = study.from_settings(settings, preset=tuple(settings))
  found = study.run(plan, folder, progress=False)
  return found, folder, registry.answer(study, plan, found, folder, figures=False)


def test_strengths_of_a_pickle_with_its_atoms(strength, path):
  found, folder, said = strength
  assert 'redundancy' in said and 'best of all' in said
  of, kept = (json.loads((folder / f'{name}.json').read_text())
              for name in ('summary', 'information'))
  pairs = files.read_pairs(config('strength_real', f'data={path},x1=vision,x2=text,pool=mean'))
  assert kept['atoms']['n'] == sum(pickles.N.values()) == len(pairs.y)
  again = atoms.estimate(pairs, 20)
  for name in ATOMS:
    assert kept['atoms'][name]['value'] == pytest.approx(again[name]['value'])
  assert [row['encoder'] for row in of] == [1, 2]
  for row in of:  # the test rows, judged by sign, by mean absolute error and by correlation
    one = found['']
    for name, variable in (('absolute_error', 'cross_entropy'), ('correlation', 'correlation')):
      values = one[f'{variable}_{row["encoder"]}'].sel(
          objective='cosine', n_labelled=0).mean('seed')
      assert row['scores'][name][0] == pytest.approx(float(values.sel(lam=0.0)))
      assert row['scores'][name][1] == pytest.approx(float(values.sel(lam=row['best_lam'])))
    assert -1 <= row['scores']['correlation'][0] <= 1 and row['scores']['absolute_error'][0] > 0
  table, _ = scores.sections(of, ['objective'])[0].parts
  assert table.head == ['objective', 'encoder', 'accuracy', 'MAE', 'correlation']


def test_emergence_of_a_pickle(path, tmp_path):
  settings = config('emergence_real', f'data={path},x1=vision,x2=text,pool=none') | SHORT | dict(
      encoder='sequence_transformer', depth=(1,), seed=(0, 1), epochs_1=1, epochs_2=1,
      learning_rate=(5e-3,), weight_decay=(0.0,), permutations=9)
  study = registry.STUDIES['emergence']
  plan = study.from_settings(settings, preset=tuple(settings))
  dataset = study.run(plan, tmp_path, progress=False)
  said = registry.answer(study, plan, dataset, tmp_path, figures=False)
  assert np.isfinite(dataset['accuracy_1']).all() and np.isfinite(dataset['correlation_2']).all()
  assert 'absolute error' in said and 'vision' in said


@pytest.mark.parametrize('name', ['strength_real', 'emergence_real'])
def test_a_hostile_pickle_is_refused_by_name(name, tmp_path):
  mark = tmp_path / 'ran'
  place = tmp_path / 'bad.pkl'
  place.write_bytes(pickles.hostile(str(mark))['os.system in protocol 2'][0])
  settings = config(name, f'data={place},x1=vision,x2=text,pool=mean')
  with pytest.raises(ValueError, match=r'(?s)^[^\n]*$') as error:
    registry.study_of(settings).from_settings(settings, preset=tuple(settings))
  assert str(place) in str(error.value) and "asks for 'posix.system'" in str(error.value)
  assert not mark.exists()


# -- the best strength against the atoms -----------------------------------------------------------


def made(n: int = 12) -> tuple[list[dict], dict[str, dict]]:
  """Entries of n pairs of five sources whose best strength follows redundancy, and their atoms."""
  g = np.random.default_rng(0)
  entries, found = [], {}
  for i in range(n):
    name, redundancy = f's{i % 5} v{i}', float(g.uniform())
    found[name] = {atom: {'value': value, 'interval': [0.0, 1.0], 'verdict': 'present'}
                   for atom, value in zip(ATOMS, (redundancy, *g.uniform(size=3).tolist()))} | {
                       'n': 100, 'cells': [4, 4]}
    entries += [{'set': name, 'objective': 'info_nce', 'n_labelled': 3, 'encoder': encoder,
                 'best_lam': 4 * redundancy, 'gain': float(g.normal())} for encoder in (1, 2)]
  return entries, found


def test_a_trend_over_pairs_and_over_sources():
  entries, found = made()
  trends = {(t.target, t.kind, t.units, t.encoder): t for t in atoms.trends(
      entries, found, ['n_labelled'], resamples=100)}
  assert len(trends) == 2 * 4 * 2 * 3
  known = trends['best_lam', 'redundancy', 'nats', 0]
  assert known.spearman == pytest.approx(1) and known.over_pairs == pytest.approx((1, 1))
  assert (len(known.sets), known.n_sources) == (12, 5)
  own = trends['gain', 'own', 'nats', 0]
  x = [found[e['set']][f'unique_{e["encoder"]}']['value'] for e in entries]
  assert own.spearman == pytest.approx(stats.spearmanr(x, [e['gain'] for e in entries])[0])
  assert own.over_pairs[0] < own.spearman < own.over_pairs[1]
  other = trends['gain', 'other', 'share', 1]
  first = [e for e in entries if e['encoder'] == 1]
  x = [found[e['set']]['unique_2']['value'] / sum(found[e['set']][a]['value'] for a in ATOMS)
       for e in first]
  assert other.spearman == pytest.approx(stats.spearmanr(x, [e['gain'] for e in first])[0])
  assert atoms.trends(entries[:2 * (atoms.FEWEST - 1)], found, ['n_labelled'], resamples=20) == []


def test_one_picture_of_all_pairs_and_their_curves(strength, tmp_path):
  entries, found = made(15)
  trends = atoms.trends(entries, found, ['n_labelled'], resamples=20)
  of = dict.fromkeys(found, strength[0][''])
  assert [p.name for p in atoms_figures.draw(of, trends, found, tmp_path)] == [
      'curves.png', 'curves_2.png', 'atoms.png']
  assert (tmp_path / 'atoms.svg').exists()
  assert atoms_report.words(tmp_path / 'curves_2.png').startswith('Accuracy over')
  tables = [part for section in atoms_report.sections(found, trends, ['set', 'n_labelled'])
            for part in section.parts if hasattr(part, 'head')]
  assert [len(table.rows) for table in tables] == [15, 2, 2]


@pytest.mark.parametrize('more, words', [
    ({'generator': 'bits'}, "atoms=20: information atoms are estimated of two sides from files"),
    ({'atoms': -1}, 'atoms=-1')])
def test_atoms_that_cannot_be_are_one_line(more, words):
  with pytest.raises(ValueError, match=r'(?s)^[^\n]*$') as error:
    registry.STUDIES['objectives'].from_settings({'atoms': 20} | more)
  assert words in str(error.value)


def test_sequences_have_no_atoms(path):
  pairs = files.read_pairs(config('strength_real', f'data={path},x1=vision,x2=text,pool=none'))
  with pytest.raises(ValueError, match="'vision' has sequences, of which no atoms are estimated"):
    atoms.estimate(pairs, 20)


@pytest.mark.parametrize('arg, sets', [
    ('mfeat', 15), ('mosi', 3), ('mfeat:fou,pix', 1), ('all', 25), ('tiny', 1), ('digits', 1)])
def test_pairs_of_the_configuration(arg, sets):
  settings = config('strength_real', arg)
  assert len(settings['sets']) == sets and settings['lam'][0] == 0 and settings['lam'][-1] == 4


def test_report_is_of_the_atoms_that_there_are(strength):
  found, _, _ = strength
  assert set(report.atoms_of(found)['']) >= {*ATOMS, 'n', 'cells'}
