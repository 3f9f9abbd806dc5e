"""Settings: pairs of a given split, refusals at the start, settings that do nothing, names."""

from collections.abc import Callable
import functools
import json
import pathlib
import re
from typing import Any

import numpy as np

from cases.table import Row
from mmalign_jax import rng, similarity
from mmalign_jax.data.sources import SOURCES, ArrayTables
from mmalign_jax.studies import registry
from mmalign_jax.studies.emergence import plan as emergence
from mmalign_jax.studies.strength import plan as strength
from mmalign_jax.studies.train import plan as train
from mmalign_jax.types import Hyper

PLANS = {'strength': strength, 'emergence': emergence, 'train': train}


# -- 11: pairs of a given split --------------------------------------------------------------------


def tables(label: np.ndarray) -> ArrayTables:
  """Rows in the order given, the sides alike in nothing but the label."""
  g = np.random.default_rng(0)
  n = len(label)
  side = lambda: (g.normal(size=(5, 8))[np.digitize(label, (1, 2, 3))] * 1.2
                  + g.normal(size=(n, 8))).astype(np.float32)
  x1, x2 = side(), side()
  y = label.astype(np.int32)
  return ArrayTables((x1, x2), y, (x1, x2), y, np.zeros(n, np.int32), 1, 4)


def pairs_of(made: ArrayTables, n: int, seed: int = 0):
  return SOURCES['paired'].pairs(made, Hyper(), rng.stream(seed, 'test'), n)


def like_all(label: np.ndarray, n: int, folder: pathlib.Path) -> None:
  """CKA of n pairs is about that of all, whatever order the test rows come in."""
  made = tables(label)
  whole = float(similarity.debiased_linear_cka(made.x_test[0], made.x_test[1]))
  found = [float(similarity.debiased_linear_cka(*pairs_of(made, n, seed))) for seed in (0, 1)]
  assert whole > 0.3 and np.allclose(found, whole, atol=0.12), (whole, found)
  assert found[0] != found[1]  # by the seed
  again = pairs_of(made, n)
  assert all(np.array_equal(a, b) for a, b in zip(again, pairs_of(made, n)))  # and by it alone


def trained_on_all(folder: pathlib.Path) -> None:
  """n_train below the rows of a sorted training part: every class is there."""
  made = tables(np.repeat(np.arange(4), 300))
  draws = SOURCES['paired'].draw(made, Hyper(), rng.stream(0, 'data'), 200)
  assert (np.bincount(draws.y, minlength=4) > 25).all() and len(np.unique(draws.rows[0])) == 200


def all_of_them(folder: pathlib.Path) -> None:
  """As many pairs as there are: the rows as they are."""
  made = tables(np.repeat(np.arange(4), 10))
  assert np.array_equal(pairs_of(made, 40)[0], made.x_test[0])


# -- 17, 3: refused --------------------------------------------------------------------------------


def refused(kind: str, given: dict[str, Any], words: str, folder: pathlib.Path) -> None:
  """One line, which says `words`, and nothing was begun."""
  try:
    PLANS[kind].from_settings(given)
  except ValueError as error:
    assert re.search(words, str(error)), error
    assert '\n' not in str(error)
  else:
    raise AssertionError(f'{kind} {given} was accepted')


def recorded(folder: pathlib.Path) -> None:
  """What is not read does not stay in the record."""
  made = strength.from_settings(dict(projection='none', unique_1=(0.0,), data=''))
  assert not {'unique_1', 'data', 'projection_width', 'transform'} & set(made.settings)


def given_split(folder: pathlib.Path) -> None:
  """test_fraction where the data come split."""
  g, label = np.random.default_rng(0), np.arange(60) % 3
  np.savez(folder / 'd.npz', **{f'{view}_{part}': g.normal(size=(60, 2)) for view in ('x1', 'x2')
                                for part in ('train', 'test')}, y_train=label, y_test=label)
  refused('strength', dict(generator='paired', data=str(folder / 'd.npz'), task='auto', n_train=(),
                           batch_size=32, test_fraction=0.5), 'has no effect: .* split', folder)


def known_study(folder: pathlib.Path) -> None:
  settings = {'study': 'strength', 'lam': (0.0, 1.0)}
  made = registry.study_of(settings).from_settings(settings)
  assert made.n_cells == 2


def old_folder(folder: pathlib.Path) -> None:
  """A folder of before, whose record holds what nothing read, is continued."""
  from mmalign_jax.studies.strength import chunks
  old = strength.from_settings(dict(lam_1=(0.0, 1.0), lam_2=(0.0,))).settings
  old |= {'lam': (0.0, 0.5), 'unique_1': (0.0,), 'level': (0,), 'min_temperature': 0.01}
  (folder / 'config.json').write_text(json.dumps(old))
  chunks.Chunks(folder, strength.from_settings(dict(lam_1=(0.0, 1.0), lam_2=(0.0,)))).close()
  refused_there = strength.from_settings(dict(lam_1=(0.0, 1.0), lam_2=(0.5,)))
  try:
    chunks.Chunks(folder, refused_there)
  except ValueError as error:
    assert 'lam_2: [0.0] there, [0.5] now' in str(error) and 'min_temp' not in str(error)
  else:
    raise AssertionError('another configuration was accepted')


def row(number: int | str, kind: str, given: dict[str, Any], words: str) -> Row:
  said = ', '.join(f'{k}={str(v)[:40]}' for k, v in given.items())
  return Row(number, f'{kind} {said}', functools.partial(refused, kind, given, words))


def case(number: int | str, name: str, check: Callable, *arguments: Any) -> Row:
  return Row(number, name, functools.partial(check, *arguments) if arguments else check)


SORTED = np.repeat(np.arange(4), 300)
ROWS = [
    case(11, '300 pairs of a test set sorted by class', like_all, SORTED, 300),
    case(11, 'sorted downwards', like_all, SORTED[::-1], 300),
    case(11, 'two classes first, then the others', like_all,
         np.concatenate([np.tile([0, 1], 300), np.tile([2, 3], 300)]), 400),
    case(11, 'a rare class at the end', like_all,
         np.repeat(np.arange(4), (500, 400, 200, 100)), 300),
    case(11, 'fewer training rows than a sorted part has', trained_on_all),
    case(11, 'all pairs', all_of_them),
    *[row(17, kind, {'resamples': 0}, 'resamples') for kind in PLANS],
    row(17, 'strength', {'chunk': -1}, 'chunk=-1 must be a whole number of at least 0'),
    row(17, 'strength', {'workers': -1}, 'workers=-1 must be a whole number of at least 0'),
    row(17, 'emergence', {'workers': -1}, 'workers=-1 must be a whole number of at least 0'),
    row(17, 'strength', {'n_align': 3, 'neighbors': 2}, 'n_align=3 must be at least 4'),
    row(17, 'emergence', {'n_align': 3, 'neighbors': 2}, 'n_align=3 must be at least 4'),
    row(17, 'train', {'n_align': 3, 'neighbors': 2}, 'n_align=3 must be at least 4'),
    row(17, 'strength', {'memory_gb': 0}, 'memory_gb=0 must be above 0'),
    row(17, 'strength', {'memory_gb': float('nan')}, 'memory_gb=nan must be finite'),
    row(17, 'strength', {'seed': (0, 1, 1)}, 'seed=1 is given twice'),
    row(17, 'emergence', {'seed': (-1,)}, 'seed=-1 is outside 0..4294967295'),
    row(17, 'train', {'seed': (0.5,)}, 'seed=0.5 must be a whole number'),
    row(17, 'strength', {'seed': range(10**9)}, 'seed has 1,000,000,000 values'),
    row(17, 'strength', {'lam': ()}, r'lam=\(\) has no values'),
    row(17, 'strength', {'lam': (True,)}, 'lam=True is not a number'),
    row(17, 'strength', {'lam': ('0.5',)}, "lam='0.5' is not a number"),
    row(17, 'strength', {'steps': True}, 'steps=True is not a number'),
    row(17, 'strength', {'neighbors': 512}, 'neighbors=512 must be below n_align=512'),
    row(17, 'emergence', {'permutations': 0}, 'permutations=0 must be a whole number'),
    row(17, 'emergence', {'n_validation': 0}, 'n_validation=0 must be a whole number'),
    row(17, 'train', {'epochs': 0}, 'epochs=0 must be a whole number of at least 1'),
    row(17, 'train', {'train_size': 100}, 'batch_size=256 is more than the 100 training pairs'),
    row(17, 'train', {'test_size': 10}, 'test_size=10: neighbors=10 needs at least 11'),
    row(17, 'strength', {'generator': 'paired', 'data': 'digits', 'task': 'auto',
                         'test_fraction': 1.0}, 'test_fraction=1 must be below 1'),
    row(17, 'strength', {'generator': 'paired', 'data': 'digits', 'task': 'auto',
                         'split_seed': -1}, 'split_seed=-1'),
    row(3, 'strength', {'unique_1': (99.,)}, "unique_1=.* not a setting of generator 'bits'"),
    row(3, 'strength', {'generator': 'paired', 'data': 'digits', 'task': 'auto',
                        'mismatched': (.5,)}, "mismatched=.* not a setting of generator 'paired'"),
    row(3, 'strength', {'data': 'digits'}, "data='digits' has no effect"),
    row(3, 'strength', {'max_temperature': 2.}, 'has no effect without learnable_temperature=True'),
    row(3, 'strength', {'projection': 'none', 'projection_width': 4}, 'linear or mlp'),
    row(3, 'emergence', {'measures': 'cca', 'neighbors': 5}, 'counts neighbours'),
    case(3, 'what is not read is not recorded', recorded),
    case(3, 'test_fraction of data that come split', given_split),
    case(3, "study='strength'", known_study),
    case(3, 'a folder whose record holds what nothing read', old_folder)]
