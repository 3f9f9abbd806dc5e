"""How much memory a cell of a sweep takes, and so how many go at once."""

import math

import jax

from mmalign_jax import objective
from mmalign_jax.data.sources import SOURCES
from mmalign_jax.encoders import sides
from mmalign_jax.training import probes
from mmalign_jax.training.fitting import joint_shapes
from mmalign_jax.types import Hyper, PyTree, Spec, lookup, shape_of


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
