"""What an owner of two views and a label can measure in seconds, before any training."""

from collections.abc import Sequence

import numpy as np

from mmalign_jax import grouped
from mmalign_jax.advice import linear
from mmalign_jax.advice.linear import Told
from mmalign_jax.diagnosis.spectra import checked
from mmalign_jax.precision import doubles

MOST_ROWS = 5000      # a random part of more rows is looked at
MOST_COLUMNS = 256    # principal components of a wider view, of which informations are
MOST_CANONICAL = 100  # principal components whose correlations with the other view are asked for
LARGE = 1500          # rows and columns, from which components are found by random projections
LANDMARKS = 100       # labelled rows, likeness to which is a feature of the kernel's model
ABOVE = 2.5           # standard errors from which a correlation is above chance
LEAST = 4             # labelled rows
TASKS = ('classes', 'value')


def features(views: Sequence[np.ndarray], y: np.ndarray, *, task: str = 'classes',
             groups: np.ndarray | None = None, seed: int = 0) -> dict[str, float]:
  """Numbers that tell of a pair of views how much alignment may help; `NAMES` says what each is.

  All is linear (ridge regression, canonical correlations), but for `kernel_i`, and is judged on
  rows that it was not fitted to. Information and accuracy use the labelled rows alone (of views
  wider than MOST_COLUMNS, components of all rows); spectra, correlations and similarity use all.
  The order of rows does not matter, nor do shift and scale of a view; rank and similarity do not
  change with a rotation either. Of more than MOST_ROWS rows a random part is looked at: labelled
  ones up to half of it, or their share of all rows where that is more. Counts and shares of classes
  are of all rows.

  Args:
    views: two arrays [N, D_i] of finite numbers, row by row of the same sample.
    y: [N]: whole numbers from 0, -1 where there is no label; of a task 'value' floats, NaN where
      there is none.
    task: 'classes' or 'value'.
    groups: [N] of samples that belong together, which no split parts; None for none.
    seed: of folds and of the part that is looked at.

  Raises:
    ValueError: other than two views, arrays that do not fit or are not finite, a view without any
      spread, fewer than LEAST labelled rows, or labels that are all alike (of the rows that are
      looked at, too) or all of one group, so that nothing judges what is learnt.

  Examples:
    >>> z = np.random.default_rng(0).normal(size=(400, 2))
    >>> found = features([z, z[:, :1]], (z[:, 0] > 0).astype(int))
    >>> round(found['canonical_top'], 2), round(found['similarity'], 1), found['labelled']
    (1.0, 0.7, 400.0)
  """
  x, y, codes = _checked(views, y, task, groups)
  known = _labelled(y)
  found = _counts(len(y), y[known], task)
  kept = _kept(x, y, known, seed)
  x, y, known = [view[kept] for view in x], y[kept], known[kept]
  codes = None if codes is None else _codes(codes[kept])
  own = None if codes is None else _codes(codes[known])
  _check_kept(y[known], own)
  label = _codes(y[known]) if task == 'classes' else y[known] - y[known].mean()
  found |= _spectra(x)
  x = [_components(view, MOST_COLUMNS, seed) for view in x]
  of_pairs, shared = _canonical(x, codes, seed)
  found |= of_pairs | _informations(
      [view[known] for view in x], [view[known] for view in shared], label, task, own,
      np.random.default_rng([seed, 3]))
  return found


NAMES = {
    'labelled': 'labelled rows', 'pairs': 'rows', 'log_labelled': 'their logarithm',
    'log_pairs': 'logarithm of rows', 'classes': 'classes; 2 of a value, by its median',
    'log_per_class': 'logarithm of labelled rows a class',
    'majority': 'share of the most frequent class', 'entropy': 'H(Y) in nats',
    'width_i': 'columns', 'rank_i': 'participation ratio of the variances',
    'similarity': 'linear CKA, 0 at chance and 1 for equal views',
    'canonical_top': 'highest canonical correlation, of unseen rows',
    'canonical_mean': 'mean of those above chance; 0 of none',
    'canonical_count': 'how many are above chance',
    'canonical_share_i': 'as a share of the columns',
    'canonical_nats': 'information of Gaussians with these correlations, in nats',
    'information_i': 'what a linear model of view i tells of the label, in nats',
    'information_both': 'the same of both views together',
    'kernel_i': 'the same of a model with Gaussian likeness to some rows, at least information_i',
    'shared_i': 'the same of those directions of view i alone that go with the other view',
    'redundancy': 'min of information_i (MMI)', 'unique_i': 'information_i less redundancy',
    'synergy': 'information_both less the higher information_i, at least 0',
    'accuracy_i': 'of the linear model of view i, in 0..1',
    'slope_i': 'accuracy_i less that with half the labels',
    'gain_i': 'accuracy of the directions that go with the other view less accuracy_i'}


def _counts(pairs: int, label: np.ndarray, task: str) -> dict[str, float]:
  """Of the labels [N] of all rows that have one."""
  labelled = len(label)
  share = np.bincount(_codes(label)) / labelled if task == 'classes' else np.array([0.5, 0.5])
  return {'labelled': float(labelled), 'pairs': float(pairs), 'log_labelled': float(
      np.log(labelled)), 'log_pairs': float(np.log(pairs)), 'classes': float(len(share)),
          'log_per_class': float(np.log(labelled / len(share))), 'majority': float(share.max()),
          'entropy': -float(np.sum(share * np.log(share)))}


def _spectra(x: list[np.ndarray]) -> dict[str, float]:
  """Ranks of the views and their similarity: CKA less its mean over all permutations of the
  pairing, tr K1 tr K2 / (N - 1), which is exact for centred kernels K."""
  gram = [view.T @ view if view.shape[1] <= len(view) else view @ view.T for view in x]
  trace, size = [np.trace(k) for k in gram], [np.linalg.norm(k) for k in gram]
  found = {name: value for i, view in enumerate(x, start=1) for name, value in (
      (f'width_{i}', float(view.shape[1])), (f'rank_{i}', float((trace[i - 1] / size[i - 1])**2)))}
  cka = np.square(x[0].T @ x[1]).sum() / (size[0] * size[1])
  chance = min(trace[0] * trace[1] / (len(x[0]) - 1) / (size[0] * size[1]), 1 - 1e-9)
  return found | {'similarity': float((cka - chance) / (1 - chance))}


def _canonical(x: list[np.ndarray], groups: np.ndarray | None,
               seed: int) -> tuple[dict[str, float], list[np.ndarray]]:
  """Correlations above chance, and the scores of both views [N, K] on their directions."""
  most = max(1, min(MOST_CANONICAL, len(x[0]) // 4))
  x = [_components(view, most, seed) for view in x]
  fold = linear.folds(np.zeros(len(x[0]), int), groups, np.random.default_rng([seed, 2]))
  made = linear.canonical(x[0], x[1], fold)
  above = made.correlation > ABOVE / np.sqrt(len(x[0]))
  strong = np.clip(made.correlation[above], 0, 1 - 1e-6)
  found = {
      'canonical_top': float(np.clip(made.correlation.max(), 0, 1)),
      'canonical_mean': float(strong.mean()) if len(strong) else 0.0,
      'canonical_count': float(len(strong)),
      **{f'canonical_share_{i}': len(strong) / view.shape[1] for i, view in enumerate(x, 1)},
      'canonical_nats': -0.5 * float(np.log1p(-np.square(strong)).sum())}
  return found, [(view - mean) @ w[:, above] for view, mean, w in zip(
      x, (made.mean_1, made.mean_2), (made.w_1, made.w_2))]


def _informations(x: list[np.ndarray], shared: list[np.ndarray], label: np.ndarray, task: str,
                  groups: np.ndarray | None, rng: np.random.Generator) -> dict[str, float]:
  """What models of each view, of both, and of what is shared tell of the label [N]."""
  classes = task == 'classes'
  fold = linear.folds(label if classes else np.zeros(len(label), int), groups, rng)
  target = np.eye(label.max() + 1)[label] if classes else label[:, None]
  judge = linear.told_of_classes if classes else linear.told_of_value

  def told(z: np.ndarray, part: float = 1) -> Told:
    return judge(linear.predicted(z, target, fold, part), label)

  nothing = told(np.zeros((len(label), 1)))
  x = [_unit(view) for view in x]
  one, two = map(told, x)
  found = {'information_both': max(told(np.hstack(x)).information, one.information,
                                   two.information)}
  marks = rng.permutation(len(label))[:LANDMARKS]
  for i, (view, common, alone) in enumerate(zip(x, shared, (one, two)), start=1):
    aligned = told(common) if common.shape[1] else nothing
    kernel = told(np.hstack([view, _likeness(view, marks)]))
    found |= {
        f'information_{i}': alone.information, f'accuracy_{i}': alone.accuracy,
        f'shared_{i}': aligned.information, f'gain_{i}': aligned.accuracy - alone.accuracy,
        f'slope_{i}': alone.accuracy - told(view, 0.5).accuracy,
        f'kernel_{i}': max(kernel.information, alone.information)}
  least = min(one.information, two.information)
  return found | {
      'redundancy': least, 'unique_1': one.information - least,
      'unique_2': two.information - least,
      'synergy': found['information_both'] - max(one.information, two.information)}


def _likeness(x: np.ndarray, marks: np.ndarray) -> np.ndarray:
  """exp(-d^2 / median d^2) [N, L] to the rows `marks`, in the units of x."""
  squared = np.square(x).sum(axis=1)
  far = np.maximum(squared[:, None] + squared[marks] - 2 * x @ x[marks].T, 0)
  near = np.exp(-far / max(float(np.median(far)), np.finfo(float).tiny))
  near -= near.mean(axis=0)
  return near * np.sqrt(squared.mean() / max(float(np.square(near).sum(axis=1).mean()), 1e-12))


def _components(x: np.ndarray, most: int, seed: int) -> np.ndarray:
  """x [N, D] of mean 0, or its first principal components, where it has more than `most`."""
  if x.shape[1] <= most:
    return x
  if min(x.shape) > LARGE:
    from sklearn.utils.extmath import randomized_svd  # slow to import
    u, s, _ = randomized_svd(x, most, random_state=seed)
    return u * s
  if x.shape[1] <= len(x):
    _, axes = np.linalg.eigh(x.T @ x)
    return x @ axes[:, ::-1][:, :most]
  values, axes = np.linalg.eigh(x @ x.T)
  return (axes * np.sqrt(np.maximum(values, 0)))[:, ::-1][:, :most]


# -- what is given ----------------------------------------------------------------------------


def _codes(values: np.ndarray) -> np.ndarray:
  """Codes [N] in 0..K-1 of values [N], in their order."""
  return np.unique(values, return_inverse=True)[1]


def _labelled(y: np.ndarray) -> np.ndarray:
  return np.isfinite(y) & (y >= 0) if y.dtype.kind in 'iu' else np.isfinite(y)


def _checked(views: Sequence[np.ndarray], y: np.ndarray, task: str, groups: np.ndarray | None,
             ) -> tuple[list[np.ndarray], np.ndarray, np.ndarray | None]:
  """Views of mean 0 and mean square 1, label and codes of groups."""
  if task not in TASKS:
    raise ValueError(f'task={task!r} is unknown; known: {", ".join(TASKS)}')
  if len(views) != 2:
    raise ValueError(f'views: two are needed, and there are {len(views)}')
  y = np.asarray(y)
  if y.ndim != 1 or y.dtype.kind not in 'biuf':
    raise ValueError(f'y has shape {y.shape} of {y.dtype}; numbers [samples] are needed')
  x = [checked(view, f'view {i}') for i, view in enumerate(views, start=1)]
  for i, view in enumerate(x, start=1):
    if len(view) != len(y):
      raise ValueError(f'view {i} has {len(view)} rows, and y has {len(y)}')
  y = _label(y, task)
  codes = None if groups is None else grouped.checked(np.asarray(groups), len(y))
  return [_unit(view) for view in x], y, codes


def _unit(x: np.ndarray) -> np.ndarray:
  """x [N, D] of mean 0 and mean square 1; 0 of a constant."""
  x = x - x.mean(axis=0)
  return x / max(float(np.sqrt(np.square(x).mean())), np.finfo(float).tiny)


def _label(y: np.ndarray, task: str) -> np.ndarray:
  if task == 'classes':
    bad = ~(y == np.round(y)) | (y < -1)
    if bad.any():
      raise ValueError(f'y has {y[bad][0]} at row {int(np.argmax(bad))} (from 0); classes are '
                       'whole numbers from 0, and -1 is no label')
    y = y.astype(np.int64)
  elif np.isinf(y).any():
    raise ValueError(f'y is infinite at row {int(np.isinf(y).argmax())} (from 0); NaN is no label')
  else:
    y = doubles(y) if y.dtype.kind in 'iu' else y.astype(np.float64)
  known = y[_labelled(y)]
  if len(known) < LEAST:
    raise ValueError(f'y has {len(known)} labels; at least {LEAST} are needed')
  if (known == known[0]).all():
    raise ValueError(f'y: all {len(known)} labels are {known[0]}')
  return y


def _check_kept(y: np.ndarray, groups: np.ndarray | None) -> None:
  """Whether the labels that are looked at, of groups (codes), can be learnt and judged."""
  if (y == y[0]).all():
    raise ValueError(f'y: of more than {MOST_ROWS} rows a random part is looked at, and all its '
                     f'{len(y)} labels are {y[0]}: the others are too rare')
  if groups is not None and not groups.any():
    raise ValueError(f'groups: all {len(y)} labelled rows are of one group, and none of another '
                     'judges what they teach; label rows of two groups at least')


def _kept(x: list[np.ndarray], y: np.ndarray, known: np.ndarray, seed: int) -> np.ndarray:
  """Rows to look at, the labelled ones first. Their order is drawn, and not that of the file: of
  rows sorted by random projections of either view."""
  g = np.random.default_rng([seed, 0])
  keys = [np.round(view @ g.normal(size=view.shape[1]), 9) for view in x]
  order = np.lexsort((np.nan_to_num(y, nan=-1.0), *keys[::-1]))
  parts = [order[known[order]], order[~known[order]]]
  most = [len(part) for part in parts]
  if len(y) > MOST_ROWS:
    few = max(round(MOST_ROWS * most[0] / len(y)), min(most[0], MOST_ROWS // 2))
    most = [few, MOST_ROWS - few]
  return np.concatenate([np.random.default_rng([seed, 1, i]).permutation(part)[:size]
                         for i, (part, size) in enumerate(zip(parts, most))])
