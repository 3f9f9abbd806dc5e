"""What a classifier finds: a lower bound of mutual information from samples, in nats."""

from collections.abc import Callable, Iterator, Sequence
import warnings

import numpy as np

from mmalign_jax import grouped, struct
from mmalign_jax.information.nearest import checked_labels, checked_samples
from mmalign_jax.types import Array, Numeric

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)  # C of scikit-learn: the inverse of the penalty
TRUST = (0.0, 0.5, 0.8, 0.9, 0.97, 0.99, 0.997)  # in the classifier; the rest is in frequencies
LANDMARKS = 200
_INNER = 4    # one part in so many chooses among the models
_STEPS = 200


@struct.dataclass
class HeldOut:
  """value [] of I(X;Y) in nats and its standard error []; chosen: the model of each fold."""
  value: Numeric
  error: Numeric
  chosen: tuple[str, ...] = struct.field(pytree_node=False, default=())


def held_out(x: Array, y: Array, seed: int, folds: int = 5, *,
             groups: Array | None = None) -> HeldOut:
  """H(Y) less the cross-entropy of classifiers on samples that they have not seen.

  In expectation below I(X;Y) for any classifier q: the difference is the divergence of q(y|x) from
  p(y|x) (Barber and Agakov 2003), and H(Y) is that of the frequencies, which is too low. How far
  below depends on what a classifier can see. Two families of logistic regression: 'linear' in x,
  and 'kernel' in Gaussian similarities to some of the samples, which sees an XOR of few columns
  (not one that is hidden among dozens). For each fold a part of its training samples chooses
  family, penalty, and how far to trust it: probabilities are mixed with the frequencies of the
  classes, so that a mistake costs at most about 6 nats plus -log p(y), and a classifier that has
  learnt nothing gives about 0. A value below 0 is returned as it is.

  Columns are brought to mean 0 and deviation 1 by the training samples of each fold. The error is
  that of a mean over samples; it leaves out that other training samples give other classifiers.

  Args:
    x: [N, D] finite features.
    y: [N] class labels: integers, booleans or strings; bin a continuous target first.
    seed: of folds and landmarks: an integer, the same gives the same value.
    folds: 2 to N; with fewer groups, one for each.
    groups: [N] codes of what belongs together, whole in a fold and in the error; None where samples
      are independent.

  Returns:
    HeldOut of float64 scalars.

  Raises:
    ValueError: arrays that do not fit or are not finite, labels of one class or not whole numbers,
      one group only, fewer than 4 samples, or folds out of range.

  Examples:
    >>> x = np.arange(200.0)[:, None] % 2
    >>> round(float(held_out(x, np.arange(200) % 2, seed=0).value), 2)
    0.69
  """
  x = checked_samples(x, 'x')
  codes = checked_labels(y, len(x))
  if len(x) < 4:
    raise ValueError(f'x has N={len(x)} samples; at least 4 are needed')
  if not 2 <= folds <= len(x):
    raise ValueError(f'folds={folds} must be in 2..N={len(x)}')
  rng, n_classes = np.random.default_rng(seed), codes.max() + 1
  groups = None if groups is None else grouped.checked(np.asarray(groups), len(x))
  gain, chosen = np.empty(len(x)), []
  fold = _folds(codes, folds, rng, groups)
  for test in (fold == i for i in range(fold.max() + 1)):
    rest = None if groups is None else groups[~test]
    name, predict = _best(x[~test], codes[~test], n_classes, rng, rest)
    gain[test] = np.log(predict(x[test])[np.arange(test.sum()), codes[test]])
    chosen.append(name)
  gain -= np.log(np.bincount(codes) / len(codes))[codes]
  return HeldOut(gain.mean(), standard_error(gain, groups), tuple(chosen))


def standard_error(gain: np.ndarray, groups: np.ndarray | None) -> float:
  """Of the mean of gain [N]; groups [N] codes in 0..G-1, None where samples are independent."""
  if groups is not None:  # of the total of each group, its share of samples taken out
    gain = np.bincount(groups, gain - gain.mean()) * (groups.max() + 1) / len(gain)
  return gain.std(ddof=1) / len(gain)**0.5


def _folds(codes: np.ndarray, folds: int, rng: np.random.Generator,
           groups: np.ndarray | None = None) -> np.ndarray:
  """The fold [N] of each sample, with every class spread over all of them; groups stay whole."""
  if groups is not None:
    return grouped.folds(groups, codes, folds, rng)
  order = rng.permutation(len(codes))
  order = order[np.argsort(codes[order], kind='stable')]
  fold = np.empty(len(codes), int)
  fold[order] = np.arange(len(codes)) % folds
  return fold


def _best(x: np.ndarray, codes: np.ndarray, n_classes: int, rng: np.random.Generator,
          groups: np.ndarray | None = None):
  """The model that predicts an inner part best, fitted to all of x [N, D]: name and function."""
  if groups is not None:
    groups = np.unique(groups, return_inverse=True)[1]
    if not groups.any():  # one is left: within it, samples are all there is
      groups = None
  inner = _folds(codes, min(_INNER, len(x)), rng, groups) == 0
  prior = _prior(codes, n_classes)
  best = (np.inf, 'linear', PENALTIES[0], 0.0)
  for name in FAMILIES:
    features = FAMILIES[name](x[~inner], rng)
    seen, unseen = features(x[~inner]), features(x[inner])
    for c, model in _path(seen, codes[~inner], n_classes):
      q = model(unseen)
      for trust in TRUST:
        own = (trust * q + (1 - trust) * prior)[np.arange(inner.sum()), codes[inner]]
        best = min(best, (-np.mean(np.log(own)), name, c, trust))
  _, name, c, trust = best
  if trust == 0:
    return 'frequencies', lambda z: np.broadcast_to(prior, (len(z), n_classes))
  features = FAMILIES[name](x, rng)
  (_, model), = _path(features(x), codes, n_classes, [c])
  return name, lambda z: trust * model(features(z)) + (1 - trust) * prior


def _prior(codes: np.ndarray, n_classes: int) -> np.ndarray:
  """Frequencies [C] with half a sample more for each class, so that none is 0."""
  count = np.bincount(codes, minlength=n_classes) + 0.5
  return count / count.sum()


def _path(x: np.ndarray, codes: np.ndarray, n_classes: int,
          penalties: Sequence[float] = PENALTIES) -> Iterator[tuple[float, Callable]]:
  """(penalty, probabilities [M, C] for [M, D]) by multinomial logistic regressions, each from where
  the one before it ended; a model is to be asked before the next is made."""
  from sklearn.linear_model import LogisticRegression  # here, since importing stays fast
  seen = np.unique(codes)
  if len(seen) < 2:
    yield from ((c, lambda z: np.broadcast_to(np.eye(n_classes)[seen], (len(z), n_classes)))
                for c in penalties)
    return
  model = LogisticRegression(tol=1e-3, max_iter=_STEPS, warm_start=True)
  def predict(z):
    q = np.zeros((len(z), n_classes))
    q[:, seen] = model.predict_proba(z)
    return q
  for c in penalties:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # of steps that ran out: the bound is one nevertheless
      model.set_params(C=c).fit(x, codes)
    yield c, predict


# -- features --------------------------------------------------------------------------------------


def _linear(x: np.ndarray, rng: np.random.Generator) -> Callable:
  """Columns with mean 0 and deviation 1 over x [N, D]; a constant column becomes 0."""
  del rng
  mean, scale = x.mean(axis=0), x.std(axis=0)
  scale = np.where(scale > 1e-12 * np.abs(mean), scale, np.inf)
  return lambda z: (z - mean) / scale


def _kernel(x: np.ndarray, rng: np.random.Generator) -> Callable:
  """exp(-d^2 / median d^2) to some of the samples, standardised; beside the columns themselves."""
  from scipy.spatial.distance import cdist  # here, since importing the package stays fast
  plain = _linear(x, rng)
  marks = plain(x[rng.permutation(len(x))[:LANDMARKS]])
  squared = lambda z: cdist(plain(z), marks, 'sqeuclidean')
  width = max(np.median(squared(x)), np.finfo(float).tiny)
  raw = lambda z: np.exp(-squared(z) / width)
  scaled = _linear(raw(x), rng)
  return lambda z: np.concatenate([scaled(raw(z)), plain(z)], axis=1)


FAMILIES = {'linear': _linear, 'kernel': _kernel}
