"""Pairs with few labels and missing modalities: budgets, batches, masks, and what a file may be."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmalign_jax import named, objective
from mmalign_jax.data import loading, pair_source, pairs, prepared
from mmalign_jax.data.files import stores
from mmalign_jax.data.sources import SOURCES
from mmalign_jax.training import batches, sweep
from mmalign_jax.types import Batch, Hyper, Spec

N, CLASSES = 60, 3
SPEC = Spec(generator='pairs', depth=1, width=8, projection_width=4, steps=4, batch_size=16,
            labelled_batch=16, max_train=40, n_align=16)
CHUNK = 6  # cells at once of every sweep, which are of one program where the Spec is one


def made(n: int = N, seed: int = 0, **changes) -> pairs.Pairs:
  """Pairs whose classes shift both views; a fifth of the rows without a label."""
  g = np.random.default_rng(seed)
  y = (np.arange(n) % CLASSES).astype(np.int32)
  views = tuple(g.normal(size=(n, d)) + 2 * y[:, None] for d in (5, 7))
  labelled = np.arange(n) % 5 != 4
  fields = dict(where='made', names=('one', 'two'), views=views, present=(np.ones(n, bool),) * 2,
                y=np.where(labelled, y, pairs.NO_CLASS).astype(np.int32), labelled=labelled,
                classes=('a', 'b', 'c'))
  return pairs.Pairs(**{**fields, **changes})


def raw(**arrays) -> stores.Raw:
  return stores.Raw('file', {role: role for role in arrays}, {'': arrays})


# -- budgets ---------------------------------------------------------------------------------------


@jax.jit
def ordered(seed, y, labelled, budget):
  return pair_source.order(jax.random.key(seed), y, labelled, budget)


@pytest.mark.parametrize('budget', [1, 3, 8, 0])
def test_a_budget_has_so_many_labels_of_every_class(budget):
  g = np.random.default_rng(1)
  y, labelled = g.integers(0, CLASSES, 50).astype(np.int32), g.random(50) < 0.7
  row, count = jax.device_get(ordered(3, y, labelled, np.float32(budget)))
  counts = np.bincount(y[labelled], minlength=CLASSES)
  want = np.minimum(counts, budget) if budget else counts
  assert int(count) == want.sum() and sorted(row.tolist()) == list(range(50))
  chosen = np.asarray(row)[:int(count)]
  assert labelled[chosen].all()
  np.testing.assert_array_equal(np.bincount(y[chosen], minlength=CLASSES), want)
  # balanced from the first on: a batch of a part of them has as many of every class
  np.testing.assert_array_equal(np.sort(y[chosen][:CLASSES]), np.arange(CLASSES))


def test_budgets_are_nested_and_differ_by_seed():
  y, labelled = np.arange(50, dtype=np.int32) % 4, np.arange(50) < 40
  chosen = lambda seed, n: set(
      np.asarray(ordered(seed, y, labelled, np.float32(n))[0])[:4 * n].tolist())
  assert chosen(0, 2) < chosen(0, 5) < chosen(0, 9)
  assert chosen(0, 2) != chosen(1, 2)


@pytest.mark.parametrize('settings, aligned', [
    ({}, 40), ({'n_pairs': 25}, 25), ({'align_on': 1}, 6), ({'align_on': 1, 'n_pairs': 25}, 6),
    ({'n_labelled': 0, 'align_on': 1}, 30)])
def test_what_is_aligned_begins_with_the_labelled_rows(settings, aligned):
  y = np.arange(40, dtype=np.int32) % CLASSES
  data = dataclasses.replace(
      prepared.tables(prepared.prepare(made())), y=y, labelled=np.arange(40) < 30,
      present=(np.ones(40, bool),) * 2)
  draws = pair_source.draw(
      data, named.hyper(**{'n_labelled': 2, **settings}), jax.random.key(0), 40)
  assert int(draws.n_aligned) == aligned
  assert (np.asarray(draws.rows[0])[:int(draws.n_labelled)] < 30).all()


def test_a_generator_has_labels_for_few_of_its_samples():
  full, few = SOURCES['bits'], SOURCES['few_bits']
  tables, key = few.tables(Spec(generator='few_bits')), jax.random.key(3)
  draws = {source: jax.jit(lambda hyper, source=source: source.draw(tables, hyper, key, 130))
           for source in (full, few)}
  drawn = lambda source, **more: jax.device_get(draws[source](Hyper(n_train=100, **more)))
  samples = lambda draws, n: np.stack([*draws.rows, draws.y])[:, :n]
  whole, budgets = samples(drawn(full), 100), {}
  for n in (3, 7):
    found = drawn(few, n_labelled=n)
    assert np.bincount(found.y[:found.n_labelled], minlength=4).tolist() == [n] * 4
    assert found.n_aligned == 100
    got = samples(found, 100)  # the same samples in another order: none of the 30 beyond
    np.testing.assert_array_equal(got[:, np.lexsort(got)], whole[:, np.lexsort(whole)])
    budgets[n] = set(map(tuple, samples(found, found.n_labelled).T))
  assert budgets[3] < budgets[7]
  assert drawn(few, n_labelled=3, align_on=1).n_aligned == 12
  assert drawn(few).n_labelled == 100  # 0 is all


@jax.jit
def some_rows(t, n):
  return batches.some_rows(jax.random.key(0), t, n, batch_size=16)


@pytest.mark.parametrize('n', [5, 16, 40])
def test_batches_are_epochs_filled_up_where_there_are_fewer_samples(n):
  rows, valid = zip(*(jax.device_get(some_rows(t, np.int32(n))) for t in range(2)))
  for row, real in zip(rows, valid):
    assert real.sum() == min(n, 16) and len(set(row[real].tolist())) == min(n, 16)
    assert (row < n).all()
  if n >= 16:
    np.testing.assert_array_equal(rows[0], batches.batch_rows(
        jax.random.key(0), 0, jnp.int32(n), batch_size=16))


# -- the objective ---------------------------------------------------------------------------------


@jax.jit
def gradients_of(hyper: Hyper, batch: Batch, aligned: Batch | None):
  shapes = [x.shape[1:] for x in batch.x]
  params = objective.init(jax.random.key(0), hyper, *shapes, spec=SPEC, n_outputs=CLASSES)
  return jax.grad(lambda p: objective.objective(
      p, hyper, batch, 0.5, spec=SPEC, n_outputs=CLASSES, pairs=aligned)[0])(params)


def gradients(batch: Batch, aligned: Batch | None, **settings):
  return jax.device_get(gradients_of(named.hyper(**{'lam': 0.7, **settings}), batch, aligned))


def batch_of(n: int, seed: int = 0, widths=(5, 7), **more) -> Batch:
  g = np.random.default_rng(seed)
  return Batch(tuple(g.normal(size=(n, d)).astype(np.float32) for d in widths),
               g.integers(0, CLASSES, n).astype(np.int32), **more)


def cut(batch: Batch, keep) -> Batch:
  return jax.tree.map(lambda v: v[np.asarray(keep)], batch)


def assert_close(one, other, atol=1e-6):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol), one, other)


def test_a_sample_without_a_side_counts_for_the_other_alone():
  whole = batch_of(12)
  has = (np.arange(12) != 3, np.arange(12) < 9)
  absent = tuple(np.where(h[:, None], x, np.float32(1e3))  # whatever is there
                 for h, x in zip(has, whole.x))
  got = gradients(dataclasses.replace(whole, x=absent, present=has), None)
  one, two, both = (cut(whole, np.flatnonzero(h)) for h in (has[0], has[1], has[0] & has[1]))
  for side, own in (('side_1', one), ('side_2', two)):
    want = jax.tree.map(np.add, gradients(own, None, lam=0.0)[side], jax.tree.map(
        np.subtract, gradients(both, None)[side], gradients(both, None, lam=0.0)[side]))
    assert_close(got[side], want)


def test_a_side_that_all_lack_has_no_gradient_and_no_nan():
  batch = dataclasses.replace(batch_of(6), present=(np.zeros(6, bool), np.ones(6, bool)))
  got = gradients(batch, None)
  assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(got['side_1']))
  assert_close(got['side_2'], gradients(batch, None, lam=0.0)['side_2'])


def test_labels_and_pairs_have_batches_of_their_own():
  labelled, aligned = batch_of(6, 1), batch_of(11, 2)
  got = gradients(labelled, aligned)
  want = jax.tree.map(
      lambda task, both, own: task + both - own, gradients(labelled, None, lam=0.0),
      gradients(aligned, None), gradients(aligned, None, lam=0.0))
  assert_close(got, want)
  other = dataclasses.replace(aligned, y=(aligned.y + 1) % CLASSES)
  assert_close(got, gradients(labelled, other), atol=0)  # its labels are not read


def test_three_sides_are_their_three_pairs():
  batch = batch_of(10, widths=(5, 7, 4))
  strengths = {'lam_1_2': 0.4, 'lam_1_3': 0.9, 'lam_2_3': 0.2}
  none = dict.fromkeys(strengths, 0.0)
  base = gradients(batch, None, **none)
  got = jax.tree.map(np.subtract, gradients(batch, None, **strengths), base)
  each = [jax.tree.map(np.subtract, gradients(batch, None, **{**none, name: lam}), base)
          for name, lam in strengths.items()]
  assert_close(got, jax.tree.map(lambda *parts: sum(parts), *each))
  for alone, side in zip(each, ('side_3', 'side_2', 'side_1')):  # a pair moves no third side
    assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(alone[side]))


def test_without_alignment_is_strength_0():
  data = prepared.tables(prepared.prepare(made()))
  hypers = sweep.grid({'n_labelled': (2, 0), 'seed': (0, 1)}, lam=0.0, learning_rate=1e-2)
  run = lambda spec: sweep.run_sweep(spec, hypers, tables=data, chunk=CHUNK)
  assert_close(run(SPEC).sides, run(dataclasses.replace(SPEC, loss='')).sides, atol=1e-6)


def test_training_stops_where_it_is_told():
  data = prepared.tables(prepared.prepare(made()))
  run = lambda steps, stop: sweep.run_sweep(
      dataclasses.replace(SPEC, steps=steps), sweep.grid(
          {'seed': (0, 1)}, lam=0.5, n_labelled=2, train_steps=stop), tables=data, chunk=CHUNK)
  assert_close(run(4, 3).sides, run(3, 0).sides, atol=1e-6)


def test_what_is_swept_equals_each_cell_alone():
  data = prepared.tables(prepared.prepare(made()))
  base = dict(lam=1.0, n_labelled=2, n_pairs=0, align_on=0, components=0, train_steps=0)
  assert set(base) == {'lam', *pair_source.SETTINGS}
  rows = [base, *(base | {name: value} for name, value in dict(
      n_labelled=5, n_pairs=20, align_on=1, components=3, train_steps=2).items())]
  columns = {name: np.array([row[name] for row in rows], np.float32) for name in base}
  run = lambda columns, chunk: sweep.run_sweep(
      SPEC, named.hyper(**columns, seed=0, learning_rate=1e-2), tables=data, chunk=chunk).sides
  swept = run(columns, CHUNK)
  for i in range(len(rows)):
    one = jax.tree.map(lambda v: v[i:i + 1], swept)
    assert_close(one, run({name: v[i:i + 1] for name, v in columns.items()}, 1), atol=1e-5)
    if i:
      first = jax.tree.map(lambda v: v[:1], swept)
      assert any(abs(a - b).max() > 1e-4 for a, b in zip(
          jax.tree.leaves(one), jax.tree.leaves(first)) if np.isfinite(a).all()), rows[i]


def test_components_are_those_of_an_encoder_of_so_many_inputs():
  g = np.random.default_rng(0)
  x = jnp.asarray(g.normal(size=(500, 6)) * [9, 5, 3, 1, .5, .1], jnp.float32)
  spread = np.sqrt(np.cumsum((np.asarray(x)**2).mean(0)) / np.arange(1, 7)).astype(np.float32)
  for kept in (1, 4, 6, 0):
    got = np.asarray(pair_source.scaled(x, spread, Hyper(components=kept)))
    assert not got[:, kept or 6:].any()
    np.testing.assert_allclose((got**2).mean(), 1, rtol=1e-4)
    assert abs(np.corrcoef(got[:, 0], x[:, 0])[0, 1]) > 0.9999


# -- what a file may be ----------------------------------------------------------------------------


def test_rows_without_a_modality_or_a_label_stay():
  g = np.random.default_rng(0)
  x1, x2 = g.normal(size=(8, 3)), g.normal(size=(8, 2))
  x1[2], x2[5], x2[2] = np.nan, np.nan, np.nan
  y = np.array(['a', 'b', 'a', '', 'a', 'b', 'NA', 'b'])
  got = pairs.from_raw(raw(x1=x1, x2=x2, y=y))
  np.testing.assert_array_equal(np.flatnonzero(~got.present[0]), [2])
  np.testing.assert_array_equal(np.flatnonzero(~got.present[1]), [2, 5])
  np.testing.assert_array_equal(got.labelled, [1, 1, 0, 0, 1, 1, 0, 1])  # 2 has no modality at all
  assert got.classes == ('a', 'b') and any('no label' in note for note in got.notes)


@pytest.mark.parametrize('change, words', [
    ({'x1': np.full((6, 2), np.nan)}, "file: x1 'x1': missing in all of 6 rows"),
    ({'y': np.full(6, np.nan)}, "file: y 'y': no row of 6 has a label"),
    ({'x2': np.array([[1.0, np.nan]] * 6)}, '6 values not finite, first nan at row 0, column 1'),
    ({'x2': np.full((6, 2), np.inf)}, "x2 'x2': 12 values not finite"),
    ({'x2': np.ones((5, 2))}, "x1 'x1' has 6 rows, x2 'x2' has 5")])
def test_what_cannot_be_is_one_line(change, words):
  good = dict(x1=np.ones((6, 2)), x2=np.ones((6, 2)), y=np.arange(6) % 2)
  with pytest.raises(ValueError) as error:
    pairs.from_raw(raw(**{**good, **change}))
  assert words in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize('missing', ['mean', 'drop'])
def test_single_missing_numbers(missing):
  x2 = np.arange(12.0).reshape(6, 2)
  x2[1, 0] = np.nan
  got = pairs.from_raw(raw(x1=np.ones((6, 1)), x2=x2, y=np.arange(6) % 2), missing=missing)
  assert got.present[1].sum() == (6 if missing == 'mean' else 5)
  assert np.isnan(got.views[1][1]).tolist() == [True, missing == 'drop']


# -- what is made of it ----------------------------------------------------------------------------


def test_parts_are_apart_and_test_rows_change_nothing():
  some = made()
  got = prepared.prepare(some, n_validation=2)
  n_test, n_chosen = len(got.test[0].y), len(got.validation[0].y)
  assert n_test == 12 and n_chosen == 2 * CLASSES
  assert len(got.y) == N - n_test - n_chosen and (~got.labelled).sum() == (~some.labelled).sum()
  rows = [tuple(row) for part in (got.x[0], got.validation[0].x, got.test[0].x) for row in part]
  assert len(set(rows)) == N  # no sample is in two parts
  given = dataclasses.replace(some, test=np.arange(N) >= 45)
  before = prepared.prepare(given)
  moved = [view.copy() for view in some.views]
  moved[0][45:] += 7
  after = prepared.prepare(dataclasses.replace(given, views=tuple(moved)))
  np.testing.assert_array_equal(before.x[0], after.x[0])
  assert not np.allclose(before.test[0].x, after.test[0].x)


@pytest.mark.parametrize('sequences', [False, True])
def test_means_are_those_of_the_rows_to_train_on(sequences):
  some, holes = made(test=np.arange(N) >= 45), [0, 3, 50]
  views = [np.stack([view, view + 1], axis=1) if sequences else view.copy() for view in some.views]
  holed = [view.copy() for view in views]
  for i in holes:
    holed[0][i, ..., 0] = np.nan
  train, _ = prepared._split(some, 0.25, 0)
  known = np.setdiff1d(np.union1d(prepared._set_aside(some, train, 2, 0)[0],
                                  np.flatnonzero(~some.labelled & (np.arange(N) < 45))), holes)
  for i in holes:  # by hand
    views[0][i, ..., 0] = views[0][known][..., 0].mean()
  want = prepared.prepare(dataclasses.replace(some, views=tuple(views)), n_validation=2)
  got = prepared.prepare(dataclasses.replace(some, views=tuple(holed)), n_validation=2)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
               (want.x, want.test[0].x), (got.x, got.test[0].x))
  holed[0][45:] += 100  # of the test rows
  again = prepared.prepare(dataclasses.replace(some, views=tuple(holed)), n_validation=2)
  jax.tree.map(np.testing.assert_array_equal, again.x, got.x)


def test_slips_are_told_of():
  y = np.arange(N) % CLASSES
  x1 = np.stack([y, np.ones(N), np.random.default_rng(0).normal(size=N)], axis=1)
  read = pairs.from_raw(raw(x1=x1, x2=x1[:, 2:], y=y, group=np.arange(N) // 4))
  notes = prepared.prepare(read).notes
  for words in ("warning: file: x1 'x1': column 0 (from 0) equals the label",
                "file: 'x1': 1 of 3 columns constant in training, set to 0",
                "group 'group': 11 ids in train, 4 in test"):
    assert any(words in note for note in notes), (words, notes)
  given = dataclasses.replace(read, test=np.arange(N) >= 30)
  assert any('warning: 1 on both sides of the given split' in note
             for note in prepared.prepare(given).notes)


def test_a_class_that_is_never_in_training_is_one_line():
  some = made(test=np.arange(N) >= 45)
  y = np.where(~some.test & (some.y == 1), 0, some.y)
  with pytest.raises(ValueError, match="made: y: class 'b' is in test but never in train"):
    prepared.prepare(dataclasses.replace(some, y=y.astype(np.int32)))


def test_groups_stay_whole():
  some = made(group=np.arange(N) // 4)  # of which some rows have no label
  rows = prepared.divide(some, n_validation=3)
  ids = [set(some.group[part].tolist()) for part in (rows.train, rows.validation, rows.test)]
  assert all(ids) and not (ids[0] & ids[1] or ids[0] & ids[2] or ids[1] & ids[2])
  np.testing.assert_array_equal(np.bincount(some.y[rows.validation]), [3, 3, 3])
  assert not some.labelled[rows.train].all()


@pytest.mark.parametrize('given', [False, True])
def test_a_row_without_a_label_is_not_seen_where_its_group_is_judged(given):
  some = made(group=np.arange(N) // 4, group_name='speaker')
  if given:
    some = dataclasses.replace(some, test=(np.arange(N) >= 44) & some.labelled)
  rows, got = prepared.divide(some), prepared.prepare(some)
  judged = some.group[np.concatenate([rows.validation, rows.test])]
  hidden = np.flatnonzero(~some.labelled & np.isin(some.group, judged))
  moved = [view.copy() for view in some.views]
  for view in moved:
    view[hidden] += 100
  again = prepared.prepare(dataclasses.replace(some, views=tuple(moved)))
  assert len(hidden) and len(got.y) == len(rows.train)
  jax.tree.map(np.testing.assert_array_equal, (got.x, got.y), (again.x, again.y))
  assert any(f'{len(hidden)} rows without a label are not used: others of their group (speaker)'
             in note for note in got.notes)
  assert not any('both sides' in note for note in got.notes)


def test_a_regression_has_its_units():
  y = np.where(np.arange(N) % 5 == 4, np.nan, np.arange(N) * 3.0)
  got = prepared.prepare(made(y=y, labelled=~np.isnan(y), classes=()), n_validation=4)
  known = got.y[got.labelled]
  assert got.task == 'l1' and abs(np.median(known)) < 1e-6
  np.testing.assert_allclose(np.abs(known).mean(), 1, rtol=1e-5)
  assert len(got.validation[0].y) == 4


def test_two_labels_of_a_class_cannot_choose():
  labelled = np.isin(np.arange(N), np.arange(9))
  y = np.where(labelled, np.arange(N) % CLASSES, pairs.NO_CLASS).astype(np.int32)
  with pytest.raises(ValueError, match='no class has the three labelled'):
    prepared.prepare(made(y=y, labelled=labelled, test=np.isin(np.arange(N), (6, 7, 8))))


def test_digits_as_pairs_of_three():
  got = loading.load_pairs('digits', x3='top')
  assert got.names == ('left', 'right', 'top') and [x.shape[1] for x in got.x] == [32, 32, 32]
  assert got.task == 'cross_entropy' and len(got.validation[2].y) == 100
