"""A grid of trainings as one compiled program: jit(vmap(scan)) over cells, in chunks.

Every traced setting may differ from cell to cell, so a whole grid of strengths, redundancies and
seeds shares one compilation. Cells go through in chunks whose arrays stay in cache and whose memory
is bounded, and several worker threads keep the cores of a CPU busy.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax import named, rng
from mmalign_jax.checks import check, check_tables
from mmalign_jax.data.sources import SOURCES
from mmalign_jax.settings import check_cells, check_field
from mmalign_jax.training import compiling
from mmalign_jax.training.batches import batches_of
from mmalign_jax.training.evaluate import Cell, evaluate
from mmalign_jax.training.memory import chunk_size
from mmalign_jax.training.step import end, init_state, train_step
from mmalign_jax.types import Hyper, PyTree, Spec, lookup, shape_of

Placement = Callable[[PyTree], PyTree]


def grid(axes: Mapping[str, Sequence[float]], **fixed: float) -> Hyper:
  """Stacked Hyper [R] of the product of `axes`, last axis fastest; `fixed` fields are repeated.

  Raises:
    TypeError: for a name that is no traced setting. ValueError: a grid too large to be held.

  Examples:
    >>> hypers = grid({'lam': (0.0, 1.0), 'seed': (0, 1, 2)}, redundancy=4)
    >>> hypers.lam.tolist(), hypers.seed.tolist()
    ([0.0, 0.0, 0.0, 1.0, 1.0, 1.0], [0, 1, 2, 0, 1, 2])
  """
  check_cells(axes)
  points = list(itertools.product(*axes.values()))
  columns = {name: np.array([p[i] for p in points], np.float64) for i, name in enumerate(axes)}
  columns |= {name: np.full(len(points), value) for name, value in fixed.items()}
  return stack(named.hyper(**columns), len(points))


def stack(hypers: Hyper, n_cells: int) -> Hyper:
  """Every given field as an array [R]: seeds u32, the others f32 (absent fields stay absent)."""
  def cast(name, value):
    if value is None:
      return None
    if name == 'seed':  # before a cast that would wrap it
      check_field(name, np.asarray(value, np.float64), 0, 2**32 - 1, whole=True)
    return np.broadcast_to(np.asarray(value, np.uint32 if name == 'seed' else np.float32), n_cells)
  return named.hyper(**{name: cast(name, value) for name, value in named.traced(hypers).items()})


def run_cell(hyper: Hyper, tables: PyTree, *, spec: Spec) -> Cell:
  """Trains and judges one cell."""
  return evaluate(train_cell(hyper, tables, spec=spec), hyper, tables,
                  rng.stream(hyper.seed, 'test'), spec=spec,
                  source=lookup(SOURCES, spec.generator, 'generator'))


def train_cell(hyper: Hyper, tables: PyTree, *, spec: Spec) -> PyTree:
  """Trains one cell: draw the data, initialise, scan over steps; the parameters.

  Data, initialisation and order come from streams of the seed alone, so cells that differ only in
  strength are paired.
  """
  source = lookup(SOURCES, spec.generator, 'generator')
  unread = {name: 0 for name in ('components', 'train_steps') if name not in source.settings}
  hyper = dataclasses.replace(hyper, **unread)  # a step reads them, too
  n_outputs = source.n_outputs(tables)
  draws = source.draw(tables, hyper, rng.stream(hyper.seed, 'data'), spec.max_train)
  probe = jax.eval_shape(lambda: source.inputs(tables, hyper, [r[:1] for r in draws.rows]))
  state = init_state(
      rng.stream(hyper.seed, 'init'), hyper, *map(shape_of, probe), spec=spec,
      n_outputs=n_outputs)

  n, size = (hyper.n_train, spec.batch_size) if draws.n_labelled is None else (
      draws.n_labelled, spec.labelled_batch or spec.batch_size)
  n_batches = jnp.maximum(jnp.asarray(n).astype(jnp.int32) // size, 1)

  def step(t, state):
    batch, pairs = batches_of(draws, hyper, tables, t, spec=spec, source=source)
    return train_step(state, hyper, batch, spec=spec, n_outputs=n_outputs, pairs=pairs,
                      n_batches=n_batches)[0]

  if 'train_steps' in source.settings:  # a chunk whose cells all stop early is done early
    state = jax.lax.fori_loop(0, end(hyper, spec), step, state)
  else:
    state, _ = jax.lax.scan(lambda s, t: (step(t, s), None), state, jnp.arange(spec.steps))
  return state.params


@compiling.kept(32)
def compiled(spec: Spec, thorough: bool = True):
  """jit(vmap(run_cell)) of a Spec: (hypers [R], tables) -> Cell [R].

  Not `thorough`: for a few steps only.
  """
  return jax.jit(
      jax.vmap(functools.partial(run_cell, spec=spec), in_axes=(0, None)),
      compiler_options=compiling.options(spec, thorough=thorough))


def run_sweep(spec: Spec, hypers: Hyper, *, tables: PyTree = None, chunk: int | None = None,
              workers: int = 1, place: Placement | None = None) -> Cell:
  """Trains every cell of a grid.

  Args:
    spec: static settings.
    hypers: traced settings; each field [R], or a scalar shared by all cells.
    tables: constants of the data; made from `spec` for the generators, `ArrayTables` for 'paired'.
    chunk: cells per compiled call; chosen by `chunk_size` when None.
    workers: threads that run chunks at the same time.
    place: puts a chunk of hypers on devices (`parallel.place_runs`).

  Returns:
    Cell of arrays [R]; a cell that diverged is flagged and NaN, and harms no other.

  Raises:
    ValueError: for an unknown registry name, settings out of range (see `check`), or more samples
      than the tables have.

  Examples:
    >>> spec = Spec(steps=2, batch_size=8, max_train=8, n_align=16, depth=1)
    >>> cells = run_sweep(spec, grid({'lam': (0.0, 1.0)}, n_train=8, redundancy=8))
    >>> cells.sides[0].accuracy.shape, round(float(cells.bounds[0].accuracy[0]), 4)
    ((2,), 0.9063)
  """
  lengths = [np.shape(v)[0] for v in jax.tree.leaves(hypers) if np.ndim(v)]
  hypers = stack(hypers, max(lengths, default=1))
  tables = make_tables(spec) if tables is None else tables
  check_tables(spec, hypers, tables)
  chunks = list(run_chunks(
      spec, hypers, tables, np.arange(max(lengths, default=1)), chunk=chunk, workers=workers,
      place=place))
  chunks.sort(key=lambda item: item[0][0])
  return jax.tree.map(lambda *leaves: np.concatenate(leaves), *[cells for _, cells in chunks])


def make_tables(spec: Spec) -> PyTree:
  """Constants of the generator a Spec names."""
  source = lookup(SOURCES, spec.generator, 'generator')
  if source.tables is None:
    raise ValueError(f'generator {spec.generator!r} takes its data from a file: give its tables')
  return source.tables(spec)


def run_chunks(spec: Spec, hypers: Hyper, tables: PyTree, wanted: np.ndarray, *,
               chunk: int | None = None, workers: int = 1, place: Placement | None = None,
               done: Callable[[np.ndarray, Cell], None] = lambda index, cells: None,
               ) -> Iterator[tuple[np.ndarray, Cell]]:
  """Runs the cells `wanted` [W] of hypers [R], yielding (cell numbers, Cell) chunk by chunk.

  A worker calls `done` (which may write to disk) with a chunk before it starts its next one, in the
  order they finish; they are yielded in their own. The last chunk is filled up with repeats, so
  that all share one compilation.
  """
  check(spec, hypers)
  size = chunk or chunk_size(spec, tables, len(wanted), workers)
  total = len(jax.tree.leaves(hypers)[0])  # what is left of it, or a shard, is run by the same
  run = compiled(spec, thorough=compiling.pays(spec, total * spec.steps))
  place = place or (lambda tree: tree)
  pieces = [wanted[i:i + size] for i in range(0, len(wanted), size)]

  def work(piece):
    filled = np.resize(piece, size)
    cells = run(place(jax.tree.map(lambda v: jnp.asarray(v[filled]), hypers)), tables)
    cells = jax.tree.map(lambda v: np.asarray(v)[:len(piece)], jax.device_get(cells))
    done(piece, cells)
    return piece, cells

  yield from map(work, pieces[:1])  # compiles; two threads at once would do so twice
  if workers == 1:
    yield from map(work, pieces[1:])
    return
  with ThreadPoolExecutor(workers) as pool:
    try:
      yield from pool.map(work, pieces[1:])
    finally:
      pool.shutdown(cancel_futures=True)
