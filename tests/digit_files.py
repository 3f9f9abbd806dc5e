"""Tiny files in the form of MNIST and FSDD, for tests."""

import gzip
import pathlib
import struct
import wave

import numpy as np

SPEAKERS = ('ada', 'bob', 'cyd')
INDICES = (0, 1, 5, 6)


def idx_bytes(values: np.ndarray) -> bytes:
  """An IDX file of unsigned bytes."""
  return (bytes([0, 0, 8, values.ndim]) + struct.pack(f'>{values.ndim}I', *values.shape)
          + values.astype(np.uint8).tobytes())


def images(labels: np.ndarray, seed: int) -> np.ndarray:
  """[N, 28, 28] u8: two bright columns at a place that depends on the digit, and noise."""
  pixels = np.random.default_rng(seed).integers(0, 90, (len(labels), 28, 28))
  for image, label in zip(pixels, labels):
    image[:, 2 * label + 2:2 * label + 4] += 150
  return pixels.astype(np.uint8)


def tone(digit: int, length: int, rate: int = 8000, seed: int = 0) -> np.ndarray:
  """[length] i16: a tone of 300 Hz and 200 more a digit, and some noise."""
  time = np.arange(length) / rate
  noise = np.random.default_rng(seed).normal(size=length)
  return (8000 * np.sin(2 * np.pi * (300 + 200 * digit) * time) + 200 * noise).astype(np.int16)


def write_wav(path: pathlib.Path, samples: np.ndarray, rate: int = 8000, width: int = 2) -> None:
  """Samples [T] or [T, channels] as they are."""
  with wave.open(str(path), 'wb') as file:
    file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
    file.setsampwidth(width)
    file.setframerate(rate)
    file.writeframes(samples.tobytes())


def write_recordings(folder: pathlib.Path, digits=range(10)) -> None:
  folder.mkdir(parents=True, exist_ok=True)
  for digit in digits:
    for speaker in SPEAKERS:
      for index in INDICES:
        write_wav(folder / f'{digit}_{speaker}_{index}.wav',
                  tone(digit, 1500 + 37 * index + 11 * digit, seed=index))


def write_images(folder: pathlib.Path, stem: str, labels: np.ndarray, seed: int) -> None:
  folder.mkdir(parents=True, exist_ok=True)
  data = idx_bytes(images(labels, seed))
  (folder / f'{stem}-images-idx3-ubyte.gz').write_bytes(gzip.compress(data))
  (folder / f'{stem}-labels-idx1-ubyte').write_bytes(idx_bytes(labels))


def write_sources(folder: pathlib.Path) -> pathlib.Path:
  """mnist/ of 60 and 40 images, all digits in both, and fsdd/ of 3 speakers x 4 recordings."""
  write_images(folder / 'mnist', 'train', np.arange(60) % 10, 1)
  write_images(folder / 'mnist', 't10k', np.arange(40) % 10, 2)
  write_recordings(folder / 'fsdd' / 'recordings')
  return folder
