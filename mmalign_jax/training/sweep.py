"""A grid of trainings as one compiled program: jit(vmap(scan)) over cells, in chunks.

Every traced setting may differ from cell to cell, so a whole grid of strengths, redundancies and
seeds shares one compilation. Cells go through in chunks whose arrays stay in cache and whose memory
is bounded, and several worker threads keep the cores of a CPU busy.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
import functools
import itertools
import math

import flax.errors
import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax import named, objective, rng
from mmalign_jax.checks import check, check_field
from mmalign_jax.data.sources import SOURCES, Source
from mmalign_jax.encoders import sides
from mmalign_jax.settings import check_cells
from mmalign_jax.training import probes
from mmalign_jax.training.evaluate import Cell, evaluate
from mmalign_jax.training.step import init_state, train_step
from mmalign_jax.types import (
  Array,
  Batch,
  Draws,
  Frames,
  Hyper,
  Joint,
  Key,
  Numeric,
  PyTree,
  Spec,
  lookup,
  shape_of,
)

Placement = Callable[[PyTree], PyTree]
SHORT = 2000  # steps of all cells together below which compiling costs more than it saves


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
  """Trains and judges one cell: draw the data, initialise, scan over steps, evaluate.

  Data, initialisation and order come from streams of the seed alone, so cells that differ only in
  strength are paired.
  """
  source = lookup(SOURCES, spec.generator, 'generator')
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
    asked = jnp.asarray(hyper.train_steps).astype(jnp.int32)
    end = jnp.where(asked > 0, jnp.minimum(asked, spec.steps), spec.steps)
    state = jax.lax.fori_loop(0, end, step, state)
  else:
    state, _ = jax.lax.scan(lambda s, t: (step(t, s), None), state, jnp.arange(spec.steps))
  return evaluate(
      state.params, hyper, tables, rng.stream(hyper.seed, 'test'), spec=spec, source=source)


def batches_of(draws: Draws, hyper: Hyper, tables: PyTree, t: Array, *, spec: Spec,
               source: Source) -> tuple[Batch, Batch | None]:
  """Batch t to learn the labels of, and the one to align where that is another."""
  def batch(i, valid=None):
    rows = [r[i] for r in draws.rows]
    present = None if source.present is None else source.present(tables, rows)
    return Batch(source.inputs(tables, hyper, rows), draws.y[i], valid, present=present)
  of = lambda name, n, size: batch(*some_rows(
      rng.stream(hyper.seed, name), t, n, batch_size=size))
  if draws.n_labelled is None:
    return batch(batch_rows(rng.stream(hyper.seed, 'order'), t, hyper.n_train,
                            batch_size=spec.batch_size)), None
  return (of('order', draws.n_labelled, spec.labelled_batch or spec.batch_size),
          of('order of pairs', draws.n_aligned, spec.batch_size))


def traceable(spec: Spec, tables: PyTree) -> None:
  """Whether the rows of the registries fit each other and the data: shapes only, nothing is run.

  Raises:
    ValueError: one line that names the rows.
  """
  source = lookup(SOURCES, spec.generator, 'generator')
  samples, y = jax.eval_shape(lambda t: _some(source, t), tables)
  if spec.probes:
    fitting(lambda: [probes.factor_names(source, tables, side + 1) for side in range(len(samples))],
            f'factors of generator {spec.generator!r}')
  shapes = tuple(map(shape_of, samples))
  names = ('encoder', 'depth', 'width', 'sides', 'projection', 'projection_width', 'loss', 'task',
           'compute_dtype', 'fusion', 'fusion_width', 'learnable_bias')
  if spec.fusion != 'none':
    _joint_fits(source, tables, spec, shapes)
  fits(Spec(**{name: getattr(spec, name) for name in names}), shapes, y.dtype.name,
       source.n_outputs(tables), masked(samples))


def masked(samples: Sequence[PyTree]) -> tuple[int, ...]:
  """Numbers of the sides, from 1, whose samples are `Frames`."""
  return tuple(i for i, x in enumerate(samples, start=1) if isinstance(x, Frames))


def _joint_fits(source: Source, tables: PyTree, spec: Spec, shapes: tuple) -> None:
  """Whether there are samples to judge a head on all sides by."""
  why = f'fusion={spec.fusion!r}: generator {spec.generator!r} has '
  if len(shapes) < 2:
    raise ValueError(f'{why}one side, so there is nothing to fuse')
  if source.joint is None:
    raise ValueError(f'{why}no `joint` in its row: no samples of all sides to judge the head on')
  joint = joint_shapes(source, tables)
  if tuple(map(shape_of, joint.x)) != shapes:
    raise ValueError(f'{why}{len(shapes)} sides of shapes {shapes}, but its `joint` gives '
                     f'{tuple(map(shape_of, joint.x))}')


def joint_shapes(source: Source, tables: PyTree) -> Joint:
  """Shapes of the samples that a head on all sides is judged on; the source has some."""
  joint = source.joint
  assert joint is not None  # as `traceable` makes sure
  return jax.eval_shape(lambda t: joint(t, Hyper(), jax.random.key(0)), tables)


def _some(source: Source, tables: PyTree):
  draws = source.draw(tables, Hyper(seed=jnp.uint32(0)), jax.random.key(0), 2)
  return source.inputs(tables, Hyper(), draws.rows), draws.y


@functools.lru_cache(maxsize=64)
def fits(spec: Spec, shapes: tuple, label: str, n_outputs: int,
         frames: tuple[int, ...] = ()) -> None:
  """Whether encoders, projection and losses take samples of these shapes (see `traceable`), those
  of the sides `frames`, from 1, with masks."""
  hyper = Hyper(lam=0.5)
  names = ', '.join(f'{name}={value!r}' for name, value in (
      *((f'{"of" if i else "encoder of"} side {i + 1}', spec.of_side(i + 1).encoder)
        for i in range(len(shapes))),
      ('projection', spec.projection), ('loss', spec.loss), ('task', spec.task)))

  samples = jax.eval_shape(lambda: tuple(
      Frames(jnp.zeros((2, *shape)), jnp.ones((2, shape[0]), bool)) if i in frames
      else jnp.zeros(sides.example(shape).shape) for i, shape in enumerate(shapes, start=1)))

  def trace():
    params = jax.eval_shape(lambda key: objective.init(
        key, hyper, *shapes, spec=spec, n_outputs=n_outputs), jax.random.key(0))
    jax.eval_shape(
        lambda p, *sample: objective.objective(
            p, hyper, Batch(*sample), jnp.float32(0), spec=spec, n_outputs=n_outputs),
        params, samples, jax.ShapeDtypeStruct((2,), label))

  fitting(trace, names)


def fitting(trace: Callable[[], object], names: str) -> None:
  """Runs `trace`; what JAX says of shapes and types that do not fit becomes one line.

  Raises:
    ValueError: as of a function of the package, or of `names`.
  """
  try:
    trace()
  except (TypeError, AssertionError, AttributeError, flax.errors.FlaxError) as error:
    why = next(iter(str(error).strip().splitlines()), type(error).__name__)
    raise ValueError(f'{names} do not fit each other or the data: {why}') from error


def batch_rows(key: Key, t: Array, n: Numeric, *, batch_size: int) -> jax.Array:
  """Samples [B] of batch t: epochs of distinct samples in a fresh order, the ragged end dropped."""
  per_epoch = jnp.asarray(n).astype(jnp.int32) // batch_size
  epoch, place = t // per_epoch, t % per_epoch
  return rng.permute(
      jax.random.fold_in(key, epoch), place * batch_size + jnp.arange(batch_size), n)


def some_rows(key: Key, t: Array, n: Numeric, *,
              batch_size: int) -> tuple[jax.Array, Array]:
  """As `batch_rows` where there are as many samples as a batch has; else all n, filled up. Samples
  [B], and which of them are real [B] bool."""
  n = jnp.asarray(n).astype(jnp.int32)
  per_epoch = jnp.maximum(n // batch_size, 1)
  place = (t % per_epoch) * batch_size + jnp.arange(batch_size)
  rows = rng.permute(jax.random.fold_in(key, t // per_epoch), place % n, n)
  return rows, place < n


@functools.lru_cache(maxsize=32)
def compiled(spec: Spec, thorough: bool = True):
  """jit(vmap(run_cell)) of a Spec: (hypers [R], tables) -> Cell [R].

  Not `thorough` compiles in half the time to code several times slower: for a few steps only.
  """
  return jax.jit(
      jax.vmap(functools.partial(run_cell, spec=spec), in_axes=(0, None)),
      compiler_options=None if thorough else {'xla_backend_optimization_level': 0})


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
    ValueError: for an unknown registry name, or settings out of range (see `check`).

  Examples:
    >>> spec = Spec(steps=2, batch_size=8, max_train=8, n_align=16, depth=1)
    >>> cells = run_sweep(spec, grid({'lam': (0.0, 1.0)}, n_train=8, redundancy=8))
    >>> cells.sides[0].accuracy.shape, round(float(cells.bounds[0].accuracy[0]), 4)
    ((2,), 0.9063)
  """
  lengths = [np.shape(v)[0] for v in jax.tree.leaves(hypers) if np.ndim(v)]
  hypers = stack(hypers, max(lengths, default=1))
  tables = make_tables(spec) if tables is None else tables
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

  A worker calls `done` (which may write to disk) with a chunk before it starts its next one. Chunks
  come in the order they finish. The last chunk is filled up with repeats, so that all share one
  compilation.
  """
  check(spec, hypers)
  size = chunk or chunk_size(spec, tables, len(wanted), workers)
  run = compiled(spec, thorough=len(wanted) * spec.steps > SHORT)
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


def chunk_size(spec: Spec, tables: PyTree, n_cells: int, workers: int, *,
               budget_bytes: float = 1e9, best: int = 6) -> int:
  """Cells per chunk: `best` (measured), fewer where the budget or an even share per worker asks.

  On a CPU a handful of cells whose activations stay in cache beats one large vmap
  (benchmarks/sweep_vs_torch.py measures it).
  """
  fits = max(1, int(budget_bytes / workers / cell_bytes(spec, tables)))
  return max(1, min(best, fits, -(-n_cells // workers)))


def cell_bytes(spec: Spec, tables: PyTree) -> int:
  """Estimate of the peak memory of one cell: the larger of a training step and the evaluation.

  What an encoder keeps of a sample is asked of the encoder itself, by its layers.
  """
  source = lookup(SOURCES, spec.generator, 'generator')
  n_sides = source.n_sides(tables)
  tests = [jax.eval_shape(lambda t, s=side: source.test(t, Hyper(), s).x, tables)
           for side in range(1, n_sides + 1)]
  inputs = max(math.prod(shape_of(x)) for x in tests)
  wide = max(_layer_floats(side, shape_of(x)) for side, x in zip(
      objective.modules(spec, source.n_outputs(tables), n_sides), tests))
  layers = 3 * (wide + spec.projection_width)
  train = spec.batch_size * (4 * spec.batch_size + 4 * layers + 2 * inputs)
  rows = max(jax.tree.leaves(x)[0].shape[0] for x in tests)
  rows += spec.probes * probes.N_FIT
  test = 2 * rows * (layers + inputs) + 4 * spec.n_align ** 2
  if spec.fusion != 'none':
    test += joint_shapes(source, tables).target.shape[0] * (
        n_sides * spec.projection_width + spec.fusion_width + 4 * source.n_outputs(tables))
  return 4 * (max(train, test) + 4 * spec.max_train)


def _layer_floats(side: sides.Side, shape: tuple[int, ...]) -> int:
  """Numbers in all layers of a side for one sample."""
  out, _ = jax.eval_shape(side.init_with_output, jax.random.key(0), sides.example(shape))
  return sum(math.prod(layer.shape[1:]) for layer in out.layers)
