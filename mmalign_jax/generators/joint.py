"""The joint table p(x1, x2, y) of a generator, as small as it gets, and its exact atoms.

A side tells of the label only through the task bits it sees and its half of those that are the XOR
of a bit of either side: 4,096 inputs reduce to at most 256 states without loss to any atom.
"""

from collections.abc import Sequence
import concurrent.futures
import dataclasses
import itertools

import jax.numpy as jnp
import numpy as np

from mmalign_jax import information
from mmalign_jax.generators import synthetic
from mmalign_jax.generators.synthetic import Generator, Tables
from mmalign_jax.types import Hyper

_LEAST_SIDE = 32


def joint(generator: Generator, tables: Tables, hyper: Hyper) -> np.ndarray:
  """p(x1, x2, y) [2**T1, 2**T2, C] of one setting in float64; a side sees T1 or T2 task bits.

  Raises:
    ValueError: a task bit that mixes shared and private bits, which no generator here has.
  """
  masks, labels = (np.asarray(made) for made in generator.task(tables, hyper))
  labels = labels.astype(np.float64)
  labels /= labels.sum(axis=1, keepdims=True)  # the tables are float32
  shared = np.asarray(synthetic.touches_shared(jnp.asarray(masks)))
  by_1, by_2 = (~np.asarray(synthetic.hidden_from(jnp.asarray(masks), side)) for side in (1, 2))
  split = ~by_1 & ~by_2
  if (shared & ~(by_1 & by_2)).any():
    raise ValueError('masks: a task bit of shared and private bits has no such table')
  see_1, see_2 = np.flatnonzero(by_1 | split), np.flatnonzero(by_2 | split)
  states = [_states(one, two, float(hyper.flipped)) for one, two in zip(by_1, by_2)]
  p = np.zeros((2 ** len(see_1), 2 ** len(see_2), labels.shape[1]))
  for chosen in itertools.product(*states):
    weight = np.prod([w for *_, w in chosen])
    first, second, task = (sum(bit << place for place, bit in enumerate(bits)) for bits in (
        [chosen[k][0] for k in see_1], [chosen[k][1] for k in see_2], [s[2] for s in chosen]))
    p[first, second] += weight * labels[task]
  unrelated = p.sum(axis=1, keepdims=True) * p.sum(axis=(0, 2))[None, :, None]  # y stays with x1
  return (1 - float(hyper.mismatched)) * p + float(hyper.mismatched) * unrelated


def _states(by_1: bool, by_2: bool, flipped: float) -> list[tuple[int, int, int, float]]:
  """(what side 1 sees, what side 2 sees, task bit, probability) of one task bit."""
  if by_1 and by_2:  # shared, and perhaps noisy in x2
    states = [(bit, bit ^ noise, bit, (flipped if noise else 1 - flipped) / 2)
              for bit in (0, 1) for noise in (0, 1)]
    return [state for state in states if state[-1] > 0]
  if by_1 or by_2:
    return [(bit, bit, bit, 0.5) for bit in (0, 1)]
  return [(one, two, one ^ two, 0.25) for one in (0, 1) for two in (0, 1)]


def decomposition(generator: Generator, tables: Tables,
                  hyper: Hyper) -> information.Decomposition:
  """Exact BROJA atoms of one setting, in nats, with their certificate."""
  return information.broja(joint(generator, tables, hyper))


def decompositions(generator: Generator, tables: Tables, hypers: Sequence[Hyper],
                   workers: int = 1) -> list[information.Decomposition]:
  """`decomposition` of several settings, in `workers` threads.

  Tables are filled up to squares with states that never occur, and the optimal Q is left out: a
  shape costs a compilation of about two seconds, far more than its solution.
  """
  made = [_filled(joint(generator, tables, hyper)) for hyper in hypers]
  with concurrent.futures.ThreadPoolExecutor(workers) as pool:
    return [dataclasses.replace(found, q=None) for found in pool.map(information.broja, made)]


def _filled(p: np.ndarray) -> np.ndarray:
  side = max(_LEAST_SIDE, *p.shape[:2])
  return np.pad(p, [(0, side - p.shape[0]), (0, side - p.shape[1]), (0, 0)])
