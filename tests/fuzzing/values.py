"""Arrays of values that no analysis is made for; each function changes the arrays of a sample."""

from collections.abc import Callable
import random

import numpy as np

from fuzzing.valid import Arrays


def _view(r: random.Random) -> str:
  return r.choice(('x1', 'x2'))


def _payload(a: Arrays, r: random.Random) -> Arrays:
  """NaNs of any payload, quiet and signalling, and of both signs."""
  role, kind = _view(r), r.choice(('f4', 'f8'))
  x = np.array(a[role], kind)
  bits = x.view('u4' if kind == 'f4' else 'u8').ravel()
  top = 0x7F800000 if kind == 'f4' else 0x7FF0000000000000
  for _ in range(r.choice((1, 3, 20))):
    bits[r.randrange(bits.size)] = top | r.randrange(1, 2**20) | (r.randrange(2) << (
        31 if kind == 'f4' else 63))
  return a | {role: x}


def _put(value: float, kind: str = 'f8') -> Callable:
  def change(a: Arrays, r: random.Random) -> Arrays:
    role = _view(r)
    x = np.array(a[role], kind)
    for _ in range(r.choice((1, 1, 5))):
      x[r.randrange(len(x)), r.randrange(x.shape[1])] = value
    return a | {role: x}
  return change


def _all(value: float) -> Callable:
  def change(a: Arrays, r: random.Random) -> Arrays:
    role = r.choice(('x1', 'x2', 'y'))
    return a | {role: np.full_like(np.asarray(a[role], np.float64), value)}
  return change


def _typed(*kinds: str) -> Callable:
  def change(a: Arrays, r: random.Random) -> Arrays:
    role, kind = r.choice(('x1', 'x2', 'y', 'y')), r.choice(kinds)
    return a | {role: np.asarray(a[role]).astype(kind)}
  return change


def _shaped(a: Arrays, r: random.Random) -> Arrays:
  role = r.choice(('x1', 'x2', 'y'))
  x = a[role]
  n = len(x)
  new = r.choice([
      lambda: x[0], lambda: x[:0], lambda: x[:1], lambda: x[:2], lambda: x[:-1], lambda: x[...,
                                                                                           None],
      lambda: x[None], lambda: np.repeat(x.reshape(n, -1)[:, None], 5, 1), lambda: x.reshape(-1),
      lambda: x.reshape(n, -1)[:, :0], lambda: x.reshape((1,) * 29 + x.shape), lambda: x.T,
      lambda: np.zeros((0, 4)), lambda: np.float32(3).reshape(()), lambda: np.concatenate([x, x])])
  return a | {role: np.ascontiguousarray(new())}


def _wide(a: Arrays, r: random.Random) -> Arrays:
  role = _view(r)
  return a | {role: np.zeros((len(a[role]), r.choice((5000, 60_000)))) + np.arange(len(a[role]))[
      :, None]}


def _scaled(a: Arrays, r: random.Random) -> Arrays:
  role, scale = _view(r), r.choice((1e-320, 1e-45, 1e-30, 1e30, 1e38, 1e154, 1e300))
  return a | {role: np.asarray(a[role], np.float64) * scale}


def _shifted(a: Arrays, r: random.Random) -> Arrays:
  role = _view(r)
  return a | {role: np.asarray(a[role], np.float64) + r.choice((1e8, 1e16, -1e300))}


def _whole(a: Arrays, r: random.Random) -> Arrays:
  role = r.choice(('x1', 'x2', 'y'))
  kind = r.choice(('i8', 'u8', 'i1', 'u1', 'i4'))
  info = np.iinfo(kind)
  values = np.array([r.choice((info.min, info.max, 0, 1)) for _ in range(np.size(a[role]))], kind)
  return a | {role: values.reshape(np.shape(a[role]))}


def _labels(a: Arrays, r: random.Random) -> Arrays:
  n = len(a['y'])
  made = r.choice([
      lambda: np.zeros(n, int), lambda: np.arange(n), lambda: np.arange(n) + 0.5,
      lambda: np.r_[0, np.ones(n - 1)], lambda: np.full(n, np.nan), lambda: np.eye(n)[:, :3],
      lambda: np.array(['a', '', ' '] * 8), lambda: np.array(['1', '01', '1.0'] * 8),
      lambda: np.array(['nan', 'inf', '1e5'] * 8), lambda: np.array(['x' * 10_000, 'y', 'z'] * 8),
      lambda: np.array(['\x1b[2J', 'a\nb', 'c'] * 8), lambda: np.array(['é', 'ß', '\u202e'] * 8),
      lambda: np.array([2**63 - 1, -2**63, 0] * 8), lambda: np.array([1e300, -1e300, 0] * 8),
      lambda: np.array([True, False, True] * 8)])
  return a | {'y': made()}


def _zero_rows(a: Arrays, r: random.Random) -> Arrays:
  role = _view(r)
  x = np.array(a[role])
  x[:r.choice((1, 6, 12, 23))] = 0
  return a | {role: x}


def _same_rows(a: Arrays, r: random.Random) -> Arrays:
  role, k = _view(r), r.choice((1, 2, 5))
  return a | {role: a[role][np.arange(len(a[role])) % k]}


def _lengths(a: Arrays, r: random.Random) -> Arrays:
  role, k = r.choice(('x1', 'x2', 'y')), r.choice((1, 2, 3, 5, 23))
  return a | {role: a[role][:k]}


def _short(a: Arrays, r: random.Random) -> Arrays:
  k = r.choice((1, 2, 3, 4, 6))
  return {role: x[:k] for role, x in a.items()}


VALUES: dict[str, Callable[[Arrays, random.Random], Arrays]] = {
    'NaN payloads': _payload, 'infinite': _put(np.inf), 'largest f64': _put(1.7e308),
    'smallest': _put(5e-324), 'NaN': _put(np.nan, 'f4'), 'all zero': _all(0),
    'all NaN': _all(np.nan),
    'all one': _all(1.0), 'floats of other sizes': _typed('f2', 'f8', '>f4', '>f8', 'g'),
    'whole numbers of other sizes': _typed('i1', 'u1', 'i2', '>i8', 'u8', 'u4'),
    'wrong dtypes': _typed('c8', 'c16', 'U', 'S', 'bool', 'M8[s]', 'm8[s]', 'V8'),
    'wrong shapes': _shaped, 'wide': _wide, 'scaled': _scaled, 'shifted': _shifted,
    'extreme whole numbers': _whole, 'labels': _labels, 'zero rows': _zero_rows,
    'repeated rows': _same_rows, 'unequal lengths': _lengths, 'few samples': _short}
