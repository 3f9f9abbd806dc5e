"""From a view as read to what its encoder takes: columns standardised, principal components of all.

Fitted on some rows and applied to any, those of a new file too.
"""

import dataclasses

import numpy as np

from mmalign_jax.data.files import rows
from mmalign_jax.types import Frames

View = np.ndarray | Frames  # [N, C], or sequences with their masks
_LARGEST = 1e15  # deviations: of more, squares and their sums leave float32


@dataclasses.dataclass(frozen=True, eq=False)
class Reduction:
  """Constants of a view of F columns, all f64 but `spread`.

  fill [F]: for single numbers that are missing. mean, std [F]: std is 1 where a column does not
  vary, and `constant` [F] bool says that it is to be 0. components [C, F] with their center [F];
  no rows, [0, F], of sequences, whose features are standardised and stay. spread [C]: root mean
  square of a column if only the first 1, 2, ... components were kept, f32; 1 of sequences.
  """
  fill: np.ndarray
  mean: np.ndarray
  std: np.ndarray
  constant: np.ndarray
  components: np.ndarray
  center: np.ndarray
  spread: np.ndarray

  @property
  def of_sequences(self) -> bool:
    return not len(self.components)


def fit(view: np.ndarray, has: np.ndarray, known: np.ndarray, most: int, where: str) -> Reduction:
  """The constants of a view.

  Args:
    view: [N, F], or sequences [N, T, F]; NaN where missing.
    has: [N] bool, rows that have the view at all.
    known: numbers of the rows to fit on, all of which have it.
    most: components kept at most.
    where: what an error message begins with.

  Raises:
    ValueError: a column without a number, values too large, or nothing that varies.
  """
  if view.ndim == 3:
    return _of_steps(view, known, where)
  from sklearn.decomposition import PCA  # slow to import
  fill = _means(view, has, known, where)
  filled = _filled(view[known], fill)
  with np.errstate(over='ignore', invalid='ignore'):
    mean, std = filled.mean(axis=0), filled.std(axis=0)
    constant = (np.ptp(filled, axis=0) == 0) | (std == 0)
    std = np.where(constant, 1, std)
    z = np.where(constant, 0, (filled - mean) / std)
  _check_fits(z, where)
  if constant.all():
    raise ValueError(f'{where}: every column is constant in training')
  kept = min(most, z.shape[1], max(1, len(known) - 1))
  found = PCA(kept, svd_solver='full' if z.shape[1] <= 500 else 'randomized', random_state=0)
  found.fit(z)
  made = Reduction(fill, mean, std, constant, np.asarray(found.components_), found.mean_,
                   np.ones(0))
  mean_square = np.cumsum(np.square(_projected(made, z), dtype=np.float64).mean(axis=0))
  spread = np.sqrt(mean_square / np.arange(1, kept + 1)).astype(np.float32)
  return dataclasses.replace(made, spread=spread)


def apply(reduction: Reduction, view: np.ndarray, has: np.ndarray, where: str) -> View:
  """What the encoder takes of a view: [N, C] f32, 0 in rows that lack it, or `Frames`.

  Args:
    reduction: of `fit`. view, has, where: as there, of these or of other rows.

  Raises:
    ValueError: values too large to standardise.
  """
  if reduction.of_sequences:
    step = np.asarray(~np.isnan(view).all(axis=2))
    flat = _filled(view.reshape(-1, view.shape[2]), reduction.fill).reshape(view.shape)
    z = np.where(step[:, :, None], (flat - reduction.mean) / reduction.std, 0)
    _check_fits(z, where)
    return Frames(z.astype(np.float32), step)
  with np.errstate(over='ignore', invalid='ignore'):
    filled = _filled(view[has], reduction.fill)
    z = np.where(reduction.constant, 0, (filled - reduction.mean) / reduction.std)
  _check_fits(z, where)
  made = np.zeros((len(view), len(reduction.components)), np.float32)
  made[has] = _projected(reduction, z)
  return made


def widened(reduction: Reduction, width: int) -> Reduction:
  """The same with so many components, those that it lacks 0 everywhere."""
  kept = len(reduction.components)
  if width <= kept:
    return reduction
  more = reduction.spread[-1] * np.sqrt(kept / np.arange(kept + 1, width + 1))
  return dataclasses.replace(
      reduction, components=np.pad(reduction.components, ((0, width - kept), (0, 0))),
      spread=np.concatenate([reduction.spread, more.astype(np.float32)]))


def _projected(reduction: Reduction, z: np.ndarray) -> np.ndarray:
  """Components [N, C] f32 of standardised rows, as scikit-learn computes them, to the last bit."""
  made = z @ reduction.components.T
  made -= reduction.center.reshape(1, -1) @ reduction.components.T
  return made.astype(np.float32)


def _means(view: np.ndarray, has: np.ndarray, known: np.ndarray, where: str) -> np.ndarray:
  """Means [F] of the known rows' numbers."""
  use = ~np.isnan(view[has]) & np.isin(np.flatnonzero(has), known)[:, None]
  return rows.means(view[has], use, where)


def _filled(view: np.ndarray, fill: np.ndarray) -> np.ndarray:
  gaps = np.isnan(view)
  return np.where(gaps, fill, view) if gaps.any() else view


def _check_fits(z: np.ndarray, where: str) -> None:
  """Whether all standardised values have squares in float32."""
  if not (np.abs(z) < _LARGEST).all():  # NaN is none of these either
    raise ValueError(f'{where}: values too large to standardise')


def _of_steps(view: np.ndarray, known: np.ndarray, where: str) -> Reduction:
  """Of sequences [N, T, F], features standardised over the steps of the known rows."""
  step = np.asarray(~np.isnan(view).all(axis=2))
  of_known = (step & np.isin(np.arange(len(view)), known)[:, None]).ravel()
  flat = view.reshape(-1, view.shape[2])
  fill = _means(flat, step.ravel(), np.flatnonzero(of_known), where)
  filled = _filled(flat[of_known], fill)
  mean, std, n = filled.mean(axis=0), filled.std(axis=0), view.shape[2]
  varies = (np.ptp(filled, axis=0) > 0) & (std > 0)  # of a constant 0.1 std is not always 0
  return Reduction(fill, mean, np.where(varies, std, 1), np.zeros(n, bool), np.zeros((0, n)),
                   np.zeros(n), np.ones(n, np.float32))
