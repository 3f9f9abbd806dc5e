"""Checks of settings at the edge: one ValueError that names the field and the value."""

import numpy as np

from mmalign_jax import encoders, losses
from mmalign_jax.data import synthetic
from mmalign_jax.types import COMPUTE_DTYPES, SCHEDULES, Hyper, Spec, lookup

_RANGES = {  # field: (low, high, whole numbers only)
    'lam': (0, np.inf, False), 'lam_1': (0, np.inf, False), 'lam_2': (0, np.inf, False),
    'schedule': (0, len(SCHEDULES) - 1, True), 'temperature': (1e-6, np.inf, False),
    'learning_rate': (1e-12, np.inf, False), 'weight_decay': (0, np.inf, False),
    'n_train': (1, np.inf, True), 'level': (0, synthetic.LEVELS - 1, True),
    'transform_depth': (0, synthetic.MAX_DEPTH, True), 'mismatched': (0, 1, False),
    'flipped': (0, 1, False), 'seed': (0, 2**32 - 1, True),
}
_ATOM = (0, synthetic.MAX_ATOM + 1e-6, False)  # the atoms of a one-bit source: 0..ln 2 nats
_BY_GENERATOR = {
    'bits': {'redundancy': (0, synthetic.MAX_REDUNDANCY, True)},
    'atoms': dict.fromkeys(('redundancy', 'unique_1', 'unique_2', 'synergy'), _ATOM),
    'paired': {},
}
_AT_LEAST_ONE = ('depth', 'width', 'projection_width', 'batch_size', 'steps', 'max_train',
                 'neighbors')
_AT_LEAST_ZERO = ('depth_1', 'depth_2', 'width_1', 'width_2')  # 0 follows the common one


def check(spec: Spec, hypers: Hyper) -> None:
  """Checks the settings of a sweep; hypers may be stacked.

  Raises:
    ValueError: for an unknown registry name (lists the known ones) or a value out of range.
  """
  check_names(spec)
  ranges = _RANGES | lookup(_BY_GENERATOR, spec.generator, 'generator')
  for name, (low, high, whole) in ranges.items():
    if getattr(hypers, name) is not None:
      check_field(name, np.asarray(getattr(hypers, name), np.float64), low, high, whole)
  for least, names in enumerate((_AT_LEAST_ZERO, _AT_LEAST_ONE)):
    for name in names:
      if getattr(spec, name) < least:
        raise ValueError(f'{name}={getattr(spec, name)} must be at least {least}')
  if not (np.isfinite(spec.clip_norm) and spec.clip_norm > 0):
    raise ValueError(f'clip_norm={spec.clip_norm:g} must be above 0')
  if not 0 < spec.min_temperature <= spec.max_temperature < np.inf:
    raise ValueError(f'min_temperature={spec.min_temperature:g} must be above 0 and not above '
                     f'max_temperature={spec.max_temperature:g}')
  if spec.learnable_temperature:  # in float32, as it is kept
    check_field('temperature', np.asarray(hypers.temperature, np.float64),
                *np.float32([spec.min_temperature, spec.max_temperature]).tolist(), False)
  n_train = np.asarray(hypers.n_train)
  if n_train.min() < spec.batch_size:
    raise ValueError(f'n_train={n_train.min():g} samples are fewer than a batch: '
                     f'batch_size={spec.batch_size}')
  if n_train.max() > spec.max_train:
    raise ValueError(f'n_train={n_train.max():g} is above max_train={spec.max_train}')
  if spec.neighbors >= spec.n_align:
    raise ValueError(f'neighbors={spec.neighbors} must be below n_align={spec.n_align}')


def check_names(spec: Spec) -> None:
  """Checks the registry names of a Spec.

  Raises:
    ValueError: for an unknown name; lists the known ones.
  """
  for field, registry in (
      ('encoder', encoders.ENCODERS), ('encoder_1', encoders.ENCODERS),
      ('encoder_2', encoders.ENCODERS), ('loss', losses.LOSSES), ('task', losses.TASKS),
      ('projection', encoders.PROJECTIONS), ('transform', ('one', 'both')),
      ('compute_dtype', COMPUTE_DTYPES)):
    name = getattr(spec, field)
    if name or field not in ('encoder_1', 'encoder_2'):  # '' follows the common one
      lookup(dict.fromkeys(registry), name, field)


def check_field(name: str, values: np.ndarray, low: float, high: float, whole: bool) -> None:
  """Raises ValueError naming the first of `values` outside low..high, or not whole where asked."""
  for value in np.unique(values):
    if not (np.isfinite(value) and low <= value <= high):
      least = 'above 0' if 0 < low < 1 else f'at least {low:g}'
      bound = least if np.isfinite(value) else 'finite'
      raise ValueError(f'{name}={value:g} must be {bound}' if high == np.inf else
                       f'{name}={value:g} is outside {low:g}..{high:.6g}')
    if whole and value != round(value):
      raise ValueError(f'{name}={value:g} must be a whole number')

