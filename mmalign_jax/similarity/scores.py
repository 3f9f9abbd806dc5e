"""Scores of several measures on one pair of sides, with their nulls and intervals.

XLA takes about a second to compile a measure. Where memory allows, all of them are one program:
what they share (neighbour lists, Gram matrices) is then made once, and compiling costs half.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import math
from typing import Any

import jax
import numpy as np

from mmalign_jax import grouped, rng
from mmalign_jax.similarity import (
  Measure,
  arrangements,
  bootstrap,
  interval,
  layer_pairs,
)
from mmalign_jax.similarity.null import calibrations
from mmalign_jax.similarity.rbf import DENSE

Lower = Callable[[Callable, tuple, str, Callable[[], bool]], Any]  # of `runs.programs.lowered`

JOINT_ENTRIES = 1 << 24  # of the Gram matrices of all layers, up to which all is one program
_SMALL = 1 << 26         # permuted pairs of samples, below which compiling costs more than running


@dataclasses.dataclass(frozen=True, eq=False)
class Score:
  """The best value over layers, where it is (from 0), and all pairs of layers as matrix [L1, L2].

  null [P]: values by chance, null_mean, null_q05 and null_q95 of them; calibrated and p_value as in
  `similarity.Calibration`, least_p the smallest p that so many permutations can give; None without
  permutations. tested: the value of the samples that groups of unequal size leave to chance, None
  where that is all of them. interval: 95 %, None without resamples.
  """
  value: float
  layers: tuple[int, int]
  matrix: np.ndarray
  null: np.ndarray | None = None
  null_mean: float | None = None
  null_q05: float | None = None
  null_q95: float | None = None
  calibrated: float | None = None
  p_value: float | None = None
  least_p: float | None = None
  tested: float | None = None
  interval: tuple[float, float] | None = None

  def finite(self) -> bool:
    """Whether all numbers are."""
    numbers = (self.value, self.tested, self.null_mean, self.calibrated, *(self.interval or ()))
    return all(number is None or math.isfinite(number) for number in numbers)


@dataclasses.dataclass(frozen=True)
class Plan:
  """What is done with every measure: P permutations, resamples (0 for none of either), seed in
  0..2**32-1, and settings, of which each measure takes its own."""
  permutations: int = 200
  resamples: int = 0
  seed: int = 0
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def of(self, measure: Measure) -> dict[str, Any]:
    """The settings that are this measure's."""
    return {name: v for name, v in self.settings.items() if name in measure.settings}


def obstacle(measure: Measure, n: int, widths: Sequence[int], plan: Plan,
             groups: np.ndarray | None = None, items: np.ndarray | None = None) -> str | None:
  """Why a measure cannot be taken of layers with these widths and N samples; None if it can."""
  held, samples = fewest(measure, n, plan, groups, items)
  k = {**measure.settings, **plan.of(measure)}.get('k')
  if held < measure.least:
    return f'needs at least {measure.least} samples, and {samples}'
  if k is not None and k >= held:
    return f'k={k} neighbours need k < N, and {samples}'
  if k is not None and items is not None and not measure.items:
    return 'counts samples as neighbours, several of them of one item: mutual_knn counts items'
  if k is not None and items is not None:
    others = grouped.fewest(items, held)
    if k >= others:
      return (f'k={k} neighbours, each of an item of its own, need k below the number of items, '
              f'and {samples}, may hold as few as {others}')
  if measure.same_width and len(set(widths)) > 1:
    return f'needs sides of equal width, and they have {" and ".join(map(str, widths))} features'
  if measure.dense and n > DENSE:
    return f'holds N x N numbers, and N={n} is above {DENSE}'
  return None


def fewest(measure: Measure, n: int, plan: Plan, groups: np.ndarray | None = None,
           items: np.ndarray | None = None) -> tuple[int, str]:
  """The fewest samples a measure is taken of, and how that comes about."""
  codes = groups if groups is not None else items
  found = [(n, f'N={n}')]
  if plan.resamples:
    half = interval.held(n, None if codes is None else grouped.checked(codes, n))
    found.append((half, f'N={n}, of which a half is drawn: {half}'))
  if plan.permutations and measure.null == 'pairs' and codes is not None:
    units = arrangements.units(n, groups, items)
    if units is not None and units.kept is not None:
      kept = len(units.kept)
      found.append((kept, f'N={n}, of which {kept} are in groups of like size'))
  return min(found)


def score(measures: Mapping[str, Measure], x: Sequence[np.ndarray], y: Sequence[np.ndarray],
          plan: Plan, progress: Callable[[str], None] = lambda line: None,
          groups: np.ndarray | None = None, items: np.ndarray | None = None,
          lower: Lower | None = None) -> tuple[dict[str, Score], dict[str, str]]:
  """Every measure on all pairs of layers.

  Args:
    measures: entries of MEASURES by name.
    x, y: layers, [N, D] each, all f32 or all f64 (which needs jax.enable_x64).
    plan: see there.
    progress: is told what comes next.
    groups, items: codes [N] of samples that belong together, and that are partners, or None; see
      `similarity.calibrate`.
    lower: makes a program of a function, its arguments, words for all else that it holds, and
      whether it can be kept; None traces each.

  Returns:
    Scores by name, all finite, and why the other measures have none.

  Raises:
    ValueError: codes that cannot be moved: not one a sample, all equal, an item in two groups.
  """
  units = arrangements.units(len(x[0]), groups, items)
  entries = len(x[0]) ** 2 * (len(x) + len(y))
  programs = ([dict(measures)] if entries <= JOINT_ENTRIES else
              [{name: measure} for name, measure in measures.items()])
  scores, refused = {}, {}
  for i, group in enumerate(programs):
    progress(f'{i + 1}/{len(programs)}: {", ".join(group)}')
    found, said = _together(group, list(x), list(y), plan, dict(groups=groups, items=items),
                            lower or _traced)
    scores |= found
    refused |= said
  whole = units is None or units.kept is None
  return {name: dataclasses.replace(s, tested=None) if whole or measures[name].null == 'sides'
          else s for name, s in scores.items()}, refused


def _together(measures, x, y, plan, codes, lower: Lower) -> tuple[dict[str, Score], dict[str, str]]:
  """One compiled program."""
  refused: dict[str, str] = {}
  settings = {name: plan.of(measure) for name, measure in measures.items()}
  def every(x, y, key, other):
    if plan.permutations:
      found = calibrations(measures, x, y, key=key, permutations=plan.permutations, **codes,
                           settings=settings, refused=refused)
    else:
      found = _each(lambda name, measure: layer_pairs(
          measure, x, y, items=codes['items'], **settings[name]), measures, refused)
    drawn = _each(lambda name, measure: bootstrap(
        measure, x, y, key=other, resamples=plan.resamples, **codes, **settings[name]),
        {name: measures[name] for name in found}, refused) if plan.resamples else {}
    return {name: _numbers(one, drawn.get(name)) for name, one in found.items()
            if name not in refused}
  keys = jax.random.key(plan.seed), rng.stream(plan.seed, 'bootstrap')
  try:
    program = lower(every, (x, y, *keys), _told(measures, plan, codes), lambda: not refused)
    made = jax.device_get(program.compile(_options(x, y, plan))(x, y, *keys))
  except jax.errors.JaxRuntimeError as error:
    raise ValueError(f'{", ".join(measures)}: {str(error).splitlines()[0]}') from error
  scores = {name: _score(made[name]) for name in measures if name in made}
  for name, found in list(scores.items()):
    if not found.finite():
      largest = max(float(np.abs(z).max()) for z in (*x, *y))
      refused[name] = (f'not finite: {found.value}; features as large as {largest:.3g} overflow '
                       f'{x[0].dtype}, scale them down')
      del scores[name]
  return scores, refused


def _each(function: Callable[[str, Measure], Any], measures: Mapping[str, Measure],
          refused: dict[str, str]) -> dict[str, Any]:
  """The function of every measure that can be taken; raised while traced: shapes and settings."""
  made = {}
  for name, measure in measures.items():
    try:
      made[name] = function(name, measure)
    except ValueError as error:
      refused[name] = str(error)
  return made


def _options(x, y, plan: Plan) -> dict[str, Any] | None:
  """Unoptimised code, by XLA's older emitters where it still has them, compiles in a third of the
  time, and a small problem hardly notices."""
  work = len(x[0]) ** 2 * len(x) * len(y) * (1 + plan.permutations + plan.resamples)
  if work >= _SMALL or jax.default_backend() != 'cpu':
    return None
  older = jax.__version__.startswith('0.10.')
  return {'xla_backend_optimization_level': 0,
          **({'xla_cpu_use_fusion_emitters': False} if older else {})}


def _traced(function: Callable, arguments: tuple, told: str, worth: Callable[[], bool]) -> Any:
  return jax.jit(function).lower(*arguments)


def _told(measures: Mapping[str, Measure], plan: Plan, codes: Mapping[str, Any]) -> str:
  """All that a program of these measures holds but its source and the shapes of its layers."""
  return repr((list(measures), plan.permutations, plan.resamples, sorted(plan.settings.items()),
               *(None if code is None else np.asarray(code).tolist() for code in codes.values())))


def _numbers(found, drawn) -> dict[str, Any]:
  """The arrays of a score, in a program."""
  pairs = getattr(found, 'pairs', found)
  made = {'value': pairs.best, 'matrix': pairs.matrix, 'layers': pairs.index}
  if drawn is not None:
    made['interval'] = (drawn.low, drawn.high)
  return made if pairs is found else made | {
      name: getattr(found, name) for name in (
          'null', 'null_mean', 'null_quantiles', 'calibrated', 'p_value', 'tested')}


def _score(made: Mapping[str, Any]) -> Score:
  ends = tuple(float(end) for end in made['interval']) if 'interval' in made else None
  place: dict[str, Any] = dict(value=float(made['value']), matrix=made['matrix'], interval=ends,
                               layers=tuple(int(i) for i in made['layers']))
  if 'null' not in made:
    return Score(**place)
  low, _, high = (float(q) for q in made['null_quantiles'])
  return Score(**place, null=made['null'], null_mean=float(made['null_mean']), null_q05=low,
               null_q95=high, calibrated=float(made['calibrated']),
               p_value=float(made['p_value']), least_p=1 / (1 + len(made['null'])),
               tested=float(made['tested']))
