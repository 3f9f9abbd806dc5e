"""Whether rows of the registries fit each other and the data: shapes only, nothing is run."""

from collections.abc import Callable, Sequence

import flax.errors
import jax
import jax.numpy as jnp

from mmalign_jax import objective
from mmalign_jax.data.sources import SOURCES, Source
from mmalign_jax.encoders import sides
from mmalign_jax.training import compiling, probes
from mmalign_jax.types import Batch, Frames, Hyper, Joint, PyTree, Spec, lookup, shape_of


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


@compiling.kept(64)
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
