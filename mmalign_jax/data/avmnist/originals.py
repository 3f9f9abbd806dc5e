"""The files that AV-MNIST is made of, and its pairs; no TFDS here.

Training pairs join the training images with the recordings of index 5 and above, test pairs the
test images with those below 5 (the official splits), also where `speakers` are apart.
"""

import pathlib

import numpy as np

from mmalign_jax.data.avmnist import idx, knobs as pairing, spectra, wav
from mmalign_jax.data.files.formats import guard

IMAGES = {f'{part}_{kind}': f'{stem}-{kind}-idx{axes}-ubyte'
          for part, stem in (('train', 'train'), ('test', 't10k'))
          for kind, axes in (('images', 3), ('labels', 1))}


def source_paths(source: str) -> dict[str, pathlib.Path]:
  """Where the IDX files and the recordings are in a folder with mnist/ and fsdd/ in it."""
  folder = guard.place(source)
  if not folder.is_dir():
    raise FileNotFoundError(f'data_dir={source!r}: no such folder')
  paths = {name: idx.find(folder / 'mnist', file) for name, file in IMAGES.items()}
  inner = folder / 'fsdd' / 'recordings'
  return {**paths, 'recordings': inner if inner.is_dir() else inner.parent}


def source_files(source: str | None) -> list[pathlib.Path]:
  """Every file that a set is made of, in a fixed order; none where they are to be downloaded.

  Raises:
    FileNotFoundError: one that is missing.
  """
  if source is None:
    return []
  *images, recordings = source_paths(source).values()
  found = [*images, *(sorted(recordings.glob('*.wav')) or [recordings])]
  for path in found:
    if not path.is_file():
      raise FileNotFoundError(f'{str(path)!r}: ' + (
          'no wav file in it' if path.is_dir() else 'no such file or folder'))
  return found


def paired(paths: dict[str, pathlib.Path], knobs: pairing.Knobs) -> tuple[dict, list[str]]:
  """Everything that both parts are made of, by part, and the notes.

  Returns:
    For 'train' and 'test': images [I, 28, 28], labels [I], features [A, 20, 36] f32 of all
    recordings, the `Recordings`, and the rows (images, recordings), [pairs] each. Then notes.

  Raises:
    FileNotFoundError, ValueError: one line, for files and knobs that do not fit.
  """
  found = {part: idx.read_images(paths[f'{part}_images'], paths[f'{part}_labels'])
           for part in pairing.PARTS}
  recordings = wav.read_recordings(paths['recordings'])
  *rows, apart = pairing.split_recordings(recordings.index, recordings.speaker, knobs)
  parts = {}
  for part, row in zip(pairing.PARTS, rows):
    image, heard = pairing.draw_pairs(
        found[part][1], recordings.digit[row], knobs, part,
        f'{paths[f"{part}_images"].name} and {paths["recordings"]} ({part})')
    parts[part] = image, row[heard]
  *images, energy = pairing.remove_energy(found['train'][0], found['test'][0],
                                          knobs.image_energy_removed)
  heard = recording_features(recordings, knobs)
  return ({part: (pixels, found[part][1], heard, recordings, parts[part])
           for part, pixels in zip(pairing.PARTS, images)}, [*recordings.notes, *apart, *energy])


def recording_features(recordings: wav.Recordings, knobs: pairing.Knobs) -> np.ndarray:
  """Features [A, 20, 36] f32, of the clips with noise if there is to be any."""
  rows = []
  for name, clip in zip(recordings.name, recordings.clips):
    if knobs.audio_snr_db is not None:
      try:
        clip = wav.add_noise(clip, knobs.audio_snr_db, pairing.noise_rng(knobs.seed, name))
      except ValueError as error:
        raise ValueError(f'{name}: {error}') from error
    rows.append(spectra.FEATURES[knobs.features](clip))
  return np.stack(rows)
