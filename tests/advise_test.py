"""mmalign advise: steps, nested cross-validation, decisions, kills."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import types
from typing import Any

from emitters import OLDER
import jax
import numpy as np
import pytest
from scipy import stats

from mmalign_jax import cli, rng
from mmalign_jax.data import pair_source, pairs as pairs_of, prepared
from mmalign_jax.data.files import separate
from mmalign_jax.studies.advise import (
  clock,
  decision,
  evidence,
  folds,
  gains,
  rounds,
  search,
  steps,
  trial,
  work as works,
)
from mmalign_jax.studies.advise.cells import Arm, Trainer, first_seed
from mmalign_jax.studies.advise.search import Plan
from mmalign_jax.studies.advise.work import Work
from mmalign_jax.studies.strength import linear
from mmalign_jax.types import Hyper

TINY = Plan(2, 2, ('info_nce',), 1, (1, 2), 1, (1, 2), (0.5,))
AS_HERE = f"""
import sys
import jax
from mmalign_jax import cli
from mmalign_jax.studies.advise import clock
from mmalign_jax.studies.advise.search import Plan
jax.config.update('jax_disable_most_optimizations', True)
clock.LADDER, clock.MOST_STEPS = ({TINY!r},), 2
sys.exit(cli.main(sys.argv[1:]))
"""
SKIP = '--skip=alike,atoms,linear,regime,predicted,encoders'


def arrays(n=60, seed=0):
  g = np.random.default_rng(seed)
  z = g.normal(size=(n, 2))
  y = (z[:, 0] > 0).astype(float)
  y[::5] = np.nan
  return {'x1': z + 0.5 * g.normal(size=(n, 2)), 'x2': z + 0.5 * g.normal(size=(n, 2)), 'y': y}


@pytest.fixture(scope='module', autouse=True)
def tiny():
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(clock, 'LADDER', (TINY,))
    patch.setattr(clock, 'MOST_STEPS', 2)
    yield patch


@pytest.fixture(scope='module')
def file(tmp_path_factory):
  path = tmp_path_factory.mktemp('data') / 'data.npz'
  np.savez(path, **arrays())
  return path


@pytest.fixture(scope='module')
def done(file, tmp_path_factory):
  """A folder of a whole run."""
  workdir = tmp_path_factory.mktemp('whole')
  assert cli.main(['advise', str(file), f'--workdir={workdir}', '--effort=0', SKIP]) == 0
  return workdir


def made(file):
  found, _ = works.usable(pairs_of.from_raw(_raw(file)))
  return found


def _raw(file):
  from mmalign_jax.data.files import views
  return views.read_raw(str(file))


# -- the command -----------------------------------------------------------------------------------


def test_a_run_ends_in_a_decision_for_every_encoder(done):
  found = json.loads((done / 'summary.json').read_text())
  assert found['finished'] and found['steps']['data']['labelled'] == 48
  encoders = found['steps']['decision']['encoders']
  assert list(encoders) == ['x1', 'x2', trial.TOGETHER]
  for one in encoders.values():
    assert one['gain']['units'] == one['gain']['rows'] == 48 and one['gain']['folds'] == 2
    assert one['curve'].keys() == {'0.5', '1.0'}
  page = (done / 'report.html').read_text()
  assert all(one['sentence'] in page for one in encoders.values()) and '<script' not in page


def test_an_effort_outweighs_a_plan_by_minutes(tmp_path):
  other = dataclasses.replace(TINY, n_outer=3)
  (tmp_path / 'rounds').mkdir()
  def keep(version):
    (tmp_path / 'rounds' / 'plan.json').write_text(json.dumps(
        {'inputs': ['data', 0, 300.0, version], 'plan': dataclasses.asdict(other)}))
  def planned(effort):
    work: Any = types.SimpleNamespace(
        folder=tmp_path, fingerprint='data', seed=0, unit=np.arange(50),
        clock=types.SimpleNamespace(seconds=300.0, effort=effort),
        pairs=types.SimpleNamespace(labelled=np.ones(50, bool)))
    return trial._kept_plan(work)
  keep(clock.VERSION)
  assert planned(None) == other != planned(0) == clock.of_effort(0, 50)
  keep(clock.VERSION - 1)  # of a search that knew less
  assert planned(None) is None


def test_the_time_spent_is_that_of_what_is_not_done_again(done):
  """A search of another effort begins anew: what the last one took is no part of it."""
  mark = json.loads((done / 'config.json').read_text())['data']
  took = lambda place: {path.stem: json.loads(path.read_text())['seconds']
                        for path in (done / place).glob('*.json') if path.stem != 'plan'}
  def spent(effort, seconds=300.0):
    work: Any = types.SimpleNamespace(
        folder=done, fingerprint=mark, seed=0, unit=np.arange(60),
        clock=clock.Clock(seconds, effort),
        pairs=types.SimpleNamespace(labelled=~np.isnan(arrays()['y'])))
    return steps.spent(work)
  of_steps, of_rounds = took('steps'), took('rounds')
  assert spent(0) == pytest.approx(sum(of_steps.values()))
  assert spent(None) == pytest.approx(of_steps['data'])  # the trial is redone, by minutes
  (done / 'steps' / 'trial.json').rename(done / 'steps' / 'trial.aside')
  try:
    assert spent(0) == pytest.approx(of_steps['data'] + sum(of_rounds.values()))
  finally:
    (done / 'steps' / 'trial.aside').rename(done / 'steps' / 'trial.json')


def test_time_left_is_not_told_where_effort_decides():
  assert clock.Clock(60.0, effort=1).said() == '' and clock.Clock(60.0).said() == '; 60 s left'


@pytest.mark.parametrize('left, word', [
    (3, 'x1'), (1, 'settings were chosen, and no outer fold was judged'),
    (0, 'nothing was trained')])
def test_a_page_of_an_advice_that_was_killed_says_what_it_holds(done, tmp_path, left, word):
  shutil.copytree(done / 'rounds', tmp_path / 'rounds')
  (tmp_path / 'steps').mkdir()
  shutil.copy(done / 'steps' / 'data.json', tmp_path / 'steps')
  shutil.copy(done / 'config.json', tmp_path)
  for k in range(left, 3):
    (tmp_path / 'rounds' / f'round_{k}.json').unlink()
  assert cli.main(['report', str(tmp_path)]) == 0
  page = (tmp_path / 'report.html').read_text()
  assert 'Not finished' in page and word in page and '60 rows, 48 labelled' in page


def test_where_no_prediction_differs_the_interval_is_of_what_n_rows_leave_open():
  same = [np.full(100, 0.9)] * 5
  one = gains.gain(same, same, [np.ones(100)] * 5)
  assert one.gain == 0 and one.interval == pytest.approx((-0.00735, 0.00735), abs=1e-5)
  assert decision.kind_of(one) == decision.LEAVE
  few = gains.gain([same[0][:10]] * 4, [same[0][:10]] * 4, [np.ones(10)] * 4)
  assert decision.kind_of(few) == decision.UNKNOWN
  better = gains.gain([same[0][:10]] * 4, [same[0][:10] + 0.001] * 4, [np.ones(10)] * 4)
  assert decision.kind_of(better) == decision.UNKNOWN


def test_after_a_kill_the_same_command_gives_the_same(file, done, tmp_path, capsys, monkeypatch):
  plays, real = [], rounds.play
  def interrupted(*args):
    plays.append(1)
    if len(plays) == 3:
      raise KeyboardInterrupt
    return real(*args)
  monkeypatch.setattr(rounds, 'play', interrupted)
  argv = ['advise', str(file), f'--workdir={tmp_path}', '--effort=0', SKIP]
  assert cli.main(argv) == 130
  said = capsys.readouterr()
  assert 'Not finished' in said.out and 'stopped; every finished step is safe' in said.err
  assert json.loads((tmp_path / 'summary.json').read_text())['finished'] is False
  assert cli.main(argv) == 0
  assert len(plays) == 4  # the finished rounds were not played again
  assert (tmp_path / 'summary.json').read_bytes() == (done / 'summary.json').read_bytes()
  assert (tmp_path / 'report.html').read_bytes() == (done / 'report.html').read_bytes()
  monkeypatch.setattr(steps, 'STEPS', steps.STEPS | {
      'trial': dataclasses.replace(steps.STEPS['trial'], run=None)})  # it is not called
  assert cli.main(argv) == 0


def test_after_a_real_kill_the_same_command_gives_the_same(file, done, tmp_path):
  argv = ['advise', str(file), f'--workdir={tmp_path}', '--effort=0', SKIP]
  process = subprocess.Popen(
      [sys.executable, '-c', AS_HERE, *argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
      env=os.environ | {'XLA_FLAGS': f'{os.environ.get("XLA_FLAGS", "")} {OLDER}'})
  while process.poll() is None and not (tmp_path / 'rounds').exists():
    time.sleep(0.01)
  time.sleep(0.5)  # it compiles, or trains
  process.kill()
  assert process.wait() == -signal.SIGKILL and not (tmp_path / 'summary.json').exists()
  assert cli.main(argv) == 0
  assert (tmp_path / 'summary.json').read_bytes() == (done / 'summary.json').read_bytes()
  assert not list(tmp_path.rglob('*.part*'))


def test_files_of_their_own_give_the_same_and_are_joined_by_ids(done, tmp_path, capsys):
  whole = arrays()
  shuffled = np.random.default_rng(1).permutation(60)
  np.save(tmp_path / 'x1.npy', whole['x1'])
  table = [f'{i},{a!r},{b!r},{"" if np.isnan(y) else int(y)}'
           for i, (a, b), y in zip(range(60), whole['x2'].tolist(), whole['y'].tolist())]
  for name, rows in (('x2.csv', table), ('other.csv', [table[i] for i in shuffled])):
    (tmp_path / name).write_text('\n'.join(['key,a,b,label', *rows, '']))
  np.save(tmp_path / 'key.npy', np.arange(60))
  at = lambda name: str(tmp_path / name)
  same = ['advise', f'--x1={at("x1.npy")}', f'--x2={at("x2.csv")}', '--y=label', '--index=key',
          '--effort=0', SKIP]
  assert cli.main([*same, f'--workdir={at("same")}']) == 0
  read = lambda folder: json.loads((folder / 'summary.json').read_text())['steps']['decision']
  assert read(tmp_path / 'same') == read(done)
  joined = separate.read_files({'x1': at('x1.npy'), 'x2': at('other.csv')}, 'label',
                               id=f'{at("key.npy")},key', group='key')
  np.testing.assert_array_equal(joined.parts['']['x2'], whole['x2'])
  assert joined.columns == {'x2': ('a', 'b')} and joined.names['x2'] == 'other'
  capsys.readouterr()
  for argv, word in ((['--y=nothing'], "--y='nothing'"), (['--x3=none.npy'], '--x3='),
                     (['--group=nothing'], '--group=')):
    code = cli.main([*same, *argv, f'--workdir={at("other")}'])
    error = capsys.readouterr().err
    assert code == 2 and word in error and error.count('\n') == 1


def test_a_folder_of_other_data_is_refused(done, tmp_path, capsys):
  np.savez(tmp_path / 'other.npz', **arrays(seed=1))
  assert cli.main(['advise', str(tmp_path / 'other.npz'), f'--workdir={done}', SKIP]) == 2
  assert 'holds another configuration' in capsys.readouterr().err


@pytest.mark.parametrize('argv, word', [
    ([], 'give FILE or --dataset=NAME'),
    (['FILE', '--dataset=cora'], 'one of the two'),
    (['--x1=FILE'], '--x2 and --y must say which file'),
    (['--dataset=nothing'], 'known: cora'),
    (['FILE', '--data_dir=DATA'], 'has no effect without --dataset'),
    (['FILE', '--minutes=0'], '--minutes=0'),
    (['FILE', '--effort=99'], '--effort=99'),
    (['FILE', '--seed=-1'], '--seed=-1'),
    (['FILE', '--skip=data'], "'data' is no step that can be left out"),
    (['FILE', '--y=label'], 'label'),
    (['nowhere.npz'], 'no such file'),
])
def test_bad_requests_are_one_line(argv, word, file, tmp_path, capsys):
  argv = [str(file) if word == 'FILE' else word for word in argv]
  assert cli.main(['advise', *argv, f'--workdir={tmp_path / "out"}']) == 2
  said = capsys.readouterr().err
  assert said.startswith('error: ') and said.count('\n') == 1 and word in said
  assert not (tmp_path / 'out').exists()


def test_no_workdir_is_one_line(file, capsys):
  assert cli.main(['advise', str(file)]) == 2
  assert capsys.readouterr().err.startswith('error: --workdir=DIR must say')


# -- nested cross-validation -----------------------------------------------------------------------


def test_labels_of_test_rows_choose_nothing(file):
  found = made(file)
  unit, known = np.arange(len(found.y)), np.flatnonzero(found.labelled)
  test = known[::3]
  other = found.y.copy()
  other[test] = 1 - other[test]
  shape = folds.shape_of(found)
  work = works.Work(found, unit, unit, file.parent, 0, clock.Clock(60.0, 0), 1, print, '')
  play = lambda pairs: rounds.play(pairs, unit, test, TINY, shape,
                                   Trainer(trial.spec_of(work), 1), 0)
  one, two = play(found), play(dataclasses.replace(found, y=other))
  assert one['choices'] == two['choices']
  right, wrong = (np.average(made['test']['without'][0], weights=made['test']['weight'][0])
                  for made in (one, two))
  assert right == pytest.approx(1 - wrong, abs=1e-6)  # and the very predictions are the same


def test_what_is_judged_is_neither_learnt_nor_aligned(file):
  found = made(file)
  unit = np.arange(len(found.y)) // 2  # two rows of each
  known = np.flatnonzero(found.labelled)
  shape = folds.shape_of(found)
  of = folds.round_of(found, unit, known[:6], shape)
  tables, rows, block = folds.outer(of, shape, 0)
  hidden = np.isin(unit, unit[rows])
  assert hidden.sum() > len(rows) and block.max() < shape.blocks
  assert not any(has[hidden].any() for has in tables.present)
  assert not tables.labelled[hidden].any() and tables.labelled.sum() == len(of.train) - np.isin(
      of.train, np.flatnonzero(hidden)).sum()
  for inner in folds.inner(of, 2, shape, True, 0):
    assert not inner.labelled[hidden].any() and not inner.present[0][hidden].any()
    assert inner.labelled.sum() < tables.labelled.sum()


def test_units_stay_in_one_fold():
  unit = np.repeat(np.arange(10), 3)
  fold = folds.parts(np.arange(30) % 2, True, unit, 3, 0)
  assert all(len(np.unique(fold[unit == u])) == 1 for u in range(10))
  assert np.unique(fold).tolist() == [0, 1, 2]


def test_rows_without_a_side_come_last_and_are_not_aligned(file):
  found = made(file)
  of = folds.round_of(found, np.arange(60), np.flatnonzero(found.labelled)[:9],
                      folds.shape_of(found))
  tables, rows, _ = folds.outer(of, folds.shape_of(found), 0)
  drawn = pair_source.draw(jax.tree.map(np.asarray, tables), Hyper(), rng.stream(0, 'data'), 60)
  assert set(np.asarray(drawn.rows[0])[-9:].tolist()) == set(rows.tolist())
  assert np.asarray(drawn.n_aligned).item() == 51


def test_copies_of_a_row_are_one_unit(file):
  found = made(file)
  again = dataclasses.replace(found, views=tuple(
      np.concatenate([view[:1], view[:-1]]) for view in found.views))
  unit = works.copies_of(again)
  assert unit[0] == unit[1] and len(np.unique(unit)) == 59
  lacking = dataclasses.replace(
      again, views=tuple(np.where(np.arange(60)[:, None] < 5, np.nan, v) for v in again.views),
      present=tuple(np.arange(60) >= 5 for _ in again.views))
  assert len(np.unique(works.copies_of(lacking))) == 60  # rows without a view copy nothing


def test_groups_that_share_a_copy_are_one_unit(file):
  found = made(file)
  group = np.arange(60) // 10 * 7  # six groups
  copies = np.arange(60)
  copies[[3, 15]] = 100             # of the first and the second
  copies[[18, 19]] = 101            # of the second alone
  copies[[30, 42]] = copies[59] = 102  # of three others
  unit = works.units_of(dataclasses.replace(found, group=group), copies)
  assert [len(set(unit[k:k + 10])) for k in range(0, 60, 10)] == [1] * 6
  assert [unit[k] == unit[0] for k in (10, 20, 30, 40, 50)] == [True] + [False] * 4
  assert unit[30] == unit[40] == unit[50] != unit[20]
  np.testing.assert_array_equal(works.units_of(found, copies), copies)


@pytest.mark.parametrize('units', [1, 2])
def test_too_few_units_are_said(file, tmp_path, units):
  unit = np.arange(60) % units
  job = Work(made(file), unit, np.arange(60), tmp_path, 0, clock.Clock(1), 1, print, '')
  with pytest.raises(ValueError, match=f'of {units} units? .groups.*; 3 are needed'):
    trial.run(job)


def test_a_class_of_one_label_is_none(file):
  found = made(file)
  y, names = found.y.copy(), (found.classes[0], 'odd', *found.classes[1:])
  y[y >= 1] += 1
  at = np.flatnonzero(found.labelled)[0]
  y[at] = 1
  left, notes = works.usable(dataclasses.replace(found, y=y, classes=names))
  assert left.classes == found.classes and "'odd'" in notes[0]
  assert not left.labelled[at] and left.labelled.sum() == found.labelled.sum() - 1
  np.testing.assert_array_equal(left.y[left.labelled], found.y[left.labelled])


def test_labels_at_their_median_are_said(file, tmp_path):
  found = made(file)
  y = np.where(np.arange(60) < 40, 0.0, np.arange(60.0))
  job = Work(dataclasses.replace(found, y=y, classes=()), np.arange(60), np.arange(60), tmp_path,
             0, clock.Clock(1), 1, print, '')
  assert any('are the median itself' in line for line in evidence.data(job)['said'])
  job.pairs = dataclasses.replace(job.pairs, y=np.arange(60.0))
  assert not any('are the median itself' in line for line in evidence.data(job)['said'])


def test_a_linear_method_learns_from_all_labels_where_no_rows_belong_together(file, monkeypatch):
  found, seen = made(file), []
  monkeypatch.setattr(prepared, 'prepare', lambda pairs, split_seed: seen.append(pairs))
  monkeypatch.setattr(linear, 'references', lambda *_: (_ for _ in ()).throw(ValueError('enough')))
  for unit in (np.arange(60), np.arange(60) // 2):
    job = Work(found, unit, np.arange(60), pathlib.Path(), 0, clock.Clock(1), 1, print, '')
    with pytest.raises(ValueError, match='enough'):
      evidence.linear(job)
  assert seen[0].group is None and len(np.unique(seen[1].group)) == 30


def test_a_foretold_interval_says_of_which_strength_it_is(file, tmp_path, monkeypatch):
  from mmalign_jax import advice
  job = Work(made(file), np.arange(60), np.arange(60), tmp_path, 0, clock.Clock(1), 1, print, '')
  def said(*told):
    monkeypatch.setattr(advice, 'predict', lambda *_: advice.Prediction(*told))
    return evidence.predicted(job)
  some = said(0.4, (0.0, 1.0), 0.021, (0.01, 0.032), True, 0.4)
  assert some['said'][0] == 'x1: lam 0.4 [0, 1] of InfoNCE, gain +2.1 points [+1.0, +3.2]'
  none = said(0.0, (0.0, 0.0), 0.0, (-0.014, -0.006), True, 0.3)
  assert none['said'][0] == (
      'x1: lam 0 [0, 0] of InfoNCE, the best strength above 0, 0.3: gain [-1.4, -0.6]')
  assert none['encoders']['x1']['gain_lam'] == 0.3
  job.unit = np.where(job.pairs.labelled, 0, np.arange(60))
  with pytest.raises(ValueError, match='all 48 labelled rows are of one group'):
    evidence.predicted(job)


def test_a_fault_in_evidence_is_said_and_ends_nothing(file, done, tmp_path, capsys, monkeypatch):
  shutil.copytree(done, tmp_path / 'run')
  def broken(name):
    monkeypatch.setattr(steps, 'STEPS', steps.STEPS | {
        name: dataclasses.replace(steps.STEPS[name], run=lambda work: 1 / 0)})
  broken('regime')
  argv = ['advise', str(file), f'--workdir={tmp_path / "run"}', '--effort=0']
  assert cli.main([*argv, SKIP.replace(',regime', '')]) == 0
  said = ' '.join(capsys.readouterr().out.split())
  assert 'a fault of this program: ZeroDivisionError: division by zero (steps.py,' in said
  assert not (tmp_path / 'run' / 'steps' / 'regime.json').exists()  # the next run tries again
  broken('encoders')
  with pytest.raises(ZeroDivisionError):
    cli.main([*argv, SKIP.replace(',encoders', '')])


# -- the search ------------------------------------------------------------------------------------


def test_every_setting_is_tried_without_alignment():
  plan = dataclasses.replace(TINY, of_each=3)
  without = search.unaligned(plan, 40)
  assert len(set(without)) == 3 * 2 * 2 * 2 and {arm.lam for arm in without} == {0}
  value = {arm: np.array([float(i)]) for i, arm in enumerate(without)}
  arms = search.aligned(plan, 40, value, 0)
  assert len(set(arms)) == len(arms) == len(search.STRENGTHS) * 3
  best = dataclasses.asdict(without[-1]) | {'loss': 'info_nce', 'lam': 1.0}
  assert Arm(**best) in arms


def test_halving_keeps_the_best_of_each_encoder():
  arms = [Arm('', 0.0, 10, 0.01, 1e-3, steps) for steps in range(9)]
  mean = {arm: np.array([arm.train_steps, -arm.train_steps], float) for arm in arms}
  mean[arms[4]] += 1
  kept = search._kept(mean)
  assert {arms[0], arms[4], arms[8]} <= set(kept) and len(kept) < 9


def test_a_plan_fits_the_time(monkeypatch):
  plans = (TINY, dataclasses.replace(TINY, rungs=(1, 8)), dataclasses.replace(TINY, rungs=(1, 80)))
  monkeypatch.setattr(clock, 'LADDER', plans)
  seconds = clock.duration(plans[1], 40, 0.1, 5.0)
  assert clock.fitting(seconds, 40, 0.1, 5.0, 9) == plans[1]
  assert clock.fitting(seconds - 1, 40, 0.1, 5.0, 9) == plans[0]
  assert clock.fitting(0, 40, 0.1, 5.0, 9) == plans[0]


# -- gains and decisions ---------------------------------------------------------------------------


def test_a_gain_by_hand():
  without = [np.zeros(20), np.zeros(20)]
  aligned = [np.tile([0.0, 1.0], 10), np.tile([0.0, 1.0], 10)]
  found = gains.gain(without, aligned, [np.ones(20)] * 2)
  error = np.sqrt(0.25 / 38 * 2)  # of 20 values of variance 1/4 (19 of 20), 2 / (2 - 1) for folds
  assert found.gain == 0.5 and found.error == pytest.approx(error)
  assert found.freedom == pytest.approx(38)
  assert found.interval == pytest.approx((0.5 - 2.0244 * error, 0.5 + 2.0244 * error), abs=1e-4)
  assert gains.gain([np.zeros(5)], [np.ones(5)], [np.ones(5)]).interval is None


def test_one_fold_decides_nothing():
  one = [np.zeros(40)], [np.tile([0.0, 1.0], 20)], [np.ones(40)]
  found = gains.gain(*one)
  said = decision.decide('text', found, 'vicreg', 1.0)
  assert found.interval is None and said.kind == decision.UNKNOWN
  assert 'one outer fold' in said.sentence
  at_hand = gains.gain(*one, at_hand=True)  # what nothing has chosen needs no folds
  assert at_hand.error == pytest.approx(np.sqrt(0.25 / 39))


def test_no_seed_that_chose_judges():
  for seed in (0, 1, 2**32 - 1):
    begin = [first_seed(seed, judging) for judging in (False, True)]
    assert abs(begin[0] - begin[1]) > 1000 and max(begin) < 2**31
  assert first_seed(0, True) != first_seed(1, True)


def test_what_was_chosen_is_uncertain_however_many_rows_are_tested():
  zeros, weight = [np.zeros(900)] * 3, [np.ones(900)] * 3
  apart = gains.gain(zeros, [np.full(900, mean) for mean in (0.0, 0.1, 0.2)], weight)
  error = np.sqrt(0.01 * (1 + 1 / 3) * 3 / 2)  # of the choices, and of one more; 3 / (3 - 1)
  assert apart.error == pytest.approx(error) and apart.freedom == pytest.approx(2)
  assert apart.interval == pytest.approx((0.1 - 4.3027 * error, 0.1 + 4.3027 * error), abs=1e-4)
  assert gains.at_most(apart) == pytest.approx(0.1 + 1.8856 * error, abs=1e-4)
  assert apart.chosen == pytest.approx(error**2)
  assert 'however many rows' in decision.decide('text', apart, 'vicreg', 1.0).change
  # folds that do not differ add nothing, and a shift of all changes nothing else
  rows = [np.random.default_rng(k).normal(size=900) for k in range(3)]
  near, moved = (gains.gain(zeros, [x - x.mean() + up for x in rows], weight) for up in (0.0, 0.5))
  within = np.sqrt(sum(x.var(ddof=1) / 900 for x in rows) / 9 * 3 / 2)
  assert near.error == pytest.approx(within) and moved.error == pytest.approx(within)
  assert near.freedom == pytest.approx(2697, rel=0.01) and near.chosen == pytest.approx(0)
  # where they differ by less than rows explain, a tenth of that is taken for choice
  less = gains.gain(zeros, [x - x.mean() + k * 0.02 for k, x in enumerate(rows)], weight)
  assert less.error == pytest.approx(np.sqrt(within**2 + 0.1 * 0.02**2 * (4 / 3) * 1.5))


def test_a_fold_of_one_large_group_hides_no_choice():
  weight = [np.array([1000.0]), np.full(100, 10.0), np.full(100, 10.0)]
  aligned = [np.full(len(w), mean) for w, mean in zip(weight, (0.03, 0.1, 0.2))]
  found = gains.gain([np.zeros(len(w)) for w in weight], aligned, weight)
  differ = np.var([0.03, 0.1, 0.2], ddof=1)
  assert found.error == pytest.approx(np.sqrt(differ * (1 + 1 / 3) * 1.5))
  assert found.freedom == pytest.approx(2) and decision.kind_of(found) == decision.UNKNOWN


def test_the_gain_with_twice_the_labels_by_hand():
  zeros, weight = [np.zeros(30)] * 2, [np.ones(30)] * 2
  g = np.random.default_rng(0)
  noise = [g.normal(size=30), g.normal(size=30)]
  at = lambda share, wide: (zeros, [0.1 + 0.02 * np.log2(share) + wide * z for z in noise], weight)
  found = gains.twice({share: at(share, 0.0) for share in (0.25, 0.5, 1.0)})
  open_ = gains.unseen(60)  # no row differs from another
  assert found and found.gain == pytest.approx(0.12) and found.interval == pytest.approx(
      (0.12 - open_, 0.12 + open_))
  # what is the same at all shares adds nothing: weights of the shares sum to 1
  same = gains.twice({share: at(share, 0.1) for share in (0.25, 0.5, 1.0)})
  assert same and same.error == pytest.approx(gains.gain(*at(1.0, 0.1)).error)
  # the line through three points, read one doubling on, has weights -2/3, 1/3, 4/3
  draws = {share: (zeros, [g.normal(size=30), g.normal(size=30)], weight)
           for share in (0.25, 0.5, 1.0)}
  wide = gains.twice(draws)
  assert wide and wide.gain == pytest.approx(sum(
      w * np.concatenate(draws[s][1]).mean() for w, s in zip((-2/3, 1/3, 4/3), draws)))
  assert gains.twice({1.0: at(1.0, 0.1)}) is None


def of_interval(low, high):
  mid, error = (low + high) / 2, (high - low) / 2 / stats.t.ppf(0.975, 499)
  return gains.Gain(0.5, 0.5 + mid, mid, (low, high), 0.9, error, 500, 5, 500)


@pytest.mark.parametrize('low, high, kind', [
    (0.001, 0.05, decision.ALIGN), (0.0, 0.05, decision.UNKNOWN), (-0.05, 0.009, decision.LEAVE),
    (-0.05, 0.03, decision.UNKNOWN), (-0.09, -0.01, decision.LEAVE),
    # 90 % to one side: -0.0019 + 1.2832 * 0.00921 = 0.0099, -0.00175 + 1.2832 * 0.00929 = 0.0102
    (-0.02, 0.0162, decision.LEAVE), (-0.02, 0.0165, decision.UNKNOWN)])
def test_alignment_is_advised_only_above_nothing(low, high, kind):
  assert decision.kind_of(of_interval(low, high)) == kind


def test_sentences_say_what_would_change_it():
  sure = decision.decide('text', of_interval(0.02, 0.04), 'vicreg', 1.0)
  assert sure.sentence.startswith('Align text with vicreg at lam 1: +3.0 points [+2.0, +4.0]')
  open_ = decision.decide('text', of_interval(-0.01, 0.03), 'vicreg', 1.0,
                          {0.25: 0.03, 0.5: 0.02, 1.0: 0.01}, of_interval(-0.03, 0.03))
  assert open_.sentence.startswith('Cannot tell for text') and 'do not align' in open_.sentence
  assert 'about 2,000 labelled rows' in open_.change
  assert 'What twice as many labels would give cannot be told' in open_.change
  more = decision.decide('text', of_interval(0.01, 0.03), 'vicreg', 1.0, {0.5: 0.01, 1.0: 0.02},
                         of_interval(0.01, 0.05))
  assert 'With twice as many labels, if that goes on, +3.0 [+1.0, +5.0]' in more.change
  few = decision.decide('text', gains.Gain(0.5, 0.6, 0.1, None, None, None, 9, 2, 9), 'vicreg', 1.0)
  assert few.kind == decision.UNKNOWN and 'too few' in few.sentence


@pytest.mark.parametrize('unit, labelled, most, least', [
    (np.arange(1000), np.arange(1000) < 20, 100, 100),        # all labels stay
    (np.r_[np.zeros(120, int), np.arange(1, 81)], np.arange(200) % 2 == 0, 100, 80),
    (np.repeat([0, 1], 300), np.ones(600, bool), 100, 300)])  # no unit is small enough
def test_a_part_of_the_rows_keeps_labels_and_whole_units(unit, labelled, most, least):
  n = len(unit)
  pairs = pairs_of.Pairs('here', ('x1', 'x2'), (np.zeros((n, 1)),) * 2, (np.ones(n, bool),) * 2,
                         np.zeros(n), labelled, ('0',))
  for seed in range(5):
    work = works.Work(pairs, unit, unit, None, seed, None, 1, print, '')
    rows = work.some(most)
    assert len(rows) == least, (seed, len(rows))
    assert all((unit == u).sum() == (unit[rows] == u).sum() for u in set(unit[rows]))
    if labelled.sum() < most:
      assert labelled[rows].sum() == labelled.sum()
