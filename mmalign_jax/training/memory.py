"""How much memory a cell of a sweep takes, and so how many go at once."""

from collections.abc import Iterable, Iterator, Mapping
import math
from typing import Any

import jax
import jax.numpy as jnp

from mmalign_jax import losses, objective
from mmalign_jax.data.sources import SOURCES, Source
from mmalign_jax.encoders import sides
from mmalign_jax.training import probes
from mmalign_jax.training.fitting import joint_shapes
from mmalign_jax.types import Hyper, Outputs, PyTree, Spec, lookup, shape_of

_FUSED = 2  # of what an encoder makes XLA writes down a half, by its `memory_analysis` of a step
_STATE = 5  # the parameters, their gradient, two moments, and the step


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

  Of a step it is what an encoder makes of its rows, which is asked of the encoder itself: tokens,
  attention and hidden units, too.
  """
  source = lookup(SOURCES, spec.generator, 'generator')
  n_sides = source.n_sides(tables)
  tests = [jax.eval_shape(lambda t, s=side: source.test(t, Hyper(), s).x, tables)
           for side in range(1, n_sides + 1)]
  modules = objective.modules(spec, source.n_outputs(tables), n_sides)
  inputs = max(math.prod(shape_of(x)) for x in tests)
  rows = max(jax.tree.leaves(x)[0].shape[0] for x in tests)
  rows += spec.probes * probes.N_FIT
  params = [jax.eval_shape(module.init, jax.random.key(0), sides.example(shape_of(x)))
            for module, x in zip(modules, tests)]
  of_sides = [*zip(modules, params, tests)]
  traced, outs = zip(*(_traced(*one, _rows_of_step(source, spec, tables)) for one in of_sides))
  made = sum(_sizes(jaxpr)[0] for jaxpr in traced) // _FUSED
  made += _STATE * _bytes(jax.tree.leaves(params))
  wide = max(sum(math.prod(layer.shape[1:]) for layer in out.layers) for out in outs)
  layers = 3 * (wide + spec.projection_width)
  train = spec.batch_size * (4 * spec.batch_size + 4 * layers + 2 * inputs)
  test = 2 * rows * (layers + inputs) + 4 * spec.n_align ** 2
  if spec.fusion != 'none':
    test += joint_shapes(source, tables).target.shape[0] * (
        n_sides * spec.projection_width + spec.fusion_width + 4 * source.n_outputs(tables))
  judged = max(_sizes(_traced(*one, rows)[0])[1] for one in of_sides)
  return max(4 * (max(train, test) + 4 * spec.max_train), made, judged)


def _rows_of_step(source: Source, spec: Spec, tables: PyTree) -> int:
  """Samples that an encoder is given in a step: to learn the labels of, to align, and copies."""
  drawn = jax.eval_shape(lambda t: source.draw(
      t, Hyper(seed=jnp.uint32(0)), jax.random.key(0), 2), tables)
  rows = spec.batch_size
  if spec.loss and losses.loss_of(spec.loss).augments:
    rows += 2 * spec.batch_size
  return rows if drawn.n_labelled is None else rows + (spec.labelled_batch or spec.batch_size)


def _traced(module: sides.Side, params: PyTree, x: PyTree, rows: int) -> tuple[Any, Outputs]:
  """What a side does to so many rows as x [M, ...] has, and its outputs; shapes only."""
  batch = jax.tree.map(lambda v: jax.ShapeDtypeStruct((rows, *v.shape[1:]), v.dtype), x)
  made, out = jax.make_jaxpr(module.apply, return_shape=True)(params, batch)
  return made.jaxpr, out


def _sizes(jaxpr: Any) -> tuple[int, int]:
  """Bytes of all that is made, and of the most that one step of it takes and gives."""
  made = most = 0
  for step in jaxpr.eqns:
    inside = [_sizes(inner) for inner in _inside(step.params)]
    if inside:  # a loop makes its arrays each time
      made += step.params.get('length', 1) * sum(size for size, _ in inside)
      most = max(most, *(size for _, size in inside))
    else:
      given, taken = (_bytes(v.aval for v in of) for of in (step.outvars, step.invars))
      made, most = made + given, max(most, given + taken)
  return made, most


def _inside(params: Mapping[str, Any]) -> Iterator[Any]:
  """The jaxprs among the parameters of an operation."""
  for value in params.values():
    for one in value if isinstance(value, (tuple, list)) else (value,):
      one = getattr(one, 'jaxpr', one)
      if hasattr(one, 'eqns'):
        yield one


def _bytes(arrays: Iterable[Any]) -> int:
  return sum(math.prod(a.shape) * a.dtype.itemsize for a in arrays)
