"""AV-MNIST: images of MNIST paired with spoken digits of FSDD, as a TFDS data set.

No TensorFlow at run time: the records are ArrayRecord files and the features plain tensors. This
module imports tensorflow_datasets, so others import it inside a function only (see `avmnist`).
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import functools
import io
import json
import pathlib
import sys

import numpy as np
import tensorflow_datasets as tfds

from mmalign_jax.data.avmnist import knobs as pairing, originals, spectra

SIDE = 28  # pixels


@dataclasses.dataclass(eq=False, kw_only=True)
class AvmnistConfig(tfds.core.BuilderConfig, pairing.Knobs):
  """The knobs, and source: a folder with mnist/ and fsdd/ in it; '' to download both."""
  source: str = ''


class _Info(tfds.core.DatasetInfo):
  """TFDS asks a bucket of its own what is known of a set, and leaves a temporary folder behind."""

  def initialize_from_bucket(self) -> None:
    """Nothing is known there of these pairs."""


class Avmnist(tfds.core.GeneratorBasedBuilder):
  """Pairs of a written and a spoken digit.

  Give `data_dir`, where the prepared set goes, and `config`, an AvmnistConfig. In each example:
  image [28, 28, 1] u8, or f32 where energy is removed; audio [20, 36] f32, frames by coefficients
  (`spectra`); label, the digit of the image, and audio_label, the one that is heard; speaker and
  recording, text; image_index, the row in the IDX file.
  """
  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First.'}
  BUILDER_CONFIGS = [
      AvmnistConfig(name='clean', description='Everything as recorded.'),
      AvmnistConfig(name='low_energy', image_energy_removed=0.75,
                    description='Images without 75 % of their energy, as in AV-MNIST.')]
  URLS = {
      **{name: f'https://storage.googleapis.com/cvdf-datasets/mnist/{file}.gz'
         for name, file in originals.IMAGES.items()},
      'recordings': ('https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/'
                     'v1.0.10.zip')}

  def __init__(self, *, file_format: str = 'array_record', **kwargs):
    """As any builder, but with the file format that needs no TensorFlow."""
    super().__init__(file_format=file_format, **kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    assert self.builder_config is not None  # there are BUILDER_CONFIGS
    pixel = np.float32 if self.builder_config.image_energy_removed else np.uint8
    digit = functools.partial(tfds.features.ClassLabel, num_classes=10)
    features = tfds.features.FeaturesDict({
        'image': tfds.features.Tensor(shape=(SIDE, SIDE, 1), dtype=pixel, encoding='zlib'),
        'audio': tfds.features.Tensor(shape=(spectra.FRAMES, spectra.WIDTH), dtype=np.float32,
                                      encoding='bytes'),
        'label': digit(), 'audio_label': digit(),
        'speaker': tfds.features.Text(), 'recording': tfds.features.Text(),
        'image_index': tfds.features.Tensor(shape=(), dtype=np.int32)})
    return _Info(
        builder=self, features=features, disable_shuffling=True,  # the pairs come in random order
        description='Images of MNIST paired with recordings of FSDD that say the same digit.',
        homepage='https://github.com/Jakobovski/free-spoken-digit-dataset',
        metadata=tfds.core.MetadataDict(notes=[]))

  def _split_generators(self, dl_manager) -> dict[str, Iterator]:
    knobs = self.builder_config
    assert knobs is not None  # there are BUILDER_CONFIGS
    if knobs.source:
      paths = originals.source_paths(knobs.source)
    else:  # download only: the readers take the archives as they are, nothing is unpacked to disk
      found = dl_manager.download(self.URLS)
      paths = {name: pathlib.Path(path)  # TFDS types one URL, not a dict of them
               for name, path in found.items()}  # pyright: ignore[reportAttributeAccessIssue]
    parts, notes = originals.paired(paths, knobs)
    # `_info` gives metadata
    self.info.metadata['notes'] = notes  # pyright: ignore[reportOptionalSubscript]
    return {part: self._generate_examples(*rows) for part, rows in parts.items()}

  def _generate_examples(self, images, labels, heard, recordings,
                         pairs) -> Iterator[tuple[int, dict]]:
    for key, (image, row) in enumerate(zip(*pairs)):
      yield key, {
          'image': images[image, :, :, None], 'audio': heard[row], 'label': int(labels[image]),
          'audio_label': int(recordings.digit[row]), 'speaker': str(recordings.speaker[row]),
          'recording': str(recordings.name[row]), 'image_index': int(image)}


def prepared(folder: pathlib.Path, name: str, source: str | None,
             knobs: pairing.Knobs) -> pathlib.Path:
  """The folder of a set, prepared now unless it is there already; errors as in `paired`."""
  path = folder / Avmnist.name / name / str(Avmnist.VERSION)
  if path.is_dir():
    return path
  config = AvmnistConfig(name=name, source=source or '', **dataclasses.asdict(knobs))
  # TFDS prints; standard output is for results, and an error is one line where nothing is fetched
  with contextlib.redirect_stdout(io.StringIO() if source else sys.stderr):
    try:
      Avmnist(config=config, data_dir=folder).download_and_prepare()
    except OSError:
      if not path.is_dir():  # else another process has prepared the same set in the meantime
        raise
  return path


def read_back(path: pathlib.Path) -> tuple[dict[str, dict[str, np.ndarray]], list[str]]:
  """Columns of a prepared set by part and feature, [pairs, ...] each, in order; and its notes."""
  builder = tfds.builder_from_directory(path)
  parts = {}
  for part in pairing.PARTS:
    # TFDS's decorator loses the parameters
    source = builder.as_data_source(split=part)  # pyright: ignore[reportCallIssue]
    rows = source.__getitems__(range(len(source)))
    parts[part] = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    for name in ('speaker', 'recording'):
      parts[part][name] = np.array([row[name].decode() for row in rows])
  return parts, json.loads((path / 'metadata.json').read_text())['notes']
