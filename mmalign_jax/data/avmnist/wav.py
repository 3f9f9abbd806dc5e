"""Spoken digits from wav files: 16 bit, brought to one channel at 8 kHz; noise at a given level.

Names are those of the Free Spoken Digit Dataset (github.com/Jakobovski/free-spoken-digit-dataset):
`digit_speaker_index.wav`. A zip archive is read in memory, never unpacked.
"""

from collections.abc import Iterator
import dataclasses
import io
import math
import pathlib
import re
import wave
import zipfile

import numpy as np

from mmalign_jax.data.files.formats import guard

RATE = 8000  # Hz
_LONGEST = 64 * 2**20  # bytes of a recording in an archive
_RATES = range(4000, 192_001)  # Hz; outside, a header is taken for damaged
_NAME = re.compile(r'([0-9])_([^_]+)_([0-9]{1,6})\.wav', re.ASCII)


@dataclasses.dataclass(frozen=True, eq=False)
class Recordings:
  """N recordings in order of digit, speaker and index.

  clips: N arrays [T] f32 in -1..1, at 8 kHz, each of its own length T > 0; name, speaker [N] text;
  digit, index [N] i32; notes: what was changed on reading, at most one line.
  """
  clips: tuple[np.ndarray, ...]
  name: np.ndarray
  digit: np.ndarray
  speaker: np.ndarray
  index: np.ndarray
  notes: tuple[str, ...] = ()


def read_recordings(path: pathlib.Path) -> Recordings:
  """All wav files of a folder, or of a zip archive at any depth; hidden files are passed over.

  Raises:
    FileNotFoundError: no such folder or archive, or no wav file in it.
    ValueError: a name that is not `digit_speaker_index.wav`, or used twice; a damaged file.
  """
  found = {}
  for name, data in _wav_files(path):
    parts = _NAME.fullmatch(name)
    if not parts:
      raise ValueError(f'{path}: {name!r} is not named digit_speaker_index.wav')
    key = (int(parts[1]), parts[2], int(parts[3]))
    if key in found:
      raise ValueError(f'{path}: {name!r} and {found[key][0]!r} are the same recording')
    found[key] = name, *decode_wav(data, f'{path / name}')
  if not found:
    raise FileNotFoundError(f'{str(path)!r}: no wav file in it')
  keys = sorted(found)
  names, samples, rates = zip(*(found[key] for key in keys))
  digit, speaker, index = (np.array(column) for column in zip(*keys))
  return Recordings(tuple(map(mono, samples, rates)), np.array(names), digit.astype(np.int32),
                    speaker, index.astype(np.int32), _changes(path, samples, rates))


def _wav_files(path: pathlib.Path) -> Iterator[tuple[str, bytes]]:
  """Name and content of every wav file."""
  if path.is_dir():
    for file in sorted(path.glob('*.wav')):
      if not file.name.startswith('.'):
        with guard.reading(file):
          data = file.read_bytes()
        yield file.name, data
  elif path.is_file():
    with guard.reading(path), zipfile.ZipFile(path) as archive:
      found = {}
      for member in archive.infolist():
        if member.filename.endswith('.wav'):
          if member.file_size > _LONGEST:
            raise ValueError(f'{member.filename!r} has {member.file_size} bytes; at most '
                             f'{_LONGEST} are read')
          found[member.filename] = archive.read(member)
    for name in sorted(found):
      if not pathlib.PurePosixPath(name).name.startswith('.'):
        yield pathlib.PurePosixPath(name).name, found[name]
  else:
    raise FileNotFoundError(f'{str(path)!r}: no such folder or archive')


def decode_wav(data: bytes, where: str) -> tuple[np.ndarray, int]:
  """Samples [T, channels] f32 in -1..1, T > 0, of a wav file, and its rate in Hz.

  Raises:
    ValueError: begins with `where`; not a wav file, truncated, empty or not 16 bit.
  """
  with guard.reading(where), wave.open(io.BytesIO(data)) as file:
    n, channels, rate = file.getnframes(), file.getnchannels(), file.getframerate()
    if file.getsampwidth() != 2:
      raise ValueError(f'{8 * file.getsampwidth()} bits a sample; 16 are read')
    if rate not in _RATES:
      raise ValueError(f'a rate of {rate} Hz; {_RATES[0]} to {_RATES[-1]} are read')
    values = file.readframes(n)
    if len(values) != 2 * n * channels:
      raise ValueError(f'truncated, {len(values)} of {2 * n * channels} bytes')
    if not n:
      raise ValueError('no samples')
  samples = np.frombuffer(values, '<i2').reshape(n, channels)
  return samples.astype(np.float32) / 32768, rate


def mono(samples: np.ndarray, rate: int) -> np.ndarray:
  """The mean of the channels of [T, channels], resampled from `rate` to 8 kHz: [T'] f32."""
  clip = samples.mean(axis=1)
  if rate == RATE:
    return clip
  from scipy import signal  # slow to import, and seldom needed
  shared = math.gcd(rate, RATE)
  return signal.resample_poly(clip, RATE // shared, rate // shared).astype(np.float32)


def _changes(path: pathlib.Path, samples, rates) -> tuple[str, ...]:
  """One line for all recordings that were not mono at 8 kHz."""
  n_wide = sum(array.shape[1] > 1 for array in samples)
  others = sorted({rate for rate in rates if rate != RATE})
  said = [f'{n_wide} averaged over their channels'] if n_wide else []
  if others:
    said.append(f'{sum(rate != RATE for rate in rates)} resampled from '
                f'{", ".join(map(str, others))} to {RATE} Hz')
  where = '/'.join(path.parts[-2:])  # a prepared set keeps this note, wherever its files go
  return (f'{where}: of {len(rates)} recordings {" and ".join(said)}',) if said else ()


def add_noise(clip: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
  """The clip [T] plus white Gaussian noise, scaled so that the ratio of powers is exactly `snr_db`.

  Raises:
    ValueError: a ratio that is not finite, or a silent clip, which has none.
  """
  power = float(np.mean(np.square(clip, dtype=np.float64)))
  if not math.isfinite(snr_db):
    raise ValueError(f'audio_snr_db: {snr_db!r} is not finite')
  if power == 0:
    raise ValueError('silent, so it has no ratio of signal to noise')
  noise = rng.standard_normal(len(clip))
  noise *= math.sqrt(power / np.mean(noise ** 2)) * 10 ** (-snr_db / 20)
  return (clip + noise).astype(np.float32)
