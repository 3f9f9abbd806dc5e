"""AV-MNIST as arrays: the TFDS set is prepared on first use and read back from its cache.

The set itself, and what is in it, is `avmnist_builder.Avmnist`.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import tempfile

import numpy as np

from mmalign_jax.data.avmnist import knobs as pairing, originals
from mmalign_jax.data.files.formats import guard
from mmalign_jax.data.prepared import Judged, Prepared
from mmalign_jax.runs import damage

FOLDS = 20  # of the test pairs, the units that a bootstrap over them draws


@dataclasses.dataclass(frozen=True, eq=False)
class AVMNIST:
  """N pairs to train on and M to test on, each part in random order.

  image_* [N, 28, 28, 1] f32, standardised by the one mean and deviation of all training pixels;
  audio_* [N, 20, 36] f32, frames by coefficients, each coefficient standardised over the training
  pairs and frames (one constant there is 0); label_* [N] i32, the digit of the image; audio_label_*
  [N] i32, the digit that is heard; speaker_* [N] i32 codes of `speakers`; recording_* [N] file
  names; image_index_* [N] i32 rows of the IDX file. The first rows hold each image once.
  """
  image_train: np.ndarray
  audio_train: np.ndarray
  label_train: np.ndarray
  audio_label_train: np.ndarray
  speaker_train: np.ndarray
  recording_train: np.ndarray
  image_index_train: np.ndarray
  image_test: np.ndarray
  audio_test: np.ndarray
  label_test: np.ndarray
  audio_label_test: np.ndarray
  speaker_test: np.ndarray
  recording_test: np.ndarray
  image_index_test: np.ndarray
  speakers: tuple[str, ...]
  fingerprint: str         # sha256 of the knobs and the source files
  notes: tuple[str, ...]   # remarks for the user, one line each


def load_avmnist(data_dir: str | os.PathLike | None, *,
                 prepared_dir: str | os.PathLike | None = None, **knobs) -> AVMNIST:
  """Pairs of written and spoken digits; the same arguments and files give the same arrays.

  Args:
    data_dir: folder with mnist/ (the four IDX files, .gz or plain) and fsdd/ (recordings/*.wav) in
      it; None downloads both, once, into prepared_dir.
    prepared_dir: where prepared sets are kept, each in a folder named by its fingerprint. None is
      ~/.cache/mmalign_jax, or a folder of this user among the temporary ones.
    **knobs: fields of `pairing.Knobs`: features, image_energy_removed, audio_snr_db, mismatched,
      speakers, pairs_per_image, train_size, test_size, seed.

  Raises:
    FileNotFoundError: a missing file or folder.
    ValueError: one line that names the file or the knob, for anything else that does not fit.
  """
  known = {field.name for field in dataclasses.fields(pairing.Knobs)}
  for name in knobs:
    if name not in known:
      raise ValueError(f'unknown knob {name!r}; known: {", ".join(sorted(known))}')
  checked = pairing.Knobs(**knobs)
  source = None if data_dir is None else os.fspath(data_dir) or '.'
  key = _fingerprint(checked, originals.source_files(source))
  from mmalign_jax.data.avmnist import builder  # imports TFDS: slow, and seldom needed
  folder = _cache() if prepared_dir is None else guard.place(prepared_dir)
  path = builder.prepared(folder, key[:16], source, checked)
  with _now(path), guard.reading(f'{path} (delete it and it is prepared again)'):
    parts, notes = builder.read_back(path)
  return _assembled(parts, key, tuple(notes))


def prepared(data: AVMNIST) -> Prepared:
  """The same as every other data set for training has it.

  A recording is in many pairs, and right or wrong in all of them: it counts as one observation.
  """
  units = [np.unique(v, return_inverse=True)[1] for v in (
      data.image_index_test, data.recording_test)]
  n_folds = int(min(FOLDS, *(unit.max() + 1 for unit in units)))
  folds = [(np.random.default_rng(0).permutation(unit.max() + 1) % n_folds)[unit] for unit in units]
  x, unseen = (data.image_train, data.audio_train), (data.image_test, data.audio_test)
  n_classes = int(max(data.label_train.max(), data.label_test.max())) + 1
  return Prepared(
      names=('image', 'audio'), x=x, present=(np.ones(len(data.label_train), bool),) * 2,
      y=data.label_train, spread=(np.ones(1, np.float32),) * 2, validation=(),
      test=tuple(Judged(one, data.label_test, fold, unit)
                 for one, fold, unit in zip(unseen, folds, units)),
      unseen=unseen, unseen_y=data.label_test, unseen_fold=folds[0].astype(np.int32),
      unseen_unit=units[0], classes=tuple(map(str, range(n_classes))), n_folds=n_folds,
      notes=data.notes, fingerprint=data.fingerprint)


@contextlib.contextmanager
def _now(path: pathlib.Path) -> Iterator[None]:
  """A prepared set that cannot be read now, for want of open files or the like, may be whole."""
  try:
    yield
  except Exception as error:
    try:
      for file in path.iterdir():
        file.open('rb').close()
    except OSError as refused:
      raise damage.unreadable(path, refused) from error
    if damage.of_the_machine(error):
      raise damage.unreadable(path, error) from error
    raise


def _fingerprint(knobs: pairing.Knobs, sources: list[pathlib.Path]) -> str:
  """sha256 of the knobs, and of the names and contents of the files (none for the URLs)."""
  digest = hashlib.sha256(json.dumps(dataclasses.asdict(knobs), sort_keys=True).encode())
  for path in sources:
    with guard.reading(path):
      data = path.read_bytes()
    digest.update(f'{path.name} {len(data)};'.encode())
    digest.update(data)
  return digest.hexdigest()


def _cache() -> pathlib.Path:
  """A folder of this user that can be written to."""
  try:
    folder = pathlib.Path.home() / '.cache' / 'mmalign_jax'
    folder.mkdir(parents=True, exist_ok=True)
    if os.access(folder, os.W_OK):
      return folder
  except (OSError, RuntimeError):  # RuntimeError: a user without a home
    pass
  folder = pathlib.Path(tempfile.gettempdir()) / f'mmalign_jax-{os.getuid()}'
  folder.mkdir(mode=0o700, exist_ok=True)
  if folder.is_symlink() or folder.stat().st_uid != os.getuid():
    raise ValueError(f'{folder} is of another user; choose a prepared_dir')
  return folder


def _assembled(parts: dict[str, dict[str, np.ndarray]], key: str,
               notes: tuple[str, ...]) -> AVMNIST:
  """The columns of both parts in the units of the training part."""
  fields, train = {}, parts['train']
  speakers = np.unique(np.concatenate([columns['speaker'] for columns in parts.values()]))
  units = {'image': _units(train['image'], None), 'audio': _units(train['audio'], (0, 1))}
  for part, columns in parts.items():
    for name, (mean, std) in units.items():
      fields[f'{name}_{part}'] = ((columns[name] - mean) / std).astype(np.float32)
    fields[f'speaker_{part}'] = np.searchsorted(speakers, columns['speaker']).astype(np.int32)
    fields[f'recording_{part}'] = columns['recording']
    for name in ('label', 'audio_label', 'image_index'):
      fields[f'{name}_{part}'] = columns[name].astype(np.int32)
  return AVMNIST(**fields, speakers=tuple(speakers.tolist()), fingerprint=key, notes=notes)


def _units(x: np.ndarray, axis) -> tuple[np.ndarray, np.ndarray]:
  """Mean and deviation in f64, in one piece or of each column; 1 for what does not vary."""
  mean = x.mean(axis=axis, dtype=np.float64)
  std = x.std(axis=axis, dtype=np.float64)
  return mean, np.where(std < 1e-6 * np.maximum(abs(mean), 1), 1, std)
