"""Log-mel bands and cepstra of a clip of any length: 36 numbers in each of 20 frames.

The hop is chosen from the length of the clip, so that 20 windows of 64 ms reach from its first
sample to its last: a word spoken slowly and one spoken fast give frames of the same parts of the
word, and its duration is left out. A clip shorter than 66 ms is padded with zeros; of a longer one
fewer than 19 samples at the end are not used. From 1.3 s on the windows no longer touch each other.
The definitions are those of librosa (McFee et al. 2015): Slaney's mel scale, filters of unit area,
decibel with a floor 80 below the loudest band of the clip, DCT-II.
"""

from collections.abc import Callable
import functools

import numpy as np

from mmalign_jax.data.avmnist.wav import RATE

FRAMES = 20
WIDTH = 36        # bands or cepstral coefficients in a frame
WINDOW = 512      # samples, 64 ms
CEPSTRAL_BANDS = 64
FLOOR = 80.0      # decibel
_TINY = 1e-10     # power that counts as silence


def hop(length: int) -> int:
  """Samples from one frame to the next in a clip of `length` samples."""
  return max((length - WINDOW) // (FRAMES - 1), 1)


def frames(clip: np.ndarray) -> np.ndarray:
  """20 windows [20, 512] of a clip [T], T > 0, evenly from its beginning to its end."""
  step = hop(len(clip))
  needed = WINDOW + step * (FRAMES - 1)
  padded = np.pad(clip[:needed], (0, max(needed - len(clip), 0)))
  return np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::step]


@functools.lru_cache
def mel_filters(n_bands: int) -> np.ndarray:
  """Triangular filters of unit area [n_bands, 257] on Slaney's mel scale, from 0 to 4 kHz."""
  break_hz, step_hz, log_step = 1000.0, 200 / 3, np.log(6.4) / 27  # linear, then logarithmic
  top = break_hz / step_hz + np.log(RATE / 2 / break_hz) / log_step
  mel = np.linspace(0, top, n_bands + 2)
  edges = np.where(mel < break_hz / step_hz, step_hz * mel,
                   break_hz * np.exp(log_step * (mel - break_hz / step_hz)))
  hertz = np.fft.rfftfreq(WINDOW, 1 / RATE)
  low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
  up, down = (hertz - low) / (middle - low), (high - hertz) / (high - middle)
  return np.maximum(np.minimum(up, down), 0) * 2 / (high - low)


def _decibel(clip: np.ndarray, n_bands: int) -> np.ndarray:
  """Power in each band [20, n_bands] of a clip [T], in decibel; silence is -100."""
  hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
  spectrum = np.fft.rfft(frames(clip.astype(np.float64)) * hann)
  power = (spectrum.real ** 2 + spectrum.imag ** 2) @ mel_filters(n_bands).T
  level = 10 * np.log10(np.maximum(power, _TINY))
  return np.maximum(level, level.max() - FLOOR)


def log_mel(clip: np.ndarray) -> np.ndarray:
  """Levels of 36 mel bands [20, 36] f32, in decibel, of a clip [T] at 8 kHz, T > 0."""
  return _decibel(clip, WIDTH).astype(np.float32)


def mfcc(clip: np.ndarray) -> np.ndarray:
  """The first 36 cepstral coefficients [20, 36] f32, over 64 bands, of a clip [T] at 8 kHz, T > 0.

  Source: Davis and Mermelstein 1980, "Comparison of parametric representations for monosyllabic
  word recognition in continuously spoken sentences".
  """
  from scipy import fft  # slow to import, and seldom needed
  level = _decibel(clip, CEPSTRAL_BANDS)
  return np.asarray(fft.dct(level, norm='ortho', axis=1))[:, :WIDTH].astype(np.float32)


FEATURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {'mfcc': mfcc, 'logmel': log_mel}
