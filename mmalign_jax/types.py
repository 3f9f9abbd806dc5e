"""The pytrees and settings that every other module speaks in.

Axis letters: B batch, N samples, M rows of a table of inputs, R runs (cells of a grid), S sides
(modalities, numbered from 1 in names), D input width of a side, K embedding width, C classes, F
folds of a test set. A traced setting lives in `Hyper` and may differ from cell to cell of one
compiled sweep; a static one in `Spec`, one compile each.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from mmalign_jax import struct
from mmalign_jax.ranges import Range as Range, lookup as lookup  # of all who speak of settings

Array = jax.Array | np.ndarray
Numeric = Array | np.number | float | int
PyTree = Any
Key = jax.Array
SCHEDULES = ('constant', 'warmup', 'cosine')  # Hyper.schedule is the index
ALIGN_ON = ('pairs', 'labelled')               # Hyper.align_on is the index
GUARDS = ('none', 'project')                   # Hyper.guard is the index
LAM_MODES = ('weight', 'share', 'auto')        # Hyper.lam_mode is the index
NAMES = {'schedule': SCHEDULES, 'align_on': ALIGN_ON, 'guard': GUARDS, 'lam_mode': LAM_MODES}
COMPUTE_DTYPES = ('bfloat16', 'float32')
FUSIONS = ('none', 'frozen', 'trained')


@struct.dataclass
class Batch:
  """Paired samples: x, of every side [B, D]; y [B] (i32 class, or f32 for regression).

  valid [B]: bool, False for the filling of a last batch that is too short; None: all are real.
  groups [B] i32: samples that belong together, for losses that ask; None: each is its own.
  present: of every side [B] bool, False where a sample lacks it; None: all have all.
  """
  x: tuple[PyTree, ...]
  y: Array
  valid: Array | None = None
  groups: Array | None = None
  present: tuple[Array, ...] | None = None


@struct.dataclass
class Outputs:
  """What a side makes of x [B, ...]; all that a loss may ask of it.

  layers: every hidden representation, each [B, width], last one what similarity is measured on;
  z [B, K] unit-norm embedding that is aligned, raw [B, K] the same before it is normalised;
  prediction [B, C] logits, or [B] for regression. predicted [B, K]: what a predictor makes of raw,
  where the loss has one (`losses.Loss.predicts`); noisy: raw of two augmented copies of x, where it
  asks for them (`Loss.augments`).
  """
  layers: tuple[Array, ...]
  z: Array
  raw: Array
  prediction: Array
  predicted: Array | None = None
  noisy: tuple[Array, Array] | None = None


@struct.dataclass
class Hyper:
  """Traced settings, scalars (or [R] when stacked). Any of them can be an axis of a grid.

  lam: strength of alignment. own: settings that a side, a pair or a loss adds, by name
  (`named.hyper` sorts them in): lam_I, the strength felt by encoder I alone, and lam_I_J, that of
  one pair, which follow `lam` where absent; loss_NAME, the setting NAME of the loss.
  schedule: index into SCHEDULES of how strength moves over training. temperature: of the
  contrastive loss (its start when learnable). redundancy: shared task bits 0..8 (`bits`) or nats
  (`atoms`); unique_1, unique_2, synergy: nats (`atoms`). level: difficulty 0..9 (`bits`).
  transform_depth: of the random network, 0..10, 0 for none. n_train: training samples. n_labelled:
  labels a class, or in all for a regression, n_pairs: samples that are aligned, components: of
  every side, train_steps: until training stops; 0 for all there are. align_on: index into ALIGN_ON
  of which samples are aligned (`pairs`). guard: index into GUARDS, lam_mode: into LAM_MODES (see
  `training.apart`); None is the first, at half the gradients. mismatched: share of pairs whose x2
  is another sample's; flipped: probability that a shared bit is flipped in x2. seed: of data,
  initialisation and order.
  """
  lam: Numeric = 0.0
  schedule: Numeric = 0
  temperature: Numeric = 0.1
  learning_rate: Numeric = 5e-3
  weight_decay: Numeric = 1e-2
  n_train: Numeric = 512
  redundancy: Numeric = 4
  unique_1: Numeric = 0.0
  unique_2: Numeric = 0.0
  synergy: Numeric = 0.0
  level: Numeric = 0
  transform_depth: Numeric = 0
  mismatched: Numeric = 0.0
  flipped: Numeric = 0.0
  n_labelled: Numeric = 0
  n_pairs: Numeric = 0
  align_on: Numeric = 0
  components: Numeric = 0
  train_steps: Numeric = 0
  guard: Numeric | None = None
  lam_mode: Numeric | None = None
  seed: Numeric = 0
  own: dict[str, Numeric] = dataclasses.field(default_factory=dict)


@struct.dataclass
class Frames:
  """Sequences of features: x [B, T, F], mask [B, T] bool, true where a frame is valid, None where
  all are. Silence is a valid frame, so zeros cannot stand for a mask."""
  x: Array
  mask: Array | None = None


def shape_of(x: PyTree) -> tuple[int, ...]:
  """Of one sample of x [B, ...]; of x alone, for `Frames`."""
  return (x.x if isinstance(x, Frames) else x).shape[1:]


@dataclasses.dataclass(frozen=True)
class OwnSide:
  """Static settings of one side alone: '' or 0 follows the common one of the Spec."""
  encoder: str = ''
  depth: int = 0
  width: int = 0


@dataclasses.dataclass(frozen=True)
class Spec:
  """Static settings: hashable, one compile each.

  generator, encoder, loss, task, projection name registry entries. learnable_temperature,
  learnable_bias: whether the loss's are parameters, which start at the traced settings. width and
  depth: of hidden layers (channels at first, for convolutions) and how many layers or blocks.
  sides: what single sides have of their own, those that are not there nothing. compute_dtype: of
  products and activations; parameters and outputs are float32. projection_width: K, the width of
  the embeddings that are aligned. max_train bounds Hyper.n_train. labelled_batch: samples of a
  batch of the task loss, where it has its own; 0 for batch_size. transform: which side the random
  transform acts on ('one' is side 2, or 'both'). n_align: test pairs on which similarity is
  measured, with `neighbors` neighbours. fusion: whether a head on the embeddings of all sides
  learns the task, too ('frozen': its gradient stops at the embeddings; 'trained': it reaches the
  encoders), with `fusion_width` hidden units; 0 for a linear head. probes: whether linear probes
  read the factors of the source from every layer.
  """
  generator: str = 'bits'
  encoder: str = 'mlp'
  depth: int = 3
  width: int = 12
  projection: str = 'linear'
  projection_width: int = 12
  task: str = 'cross_entropy'
  loss: str = 'info_nce'
  learnable_temperature: bool = False
  min_temperature: float = 0.01
  max_temperature: float = 1.0
  learnable_bias: bool = False
  batch_size: int = 256
  steps: int = 600
  clip_norm: float = 8.0
  max_train: int = 512
  labelled_batch: int = 0
  transform: str = 'one'
  transform_seed: int = 0
  n_align: int = 512
  neighbors: int = 10
  sides: tuple[OwnSide, ...] = ()
  compute_dtype: str = 'float32'
  fusion: str = 'none'
  fusion_width: int = 32
  probes: bool = False

  def of_side(self, side: int) -> 'Spec':
    """The Spec of side 1, 2, ... as the common one, its own encoder, depth and width put in."""
    own = vars(self.sides[side - 1]) if side <= len(self.sides) else {}
    return dataclasses.replace(
        self, sides=(), **{name: value for name, value in own.items() if value})


@struct.dataclass
class Draws:
  """Training samples as rows of the tables of inputs: rows, of every side [N] i32; y [N].

  n_labelled, n_aligned []: how many of them, from the first on, have a label that may be learnt
  from, and how many are aligned; None where all are for both.
  """
  rows: tuple[Array, ...]
  y: Array
  n_labelled: Array | None = None
  n_aligned: Array | None = None


@struct.dataclass
class Test:
  """What one encoder is judged on: x [M, D], target [M, C] p(y | x) (or [M] for regression).

  The generators enumerate every input with its exact p(y | x), so accuracy carries no sampling
  noise; data from files give their held-out rows with one-hot targets. fold [M] i32 assigns rows
  to F folds, the units that a bootstrap over test samples draws.
  """
  x: Array
  target: Array
  fold: Array
  n_folds: int = struct.field(pytree_node=False, default=1)


@struct.dataclass
class Joint:
  """What a head on all sides is judged on: J samples that have every side.

  x: of every side [M, ...], its distinct inputs; rows: of every side [J] i32, which of them a
  sample has, None where they are all in order (M = J). target [J, C] p(y | all x) (or [J] for
  regression), fold [J] and n_folds as of `Test`. ceiling []: Bayes accuracy, NaN if unknown.
  """
  x: tuple[PyTree, ...]
  rows: tuple[Array, ...] | None
  target: Array
  fold: Array
  ceiling: Array
  n_folds: int = struct.field(pytree_node=False, default=1)


@struct.dataclass
class Factor:
  """Bits of the data that a representation may tell or not, as one group with a name.

  p [N, K]: probability that each bit is 1, given what the side sees of a sample; 0 or 1 where it
  sees the bit. held [K] bool: which of the K columns the group has in this cell, since settings
  that are traced may move bits from one group to another.
  """
  p: Array
  held: Array
  name: str = struct.field(pytree_node=False, default='')


@struct.dataclass
class TrainState:
  """step [] i32, params and optimiser state of all encoders and their heads. of_task: gradient of
  the task, averaged over about an epoch, where `Hyper.guard` is given (`training.apart`)."""
  step: Array
  params: PyTree
  opt_state: PyTree
  of_task: PyTree = None


Shape = int | tuple[int, ...]  # of one sample; an int is a width
