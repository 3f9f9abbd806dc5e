"""A swept cell equals the cell alone, whatever the field, the chunk, the threads or the devices.

A compilation takes seconds, so almost all cells share one Spec and one shape of Hyper.
"""

import dataclasses
import functools
import os
import pathlib
import subprocess
import sys

from emitters import OLDER
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmalign_jax.data import pair_source
from mmalign_jax.named import traced_fields
from mmalign_jax.training import batches, memory, sweep
from mmalign_jax.types import Frames, Spec

SPEC = Spec(depth=1, batch_size=32, steps=20, max_train=64, n_align=64)
BASE = dict(lam=1.0, lam_2=0.3, n_train=64, temperature=0.2)
ATOMS = dict(lam=1.0, n_train=64, redundancy=0.5, unique_1=0.1, unique_2=0.2, synergy=0.3)
VALUES = {
    'lam': (0.2, 2.0), 'lam_2': (0.0, 1.5), 'schedule': (0, 2), 'temperature': (0.1, 0.5),
    'learning_rate': (1e-3, 1e-2), 'weight_decay': (0.0, 0.5), 'n_train': (40, 64),
    'redundancy': (2, 7), 'level': (0, 6), 'transform_depth': (0, 3), 'mismatched': (0.0, 0.5),
    'flipped': (0.0, 0.3), 'seed': (0, 4_000_000_000)}
ATOM_VALUES = {'redundancy': (0.0, 0.6), 'unique_1': (0.0, 0.6), 'unique_2': (0.1, 0.5),
               'synergy': (0.0, 0.69)}


@functools.lru_cache
def tables(generator: str = 'bits'):
  return sweep.make_tables(Spec(generator=generator))


def run(axes, *, chunk: int = 2, base=BASE, spec: Spec = SPEC, **more):
  """Cells [R] of a grid over `axes`, the rest as in `base`."""
  fixed = {name: value for name, value in base.items() if name not in axes}
  return sweep.run_sweep(
      spec, sweep.grid(axes, **fixed), tables=tables(spec.generator), chunk=chunk, **more)


def inner(tree, key):
  """The child of a data class or of a tuple that one key of a path leads to."""
  by_name = isinstance(key, jax.tree_util.GetAttrKey)
  return getattr(tree, key.name) if by_name else tree[key.idx]


def assert_same(got, expected, atol=1e-5):
  for path, value in jax.tree_util.tree_leaves_with_path(expected):
    other = functools.reduce(inner, path, got)
    np.testing.assert_allclose(
        np.float32(other), np.float32(value), atol=atol, err_msg=jax.tree_util.keystr(path))


def cells(result, index):
  return jax.tree.map(lambda v: v[index], result)


def differ(one, two) -> bool:
  return any(np.abs(np.float32(a) - np.float32(b)).max() > 1e-4
             for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True))


# -- swept = alone ---------------------------------------------------------------------------------


def test_every_traced_field_is_swept_here():
  elsewhere = {*pair_source.SETTINGS, 'guard', 'lam_mode'}  # in pairs_test, in apart_test
  assert set(VALUES) | set(ATOM_VALUES) | {'lam_1'} | elsewhere == set(traced_fields())


@pytest.mark.parametrize('name', VALUES)
def test_a_swept_field_equals_each_cell_alone(name):
  swept = run({name: VALUES[name]})
  alone = [run({name: (value,)}, chunk=1) for value in VALUES[name]]
  for i, cell in enumerate(alone):
    assert_same(cells(swept, slice(i, i + 1)), cell)
  assert differ(*alone), f'{name} changes nothing'
  assert not swept.diverged.any()


def test_lam_1_swept_equals_each_cell_alone():
  fixed = {'lam_2': 0.3, 'lam': 9.0, 'n_train': 64, 'temperature': 0.2}
  swept = run({'lam_1': (0.2, 2.0)}, base=fixed)
  assert_same(swept, run({'lam': (0.2, 2.0)}))  # lam_1 follows lam where it is absent
  assert differ(cells(swept, 0), cells(swept, 1))


@pytest.mark.parametrize('name', ATOM_VALUES)
def test_a_swept_atom_equals_each_cell_alone(name):
  settings = dict(base=ATOMS, spec=Spec(**{**vars(SPEC), 'generator': 'atoms'}))
  swept = run({name: ATOM_VALUES[name]}, **settings)
  alone = [run({name: (value,)}, **settings) for value in ATOM_VALUES[name]]
  for i, cell in enumerate(alone):
    assert_same(cells(swept, slice(i, i + 1)), cell)
  assert differ(*alone), f'{name} changes nothing'


def test_absent_settings_are_repeated_over_the_grid():
  hypers = sweep.grid({'lam': (0.0, 1.0), 'seed': (5, 6, 7)}, n_train=64)
  np.testing.assert_array_equal(hypers.lam, [0, 0, 0, 1, 1, 1])
  np.testing.assert_array_equal(hypers.seed, [5, 6, 7] * 2)
  assert hypers.seed.dtype == np.uint32 and hypers.n_train.shape == (6,) and not hypers.own
  with pytest.raises(TypeError, match='lamda'):
    sweep.grid({'lamda': (0, 1)})


def test_a_grid_without_axes_is_one_cell():
  assert sweep.grid({}, lam=2.0).lam.tolist() == [2.0]


# -- pairing ---------------------------------------------------------------------------------------


def test_cells_of_a_seed_start_alike_at_every_strength():
  swept = run({'seed': (0, 1), 'lam': (0.0, 4.0)}, base={
      **BASE, 'learning_rate': 1e-10, 'weight_decay': 0.0})
  for first in (0, 2):
    assert_same(cells(swept, first), cells(swept, first + 1), atol=1e-6)
  assert differ(cells(swept, 0), cells(swept, 2))


def test_a_cell_does_not_depend_on_its_grid():
  one = run({'seed': (0, 1), 'lam': (0.0, 1.0)})
  two = run({'lam': (3.0, 0.0), 'seed': (2, 1)})
  assert_same(cells(one, 2), cells(two, 3))


# -- batches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('n, batch_size', [(64, 32), (70, 32), (100, 7), (32, 32)])
def test_an_epoch_shows_distinct_samples_and_drops_the_ragged_end(n, batch_size):
  per_epoch = n // batch_size
  rows = jax.jit(jax.vmap(lambda t: batches.batch_rows(
      jax.random.key(0), t, jnp.float32(n), batch_size=batch_size)))(jnp.arange(20 * per_epoch))
  epochs = np.asarray(rows).reshape(20, per_epoch * batch_size)
  assert epochs.min() == 0 and epochs.max() == n - 1
  assert all(len(np.unique(epoch)) == epochs.shape[1] for epoch in epochs)
  assert len(np.unique(epochs, axis=0)) == 20
  assert len(np.unique(epochs)) == n


# -- chunks, threads, devices ----------------------------------------------------------------------

FIVE = {'lam': (0.0, 0.5, 1.0, 2.0, 4.0)}


@pytest.mark.parametrize('settings', [
    dict(chunk=1), dict(chunk=5), dict(chunk=2, workers=2), dict(chunk=1, workers=2)], ids=str)
def test_chunks_and_threads_do_not_change_the_result(settings):
  assert_same(run(FIVE, **settings), run(FIVE, chunk=2))


def test_chunks_report_every_wanted_cell_once():
  hypers = sweep.grid(FIVE, **{name: value for name, value in BASE.items() if name != 'lam'})
  told = []
  chunks = list(sweep.run_chunks(
      SPEC, hypers, tables(), np.array([4, 1, 3]), chunk=2, workers=2,
      done=lambda index, cells: told.append((index.tolist(), len(cells.cka[0])))))
  assert sorted(told) == [([3], 1), ([4, 1], 2)]
  expected = run(FIVE)
  for index, got in chunks:
    assert_same(got, cells(expected, index))


def test_a_diverging_cell_is_flagged_and_harms_no_other():
  result = run({'learning_rate': (5e-3, 1e30, 1e-2, 1e30)})
  np.testing.assert_array_equal(result.diverged, [False, True, False, True])
  for name in ('cka', 'mutual_knn'):
    assert all(np.isnan(pair[1]) for pair in getattr(result, name))
  for side in result.sides:
    assert all(np.isnan(leaf[1]).all() for leaf in jax.tree.leaves(side))
  assert np.isfinite([result.bounds[0].accuracy[1], result.bounds[0].mi[1]]).all()
  assert_same(cells(result, np.array([0, 2])), run({'learning_rate': (5e-3, 1e-2)}))


def test_no_score_is_nan_without_the_flag():
  result = run({'learning_rate': tuple(10.0 ** np.arange(-4, 37, 2))})
  for path, leaf in jax.tree_util.tree_leaves_with_path(result):
    if jax.tree_util.keystr(path).endswith('.correlation'):  # classes have none
      assert np.isnan(leaf).all()
      continue
    wrong = ~np.isfinite(np.float32(leaf).reshape(len(leaf), -1)).all(1) & ~result.diverged
    assert not wrong.any(), (jax.tree_util.keystr(path), np.flatnonzero(wrong))


ON_EIGHT_DEVICES = '''
import sys
import jax, numpy as np
from mmalign_jax.runs import devices
from mmalign_jax.training import sweep
sys.path.insert(0, 'tests')
import sweep_test
assert len(jax.local_devices()) == 8
placed = devices.place_runs(np.arange(8.0))
assert len(placed.sharding.device_set) == 8
axes = {'lam': (0.0, 1.0), 'redundancy': (0, 8), 'seed': (0, 1, 2)}
result = sweep_test.run(axes, chunk=8, place=devices.place_runs)
np.savez(sys.argv[1], *map(np.asarray, jax.tree.leaves(result)))
'''


def test_eight_devices_equal_one(tmp_path):
  root = pathlib.Path(__file__).resolve().parents[1]
  env = {**os.environ, 'PYTHONPATH': str(root), 'JAX_PLATFORMS': 'cpu',
         'XLA_FLAGS': f'--xla_force_host_platform_device_count=8 {OLDER}'}
  done = subprocess.run(
      [sys.executable, '-c', ON_EIGHT_DEVICES, str(tmp_path / 'cells.npz')], cwd=root, env=env,
      capture_output=True, text=True, timeout=300)
  assert done.returncode == 0, done.stderr
  expected = run({'lam': (0.0, 1.0), 'redundancy': (0, 8), 'seed': (0, 1, 2)})
  with np.load(tmp_path / 'cells.npz') as file:
    for name, value in zip(file.files, jax.tree.leaves(expected), strict=True):
      np.testing.assert_allclose(np.float32(file[name]), np.float32(value), atol=1e-5)


def test_a_generator_without_tables_asks_for_them():
  with pytest.raises(ValueError, match="'paired'"):
    sweep.make_tables(Spec(generator='paired'))


@pytest.mark.parametrize('n_cells, workers, size', [(1, 1, 1), (5, 2, 3), (1000, 2, 6), (1, 4, 1)])
def test_chunk_size_shares_cells_among_workers(n_cells, workers, size):
  assert memory.chunk_size(SPEC, tables(), n_cells, workers) == size


def test_chunk_size_obeys_the_memory_budget():
  one = memory.cell_bytes(SPEC, tables())
  assert memory.chunk_size(SPEC, tables(), 100, 1, budget_bytes=2.5 * one) == 2
  assert memory.chunk_size(SPEC, tables(), 100, 1, budget_bytes=1) == 1


def test_memory_of_sequences_is_that_of_all_their_steps():
  """What a gradient surely keeps of every block: attention, hidden units and their inputs."""
  rows, steps, width, depth, batch = 40, 20, 36, 2, 16
  x = Frames(np.zeros((rows, steps, width), np.float32), np.ones((rows, steps), bool))
  y = np.zeros(rows, np.int32)
  judged = ((x, y, y),) * 2
  of = pair_source.PairTables((x, x), (y == 0,) * 2, y, y == 0, (np.ones(width),) * 2, judged,
                              judged, (x, x), y, y, 1, 1, 2)
  spec = Spec(generator='pairs', encoder='sequence_transformer', depth=depth, batch_size=batch,
              max_train=rows, n_align=16)
  token, attention = batch * (1 + steps), batch * (1 + steps)**2
  least = 4 * 2 * (depth - 1) * (token * (3 + 1 + 4 + 4 + 1) * width + attention)
  found = memory.cell_bytes(spec, of)
  assert 2 * least < found < 20 * least  # twice, as labels and pairs are batches of their own
  longer = dataclasses.replace(spec, depth=3)
  assert memory.cell_bytes(longer, of) > found + 2 * least
  assert memory.chunk_size(spec, of, 100, 1, budget_bytes=2.5 * found) == 2


def test_memory_of_an_mlp_is_as_it_was():
  assert memory.cell_bytes(SPEC, tables()) == 2_819_072
