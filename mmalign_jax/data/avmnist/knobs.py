"""Which image goes with which recording, and how much of the images is left: pure NumPy.

Every draw has a stream of its own, so a knob changes only what it names: with a larger share of
mismatched pairs, for example, the other pairs stay the same.
"""

import dataclasses
import math
import numbers
import zlib

import numpy as np

from mmalign_jax.data.avmnist.spectra import FEATURES

PARTS = ('train', 'test')
SPEAKERS = ('shared', 'apart')
FIRST_TRAINING_INDEX = 5  # recordings with a lower one are the official test split of FSDD
_ORDER, _MISMATCH, _RECORDING, _SPEAKER, _NOISE = range(5)  # streams of random numbers


@dataclasses.dataclass(kw_only=True)
class Knobs:
  """What can be set, checked at once.

  features: 'mfcc' or 'logmel'. image_energy_removed: share of the variance of the training images
  that leaves with their trailing principal components, in [0, 1), met as nearly as whole components
  allow. audio_snr_db: decibel of signal over white noise, None for none; the noise of a recording
  is the same in all its pairs. mismatched: share of the pairs, in [0, 1], whose recording says
  another digit; the label stays that of the image. speakers: 'apart' keeps a third of the speakers
  for the test pairs. pairs_per_image: recordings drawn for each image. train_size, test_size:
  images, drawn at random; None for all. seed: in 0..2**32-1.
  """
  features: str = 'mfcc'
  image_energy_removed: float = 0.0
  audio_snr_db: float | None = None
  mismatched: float = 0.0
  speakers: str = 'shared'
  pairs_per_image: int = 1
  train_size: int | None = None
  test_size: int | None = None
  seed: int = 0

  def __post_init__(self):
    for name, known in (('features', tuple(FEATURES)), ('speakers', SPEAKERS)):
      if getattr(self, name) not in known:
        raise ValueError(f'{name}: {getattr(self, name)!r}; known: {", ".join(known)}')
    for name in ('image_energy_removed', 'mismatched', 'audio_snr_db'):
      value = getattr(self, name)
      if not (isinstance(value, numbers.Real) or value is None and name == 'audio_snr_db'):
        raise ValueError(f'{name}: {value!r} is not a number')
    if not 0 <= self.image_energy_removed < 1:
      raise ValueError(f'image_energy_removed: {self.image_energy_removed!r} is not in [0, 1)')
    if not 0 <= self.mismatched <= 1:
      raise ValueError(f'mismatched: {self.mismatched!r} is not in [0, 1]')
    if self.audio_snr_db is not None and not math.isfinite(self.audio_snr_db):
      raise ValueError(f'audio_snr_db: {self.audio_snr_db!r} is not finite')
    for name in ('pairs_per_image', 'train_size', 'test_size'):
      value = getattr(self, name)
      if not (isinstance(value, int) and value >= 1 or value is None and name.endswith('size')):
        raise ValueError(f'{name}: {value!r} is not a whole number of at least 1')
    if not (isinstance(self.seed, int) and 0 <= self.seed < 2**32):
      raise ValueError(f'seed: {self.seed!r} is not in 0..2**32-1')


def noise_rng(seed: int, name: str) -> np.random.Generator:
  """Source of the noise in the recording `name`, the same whatever else is in the folder."""
  return np.random.default_rng([seed, _NOISE, zlib.crc32(name.encode())])


def split_recordings(index: np.ndarray, speaker: np.ndarray,
                     knobs: Knobs) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
  """Rows of the recordings to train and to test on, and a note if speakers are kept apart.

  Args:
    index, speaker: [N] as in `audio.Recordings`.
    knobs: `speakers`; 'apart' draws, by `seed`, a third of them (at least one) for the test part.

  Raises:
    ValueError: speakers apart where there is only one.
  """
  train = index >= FIRST_TRAINING_INDEX
  if knobs.speakers == 'shared':
    return np.flatnonzero(train), np.flatnonzero(~train), ()
  names = np.unique(speaker)
  if len(names) < 2:
    raise ValueError(f"speakers: 'apart' needs two speakers, found only {names[0].item()!r}")
  n_test = max(round(len(names) / 3), 1)
  held = np.random.default_rng([knobs.seed, _SPEAKER]).permutation(names)[:n_test]
  in_test = np.isin(speaker, held)
  return (np.flatnonzero(train & ~in_test), np.flatnonzero(~train & in_test),
          (f'speakers apart: {", ".join(sorted(held))} only in test',))


def draw_pairs(labels: np.ndarray, digits: np.ndarray, knobs: Knobs, part: str,
               where: str) -> tuple[np.ndarray, np.ndarray]:
  """Rows of images and of recordings, one of each a pair, in random order.

  The recording is drawn with replacement, uniformly over those that say the digit of the image; in
  a mismatched pair, over those of another digit, itself drawn uniformly.

  Args:
    labels: [I] i32 digits of the images of this part.
    digits: [A] i32 digits of its recordings.
    knobs: mismatched, pairs_per_image, seed, and the size of this part.
    part: 'train' or 'test'.
    where: beginning of the error messages.

  Returns:
    Rows in 0..I-1 and in 0..A-1, both [pairs] i64; the first rows hold each image once.

  Raises:
    ValueError: a digit in only one of the modalities, more images asked for than there are, or
      mismatched pairs of a single digit.
  """
  classes = _partners(labels, digits, where)
  n, n_images = getattr(knobs, f'{part}_size') or len(labels), len(labels)
  if n > n_images:
    raise ValueError(f'{part}_size: {n}, but {where} has {n_images} images')
  if knobs.mismatched and len(classes) < 2:
    raise ValueError(f'{where}: one digit only, {classes[0]}, so no pair can be mismatched')
  def rng(stream: int) -> np.random.Generator:
    return np.random.default_rng([knobs.seed, stream, PARTS.index(part)])
  image = np.tile(rng(_ORDER).permutation(n_images)[:n], knobs.pairs_per_image)
  spoken = np.searchsorted(classes, labels[image])
  if knobs.mismatched:
    source = rng(_MISMATCH)
    wrong = source.permutation(len(image))[:round(knobs.mismatched * len(image))]
    others = source.integers(1, len(classes), len(image))  # for all, so that a share adds to others
    spoken[wrong] = (spoken + others)[wrong] % len(classes)
  order, counts = np.argsort(digits, kind='stable'), np.bincount(digits)[classes]
  place = rng(_RECORDING).random(len(image)) * counts[spoken]
  return image, order[(np.cumsum(counts) - counts)[spoken] + place.astype(np.int64)]


def _partners(labels: np.ndarray, digits: np.ndarray, where: str) -> np.ndarray:
  """Digits of the images, each of which must be that of a recording, and the other way round."""
  alone = np.setxor1d(labels, digits)
  if len(alone):
    seen, unseen = ('images', 'recording') if alone[0] in labels else ('recordings', 'image')
    raise ValueError(f'{where}: digit {alone[0]} has {seen} but no {unseen}')
  return np.unique(labels)


def remove_energy(train: np.ndarray, test: np.ndarray,
                  share: float) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
  """Images as their leading principal components give them back, as in AV-MNIST.

  Source: Vielzeuf et al. 2018, "CentralNet", where 75 % of the energy is removed.

  Args:
    train: [N, 28, 28] u8; mean, components and energy (variance about the mean) are theirs.
    test: [M, 28, 28] u8.
    share: of the energy to remove, in [0, 1); 0 changes nothing.

  Returns:
    Both as f32, not clipped to 0..255 (as u8 where share is 0), and a note of what was removed.
  """
  if not share:
    return train, test, ()
  flat = train.reshape(len(train), -1).astype(np.float32)
  mean = flat.mean(axis=0)
  energy, basis = np.linalg.eigh(np.cov(flat, rowvar=False, bias=True))
  kept = np.cumsum(np.maximum(energy[::-1], 0))
  if not kept[-1]:
    raise ValueError(f'image_energy_removed: {share}, but all training images are the same')
  n_kept = int(np.abs(kept / kept[-1] - (1 - share)).argmin()) + 1
  basis = basis[:, ::-1][:, :n_kept].astype(np.float32)
  def project(images: np.ndarray) -> np.ndarray:
    centered = images.reshape(len(images), -1) - mean
    return (mean + centered @ basis @ basis.T).reshape(images.shape).astype(np.float32)
  note = (f'image energy: {n_kept} of {len(mean)} principal components kept, '
          f'{1 - kept[n_kept - 1] / kept[-1]:.1%} removed ({share:.1%} asked)')
  return project(train), project(test), (note,)
