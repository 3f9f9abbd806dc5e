"""Settings of the generators drawn at random, and their curves of accuracy over strength.

Every setting is a draw of what there is to share, how much data and how many labels there are, how
hard and how noisy they are: `bits` and `atoms` in turn, encoders of 1, 2 and 3 layers in turn. The
splits are draws of their own (`SPLITS`): no setting, seed or sample is in two of them. Everything
else is as in configs/few_labels.py without tuning: InfoNCE, batches of 128, 400 steps.
"""

import dataclasses
import functools
import json
import pathlib
from typing import Any, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax import Hyper, Spec, rng
from mmalign_jax.advice import features
from mmalign_jax.data import pair_source
from mmalign_jax.data.sources import SOURCES, Source
from mmalign_jax.training.sweep import make_tables, run_sweep, stack

LAM = (0.0, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0)
SPLITS = ('train', 'calibration', 'test')
SEEDS = 3      # of a setting that something is judged by
SEVERAL = 126  # training settings, which thresholds are judged by, too; of the others one seed:
               # many settings teach more than many seeds
GROUPS = [(generator, depth) for depth in (2, 1, 3) for generator in ('bits', 'atoms')]
CLASSES = {'bits': 4, 'atoms': 16}
MOST = 2048         # pairs
TOGETHER = 8        # settings of one call
CHUNK = 12          # cells of one program
_SAMPLES = 10**6    # seeds from here on are of the samples that features are computed from


def few(name: str) -> Source:
  """A generator with a label for few of its samples, and batches that are filled up where there
  are fewer samples than a batch holds, as for data from files."""
  full, like = SOURCES[name], SOURCES['few_bits']
  names = ('n_labelled', 'align_on')
  draw = lambda tables, hyper, key, n: pair_source.few(
      full.draw(tables, hyper, key, n), hyper, jax.random.fold_in(key, 1))
  return dataclasses.replace(
      full, settings=(*full.settings, *names), draw=draw, unique=None,
      present=lambda tables, rows: tuple(jnp.ones(row.shape, bool) for row in rows),
      ranges={**full.ranges, **{name: like.ranges[name] for name in names}})


SOURCES.update({f'few_pairs_of_{name}': few(name) for name in ('bits', 'atoms')})


def drawn(split: str, index: int) -> dict:
  """One setting: {'generator', 'depth', and traced settings}."""
  generator, depth = GROUPS[index % len(GROUPS)]
  g = np.random.default_rng([19, SPLITS.index(split), index])
  n_train = round(float(np.exp(g.uniform(np.log(64), np.log(MOST)))))
  most = n_train // (2 * CLASSES[generator])
  few = most > 1 and g.random() < 0.5
  labels = round(float(np.exp(g.uniform(np.log(1), np.log(most))))) if few else 0
  setting = {
      'generator': generator, 'depth': depth, 'n_train': n_train, 'n_labelled': labels,
      'transform_depth': int(g.integers(0, 4)),
      'flipped': float(g.uniform(0, 0.15)) if g.random() < 0.4 else 0.0,
      'mismatched': float(g.uniform(0, 0.3)) if g.random() < 0.25 else 0.0}
  if generator == 'bits':
    return setting | {'redundancy': int(g.integers(0, 9)), 'level': int(g.integers(0, 7))}
  atoms = g.dirichlet(np.ones(4)) * g.uniform(0.2, 1.2)
  return setting | {name: min(float(value), 0.69) for name, value in zip(
      ('redundancy', 'unique_1', 'unique_2', 'synergy'), atoms)}


def first_seed(split: str, index: int) -> int:
  """Seeds of a setting's trainings are this one and those that follow."""
  return (SPLITS.index(split) * 100_000 + index) * 10


def seeds_of(split: str, index: int) -> int:
  """How many seeds a setting is trained with."""
  return SEEDS if split != 'train' or index < SEVERAL else 1


def spec_of(setting: dict) -> Spec:
  return Spec(generator=f'few_pairs_of_{setting["generator"]}', depth=setting['depth'],
              batch_size=128, steps=400, max_train=MOST, n_align=16)


def traced(setting: dict) -> dict[str, Any]:
  return {key: value for key, value in setting.items() if key not in ('generator', 'depth')}


def trained(split: str, indices: list[int], workers: int) -> np.ndarray:
  """Accuracies [settings, encoders, L, S] of settings of one group and as many seeds."""
  settings, seeds = [drawn(split, i) for i in indices], seeds_of(split, indices[0])
  each, total = len(LAM) * seeds, len(LAM) * seeds * len(indices)
  columns: dict[str, Any] = {name: np.repeat([traced(s)[name] for s in settings], each)
                             for name in traced(settings[0])}
  seed = np.concatenate([np.tile(first_seed(split, i) + np.arange(seeds), len(LAM))
                         for i in indices])
  hypers = Hyper(lam=np.tile(np.repeat(LAM, seeds), len(indices)), seed=seed, **columns)
  cells = run_sweep(spec_of(settings[0]), stack(hypers, total), chunk=CHUNK, workers=workers)
  return np.stack([side.accuracy.reshape(len(indices), len(LAM), seeds)
                   for side in cells.sides], axis=1)


def todo(counts: dict[str, int], done: set[tuple[str, int]]) -> Iterator[tuple[str, list[int]]]:
  """What is to be trained, the splits at an even pace, so that any end leaves a fair part."""
  rounds = []
  for split, count in counts.items():
    for group in range(len(GROUPS)):
      left = [i for i in range(group, count, len(GROUPS)) if (split, i) not in done]
      for seeds in (SEEDS, 1):
        like = [i for i in left if seeds_of(split, i) == seeds]
        every = [like[k:k + TOGETHER] for k in range(0, len(like), TOGETHER)]
        rounds += [(max(part) / count, split, part) for part in every]
  for _, split, part in sorted(rounds):
    yield split, part


def train(folder: pathlib.Path, counts: dict[str, int], workers: int = 2) -> None:
  """Appends a line a setting to folder/curves.jsonl; what is there is not run again."""
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / 'curves.jsonl'
  done = {(row['split'], row['index']) for row in read(path)}
  for split, part in todo(counts, done):
    found = trained(split, part, workers)
    with path.open('a') as out:
      for index, accuracy in zip(part, found):
        out.write(json.dumps({'split': split, 'index': index, **drawn(split, index),
                              'accuracy': accuracy.round(5).tolist()}) + '\n')


def measure(folder: pathlib.Path) -> None:
  """Appends the features of every setting that is trained to folder/features.jsonl."""
  path = folder / 'features.jsonl'
  done = {(row['split'], row['index']) for row in read(path)}
  for row in read(folder / 'curves.jsonl'):
    at = row['split'], row['index']
    if at in done:
      continue
    found = features(*samples(*at))
    with path.open('a') as out:
      out.write(json.dumps({'split': at[0], 'index': at[1], 'features': found}) + '\n')


def known(folder: pathlib.Path) -> dict[str, list[dict]]:
  """{split: settings with curves and features}."""
  made = {(row['split'], row['index']): row['features'] for row in read(folder / 'features.jsonl')}
  rows = [row | {'features': made[row['split'], row['index']]}
          for row in read(folder / 'curves.jsonl') if (row['split'], row['index']) in made]
  return {split: sorted((row for row in rows if row['split'] == split),
                        key=lambda row: row['index']) for split in SPLITS}


def read(path: pathlib.Path) -> list[dict]:
  """Rows of a file of lines; one that a kill cut off is left out."""
  rows = []
  for line in path.read_text().splitlines() if path.exists() else ():
    try:
      rows.append(json.loads(line))
    except ValueError:
      continue
  return rows


@functools.lru_cache(maxsize=None)
def _tables(generator: str):
  return make_tables(Spec(generator=f'few_pairs_of_{generator}'))


def samples(split: str, index: int) -> tuple[list[np.ndarray], np.ndarray]:
  """What an owner of such data has: views [N, 12], and classes [N], -1 where there is no label."""
  setting = drawn(split, index)
  source, tables = SOURCES[spec_of(setting).generator], _tables(setting['generator'])
  seed = _SAMPLES * 10 + first_seed(split, index)
  hyper = Hyper(seed=seed, **traced(setting))
  draws = source.draw(tables, hyper, rng.stream(np.uint32(seed), 'data'), MOST)
  n, labelled = setting['n_train'], int(np.asarray(draws.n_labelled))
  views = [np.asarray(x, np.float64)[:n] for x in source.inputs(tables, hyper, draws.rows)]
  return views, np.where(np.arange(n) < labelled, np.asarray(draws.y)[:n], -1)
