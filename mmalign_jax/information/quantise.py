"""Features as a few cells, so that information can be counted.

What is lost by it is lost to every atom: I(X;Y) of the cells is at most that of the features, which
is why `estimate` prints what other estimators find beside. No label is looked at.
"""

import math

import numpy as np

from mmalign_jax.precision import doubles

SAMPLES_PER_ENTRY = 1   # of the table x1 x x2 x y, on average: what the corrections still bear
SAMPLES_PER_CELL = 5    # of either side or of the label: below this nothing can be said
MOST_CELLS = 20
COMPONENTS = 5          # principal components that k-means sees
CONSTANT = 1e-12        # deviation beside the mean, up to which a column is one but for rounding
HOW = ('auto', 'kmeans', 'quantiles', 'categories')


def cells_for(n: int, classes: int, other: int | None = None) -> int:
  """Number of cells of a side: a sample for each entry of the table on average, 2 to 20 cells.

  Args:
    n: samples.
    classes: C of the label.
    other: cells of the other side where they are known, else as many as this one.
  """
  entries = n / (SAMPLES_PER_ENTRY * classes)
  cells = math.isqrt(int(entries)) if other is None else int(entries / other)
  return max(2, min(MOST_CELLS, cells))


def samples_needed(*states: int) -> int:
  """The least n at which a table with so many states along its axes is attempted."""
  return SAMPLES_PER_CELL * max(states)


def categories(x: np.ndarray) -> np.ndarray:
  """Codes [N] of the distinct rows of x [N, D] in their sorted order."""
  return np.unique(x, axis=0, return_inverse=True)[1].reshape(-1)


def scaled(x: np.ndarray) -> np.ndarray:
  """Columns of x [N] or [N, D], by a power of two each within -1..1: no square overflows. Those of
  which float64 would round numbers are shifted first."""
  x = doubles(x)
  return np.ldexp(x, -np.frexp(np.abs(x).max(axis=0))[1])


def standardised(x: np.ndarray, rows: slice = slice(None)) -> np.ndarray:
  """Columns of x [N, D] with mean 0 and deviation 1 in some rows; 0 of what is constant there."""
  mean, spread = x[rows].mean(axis=0), x[rows].std(axis=0)
  return (x - mean) / np.where(spread > CONSTANT * np.abs(mean), spread, np.inf)


def quantiles(x: np.ndarray, cells: int) -> np.ndarray:
  """Codes [N] of about equally many samples each, x [N]; equal values share a cell."""
  x = scaled(x)
  edges = np.quantile(x, np.arange(1, cells) / cells)
  made = [np.unique(np.searchsorted(edges, x, side=side), return_inverse=True)[1]
          for side in ('right', 'left')]  # many equal values fit one of the two
  return max(made, key=np.max)


def kmeans(x: np.ndarray, cells: int, seed: int) -> np.ndarray:
  """Codes [N] by k-means on the first principal components of x [N, D], columns standardised."""
  from sklearn import cluster, decomposition  # slow to import
  z = standardised(scaled(x))
  most = min(COMPONENTS, *z.shape)
  z = decomposition.PCA(most, random_state=seed).fit_transform(z)
  found = cluster.KMeans(
      cells, n_init=4,  # pyright: ignore[reportArgumentType]  typed by its default, 'auto'
      random_state=seed).fit_predict(z)
  return np.unique(found, return_inverse=True)[1]


def quantise(x: np.ndarray, cells: int, *, how: str = 'auto', seed: int = 0) -> tuple[
    np.ndarray, str]:
  """Codes [N] in 0..k-1 of features x [N] or [N, D], and how they were made.

  Args:
    x: finite numbers.
    cells: k asked for; of 'categories' there are as many as distinct rows.
    how: 'kmeans', 'quantiles' (one column), 'categories' (every distinct row a cell), or 'auto':
      categories where at most MOST_CELLS rows are distinct, quantiles of a single column, else
      kmeans.
    seed: of k-means, in 0..2**32-1.

  Raises:
    ValueError: unknown `how`, or quantiles of several columns.

  Examples:
    >>> codes, how = quantise(np.linspace(0, 1, 100)[:, None], 4)
    >>> np.bincount(codes).tolist()
    [25, 25, 25, 25]
  """
  x = doubles(x)
  x = x[:, None] if x.ndim == 1 else x
  if how == 'auto':
    how = ('categories' if _few_rows(x) else 'quantiles' if x.shape[1] == 1 else 'kmeans')
  if how == 'categories':
    return categories(x), how
  if how == 'quantiles':
    if x.shape[1] != 1:
      raise ValueError(f"how='quantiles' needs a single column, and there are {x.shape[1]}")
    return quantiles(x[:, 0], cells), how
  if how != 'kmeans':
    raise ValueError(f'how={how!r} is unknown; known: {", ".join(HOW)}')
  return kmeans(x, cells, seed), how


def _few_rows(x: np.ndarray) -> bool:
  """Whether at most MOST_CELLS rows are distinct; mostly told by the first few."""
  head = x[:10 * MOST_CELLS]
  return all(len(np.unique(part, axis=0)) <= MOST_CELLS for part in (head, x))
