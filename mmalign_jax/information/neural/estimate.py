"""BATCH: atoms of large or high-dimensional data, by nets (Liang et al. 2023, arXiv 2302.12247).

Three discriminators p(y|x1), p(y|x2), p(y|x1,x2), and a coupling q of the first two that is trained
by gradient to the least I_Q(X1,X2;Y), the union information. All four informations are scored by
the labels of test rows, on which no net was trained, stopped or calibrated: H(Y) less the
cross-entropy of a discriminator, and for the union H(Y) plus the mean multiplier of q, which is
the like of it (`batch_coupling.score`). The atoms are theirs, so the three sums hold exactly:

  redundancy = mi_1 + mi_2 - mi_union        unique_1 = mi_union - mi_2
  synergy    = mi_joint - mi_union           unique_2 = mi_union - mi_1

With I_Q of q itself in place of mi_union, a number that no test label enters, the luck of a test
set would be in one term of a difference and not in the other: for 5,000 samples in 64 dimensions
with redundancy alone the synergy then varied between data sets by 0.034 nats (one standard
deviation), and by 0.007 as it is here.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax import grouped, struct
from mmalign_jax.information import classifier, discrete, quantise
from mmalign_jax.information.decomposition import ATOMS
from mmalign_jax.information.neural import coupling
from mmalign_jax.information.neural.groups import parted
from mmalign_jax.information.neural.training import BatchSpec, Cuts, Run, run
from mmalign_jax.precision import doubles
from mmalign_jax.types import Array, Key

BOUNDS = {
    'mi_1': 'lower', 'mi_2': 'lower', 'mi_joint': 'lower', 'mi_union': None,
    'q_mi_joint': 'upper, given p(y|x1) and p(y|x2)'}
DEFAULT = BatchSpec()
_TIE = 1e-6  # nats: rounding of an atom in float32


@struct.dataclass
class Atom:
  """value [] in nats, its standard error [] over test rows, or their groups (nets taken as given);
  null [P], the same with permuted labels; null_mean [];
  p_value [] = (1 + number of null >= value) / (1 + P)."""
  value: Array
  error: Array
  null: Array
  null_mean: Array
  p_value: Array


@struct.dataclass
class BatchEstimate:
  """Atoms by name, and informations [] in nats, all of held-out rows.

  mi_1, mi_2, mi_joint: H(Y) less the cross-entropy of a discriminator; at or below 0 where nothing
  was learnt. mi_union: the same for the least I_Q(X1,X2;Y). entropy: H(Y) of the test rows.

  q_mi_1, q_mi_2, q_mi_joint: I_Q(X1;Y), I_Q(X2;Y), I_Q(X1,X2;Y) of q, means over test minibatches
  of BatchSpec.pairs, without labels: what the nets believe. q_mi_1 far from mi_1: p(y|x1) is ill
  calibrated, or the test set small. scale [3]: one over the temperature of each net, 0 where it was
  of no use.

  excess: q_mi_joint less the exact optimum, on test minibatches of BatchSpec.check_size: how far
  the coupling is from the best. exact: that optimum. It is of a finite minibatch, which tends to
  lie below that of the population, by about the bias of H(Y) in it, (C - 1) / 2m nats or less; a
  coupling that is optimal for the population has some excess over it.

  n: samples; where groups were given, those that took part.

  bounds: on which side of the truth a number errs on average over test sets, None where on neither.
  An atom is a difference of two such numbers. Where a net reads its side badly, mi_1 and mi_2 are
  too low, and what they lack is taken for synergy.
  """
  atoms: dict[str, Atom]
  mi_1: Array
  mi_2: Array
  mi_joint: Array
  mi_union: Array
  entropy: Array
  q_mi_1: Array
  q_mi_2: Array
  q_mi_joint: Array
  scale: Array
  excess: Array
  exact: Array
  n: int = struct.field(pytree_node=False, default=0)
  method: str = struct.field(pytree_node=False, default='batch')
  units: str = struct.field(pytree_node=False, default='nats')

  @property
  def bounds(self) -> dict[str, str | None]:
    return {**BOUNDS, **dict.fromkeys(ATOMS)}


def batch(x1: Array, x2: Array, y: Array, *, key: Key,
          spec: BatchSpec = DEFAULT, null: int = 20, groups: Array | None = None) -> BatchEstimate:
  """Atoms of continuous sources and a class, with a null, by the estimator of Liang et al. (2023).

  Labels are permuted within each part of the split, and everything is trained anew, all versions
  side by side. The null is of no information at all: it says nothing about a small atom beside a
  large one, which its error and `excess` may. No p-value is below 1 / (1 + P).

  Rows count as independent unless groups say what belongs together: rows of one group on both sides
  of the split are learnt by heart, and every atom then looks certain.

  Args:
    x1, x2: [N, D1], [N, D2] features, standardised here by the training rows.
    y: [N] integers 0..C-1.
    key: of split, permutations, initial parameters and order.
    spec: static settings.
    null: P, permutations of the labels, at least 1; with few groups, no more than there are.
    groups: [N] of samples that belong together, which stay in one part and exchange their labels
      as a whole; about ten of like size at least. Rows that do not fill a minibatch are left out,
      and where labels vary within groups of unequal size, rows beyond a like size (`grouped`).

  Raises:
    ValueError: lengths or axes that do not fit, features that are not finite, labels that are no
      integers from 0 or of one class, a class that the training rows lack, too few samples or
      groups.

  Examples:
    >>> bit = np.arange(320.0)[:, None] % 2
    >>> spec = BatchSpec(batch_size=16, steps=2, coupling_steps=2, checks=1)  # far from enough
    >>> y, key = bit[:, 0].astype(int), jax.random.key(0)
    >>> found = batch(bit, bit, y, key=key, spec=spec, null=1)  # doctest: +SKIP
    >>> round(float(found.entropy), 2)  # doctest: +SKIP
    0.69
  """
  x1, x2, y = _checked(x1, x2, y, spec)
  if null < 1:
    raise ValueError(f'null={null} must be at least 1')
  key_split, key_null, key_train = jax.random.split(key, 3)
  n_classes = int(y.max()) + 1
  own = None if groups is None else grouped.checked(np.asarray(groups), len(y))
  if own is None:
    rows = np.asarray(jax.random.permutation(key_split, len(y)))
    labels = _versions(key_null, jnp.asarray(y[rows]), null, Cuts.of(len(y), spec))
  else:
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key_split)).ravel())
    rows, labels = parted(y, own, null, spec, rng)
  x1, x2, y = x1[rows], x2[rows], y[rows]
  cuts = Cuts.of(len(y), spec)
  lacking = np.setdiff1d(np.arange(n_classes), y[cuts.train])
  if lacking.size:
    raise ValueError(f'y: class {lacking[0]} is not among the {cuts.train.stop} training rows of '
                     f'{len(y)}')
  runs = _runs(_standardised(x1, cuts), _standardised(x2, cuts),
               jnp.asarray(labels), key_train, n_classes, spec)
  of_test = None if own is None else np.unique(own[rows[cuts.test]], return_inverse=True)[1]
  return _estimate(runs, y, cuts, spec, of_test)


# -- arrays ----------------------------------------------------------------------------------------


def _checked(x1, x2, y, spec: BatchSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  x1, x2, y = (np.asarray(values) for values in (x1, x2, y))
  for name, values, axes in (('x1', x1, 2), ('x2', x2, 2), ('y', y, 1)):
    if values.ndim != axes:
      raise ValueError(f'{name} has shape {values.shape}; {axes} axes are needed')
    if len(values) != len(y):
      raise ValueError(f'{name} has {len(values)} samples and y has {len(y)}')
  for name, x in (('x1', x1), ('x2', x2)):
    if x.dtype.kind not in 'biuf' or not x.shape[1]:
      raise ValueError(f'{name} has shape {x.shape} and type {x.dtype}; real features are needed')
    if not np.isfinite(x).all():
      raise ValueError(f'{name} has {np.sum(~np.isfinite(x))} entries that are not finite')
  if y.dtype.kind not in 'iu':
    raise ValueError(f'y has type {y.dtype}; labels are integers 0..C-1')
  if len(y) < spec.needed():
    raise ValueError(f'n={len(y)} samples are too few: minibatches of {spec.batch_size} and of '
                     f'{spec.pairs} pairs need n={spec.needed()}')
  if y.min() < 0 or y.min() == y.max():
    raise ValueError(f'y has labels {y.min()}..{y.max()}; two classes or more from 0 are needed')
  return x1, x2, y.astype(np.int32)


def _standardised(x: np.ndarray, cuts: Cuts) -> jax.Array:
  return jnp.asarray(quantise.standardised(doubles(x), cuts.train), jnp.float32)


def _versions(key: Key, y: Array, null: int, cuts: Cuts) -> Array:
  """Labels [1 + P, N]: y itself, then permuted within each part, which keeps its classes."""
  def permuted(key):
    keys = jax.random.split(key, len(cuts))
    return jnp.concatenate([jax.random.permutation(k, y[part]) for k, part in zip(keys, cuts)])
  return jnp.concatenate([y[None], jax.vmap(permuted)(jax.random.split(key, null))])


# jit here, and not at the edge, since labels are checked and rows are split before.
@functools.partial(jax.jit, static_argnums=(4, 5))
def _runs(x1, x2, labels, key: Key, n_classes: int, spec: BatchSpec) -> Run:
  """A Run [V, ...] of labels [V, N]; rows and their order are the same for all versions."""
  one = functools.partial(run, x1, x2, key=key, n_classes=n_classes, spec=spec)
  return jax.vmap(lambda y: one(y=y))(labels)


# -- results ---------------------------------------------------------------------------------------


def _estimate(runs: Run, y: np.ndarray, cuts: Cuts, spec: BatchSpec,
              groups: np.ndarray | None) -> BatchEstimate:
  mi_1, mi_2, mi_joint, mi_union = jnp.moveaxis(runs.scores, -1, 0)  # [V, n_test] each
  # By row, for their errors; any of them may be below 0, as an average must that is to be right.
  rows = jnp.stack([mi_1 + mi_2 - mi_union, mi_union - mi_2, mi_union - mi_1, mi_joint - mi_union],
                   axis=-1)
  share = np.bincount(y[cuts.test]) / len(y[cuts.test])
  neural, exact = _solved(runs, spec)
  q_mi_1, q_mi_2, q_mi_joint = runs.of_q[0]
  return BatchEstimate(
      {name: _atom(rows[..., k], groups) for k, name in enumerate(ATOMS)},
      mi_1=mi_1[0].mean(), mi_2=mi_2[0].mean(), mi_joint=mi_joint[0].mean(),
      mi_union=mi_union[0].mean(),
      entropy=-jnp.sum(jnp.asarray(discrete.xlogx(share), jnp.float32)),
      q_mi_1=q_mi_1, q_mi_2=q_mi_2, q_mi_joint=q_mi_joint, scale=runs.scale[0],
      excess=(neural - exact).mean(), exact=exact.mean(), n=len(y))


def _atom(rows: Array, groups: np.ndarray | None = None) -> Atom:
  """Of rows [1 + P, n_test], and the groups [n_test] of these."""
  values = rows.mean(axis=1)
  value, null = values[0], values[1:]
  # not null < value, rather than null >= value: what is not a number is never significant
  extreme = ~(null < value - _TIE)
  error = (rows[0].std(ddof=1) / len(rows[0])**0.5 if groups is None else jnp.float32(
      classifier.standard_error(np.asarray(rows[0], np.float64), groups)))
  return Atom(value, error, null, null.mean(), (1 + extreme.sum()) / (1 + len(null)))


def _solved(runs: Run, spec: BatchSpec) -> tuple[np.ndarray, np.ndarray]:
  """I_Q of the nets and the least, of test minibatches [count] in nats, for the labels given."""
  rows = spec.check_size * spec.check_count
  own = jax.tree.map(lambda leaf: np.asarray(leaf[0], np.float64),
                     (runs.pair, runs.log_p1[:, :rows], runs.log_p2[:, :rows]))
  with jax.enable_x64(True):
    return jax.device_get(_against_exact(*own, size=spec.check_size, sweeps=spec.sweeps))


_against_exact = jax.jit(coupling.against_exact, static_argnames=('size', 'sweeps'))
