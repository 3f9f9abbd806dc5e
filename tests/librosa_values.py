"""Clips, and what librosa 0.11 makes of them: `python tests/librosa_values.py` writes the values.

Kept as numbers, because librosa compiles itself for longer than all that the tests ask of it.
"""

import pathlib

import numpy as np

LENGTHS = [1, 400, 512, 531, 1148, 3358, 5000, 18262]
BANDS = [36, 64]
FILE = pathlib.Path(__file__).with_suffix('.npz')


def clip_of(length):
  """A rising tone that dies away, with noise: every band and the floor are met."""
  time = np.arange(length) / 8000
  sound = np.sin(2 * np.pi * (200 + 900 * time) * time) * np.exp(-6 * time)
  return (sound + 1e-3 * np.random.default_rng(length).normal(size=length)).astype(np.float32)


def values():
  """name -> librosa's features (20, 36) of each clip, and its filters (bands, 257)."""
  import librosa
  out = {f'filters_{n}': librosa.filters.mel(sr=8000, n_fft=512, n_mels=n) for n in BANDS}
  for length in LENGTHS:
    step = max((length - 512) // 19, 1)
    padded = np.pad(clip_of(length), (0, 20_000))[:512 + 19 * step].astype(np.float64)
    settings = dict(y=padded, sr=8000, n_fft=512, hop_length=step, center=False)
    mel = librosa.feature.melspectrogram(**settings, n_mels=36)
    out[f'logmel_{length}'] = librosa.power_to_db(mel).T.astype(np.float32)
    out[f'mfcc_{length}'] = librosa.feature.mfcc(**settings, n_mfcc=36, n_mels=64
                                                 ).T.astype(np.float32)
  return out


if __name__ == '__main__':
  np.savez_compressed(FILE, **values())
