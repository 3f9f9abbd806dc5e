"""Samples that belong together, several partners, unequal numbers of layers, few test groups."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from cases.table import Row
from mmalign_jax.similarity import (
  MEASURES,
  calibrate,
  median_rank_xy,
  median_rank_yx,
  mutual_knn,
  recall_xy,
  recall_yx,
)
from mmalign_jax.similarity.scores import Plan, obstacle
from mmalign_jax.studies.strength.optimum import optimum

DRAWS, PERMUTATIONS = 60, 59


def rows(text: str, *checks) -> list[Row]:
  number, _, name = text.partition(' ')
  return [Row(int(number), f'{name}: {said}', check) for said, check in checks]


# -- several partners ------------------------------------------------------------------------------


def captions(counts, noise: float = 0.05):
  """Images [I, 16], one row a caption, captions near their image, and the image of each."""
  g = np.random.default_rng(0)
  items = np.repeat(np.arange(len(counts)), counts)
  x = g.normal(size=(len(counts), 16))[items]
  return x, x + noise * g.normal(size=x.shape), items


def found(function, counts, right):
  def check(_):
    x, y, items = captions(counts)
    assert float(function(x, y, items=items)) == right
  return check


def hand(_):
  """Query a: its own image stands behind one other, which is there three times."""
  x = np.array([[1, 0], [0, 1], [0, 1], [0, 1]])
  y = np.array([[.6, .8], [.8, .6], [.8, .6], [.8, .6]])
  items = np.array([0, 1, 1, 1])
  assert float(median_rank_xy(x[:2], y[:2])) == 1.5 + .5  # both second
  assert [float(f(x, y, items=items)) for f in (recall_xy, median_rank_xy)] == [0, 2]
  assert float(recall_xy(x, y, at=2, items=items)) == 1


def neighbours(_):
  """Items a, b, c of two samples each on a line: a and b are nearest to each other on both sides,
  c is nearest to b in x and to a in y."""
  x, y = (np.array([[a], [a + .1], [b], [b + .1], [c], [c + .1]])
          for a, b, c in ((0, 1, 3), (0, 1, -3)))
  items = np.array([0, 0, 1, 1, 2, 2])
  value = functools.partial(mutual_knn, k=1, metric='euclidean')
  assert float(value(x, y)) == 1  # the other sample of its own item
  assert float(value(x, y, items=items)) == np.float32(2 / 3)
  assert 'mutual_knn counts items' in obstacle(MEASURES['cknna'], 6, [1], Plan(settings={'k': 2}),
                                               items=items)


# -- samples that belong together ------------------------------------------------------------------


@functools.cache
def p_values(name: str, sizes: tuple[int, ...], kind: str, layers=(1, 1), seed: int = 0):
  """p [DRAWS] of independent sides whose samples belong together, and the smallest step of p."""
  groups = np.repeat(np.arange(len(sizes)), sizes)
  g = np.random.default_rng(seed)
  def side(count):
    base = g.normal(size=(DRAWS, count, len(sizes), 4))[:, :, groups]
    noise = g.normal(size=(DRAWS, count, len(groups), 4))
    if kind == 'in time':
      for i in range(1, len(groups)):
        if groups[i] == groups[i - 1]:
          noise[:, :, i] = .9 * noise[:, :, i - 1] + .44 * noise[:, :, i]
      return jnp.float32(noise)
    return jnp.float32(base + .05 * noise if kind == 'repeats' else noise)
  own = None if kind == 'single' else groups
  one = lambda key, x, y: calibrate(MEASURES[name], list(x), list(y), key=key, groups=own,
                                    permutations=PERMUTATIONS)
  found = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(seed), DRAWS),
                                 *map(side, layers))
  return np.asarray(found.p_value), 1 / (1 + found.null.shape[1])


def uniform(*arguments, **more):
  def check(_):
    p, step = p_values(*arguments, **more)
    spread = p - step * np.random.default_rng(0).uniform(size=len(p))
    assert stats.kstest(spread, 'uniform').pvalue > 0.005
    assert p.min() < 0.2 < 0.8 < p.max()
  return check


def few_groups(_):
  p, step = p_values('debiased_linear_cka', (6,) * 4, 'repeats')
  assert step == 1 / 24  # all arrangements of four groups, once
  np.testing.assert_allclose(24 * p, np.round(24 * p), atol=1e-4)
  assert p.min() >= 1 / 24 - 1e-6


def two_groups(_):
  p, step = p_values('debiased_linear_cka', (6, 9), 'repeats')
  assert step == 1 / 2 and set(np.round(p, 3)) <= {0.5, 1.0}


# -- a test set of few groups ----------------------------------------------------------------------


def of_groups(count: int):
  def check(_):
    g = np.random.default_rng(count)
    accuracy = np.array([.5, .6, .7, .65])[:, None, None] + .02 * g.normal(size=(4, 6, count))
    found = optimum(np.arange(4.), accuracy, n_boot=200)
    assert found.n_folds == count and found.best_lam == 2
    assert found.gain_interval[0] < found.gain < found.gain_interval[1]
    assert np.isfinite([*found.gain_interval, *found.drop_interval, *found.best_lam_interval]).all()
  return check


ROWS = [
    *rows('8 several partners', *(
        (f'{f.__name__}, {name}', found(f, counts, 1)) for f, name, counts in (
            (recall_xy, 'five captions an image', (5,) * 40),
            (recall_yx, 'five captions an image', (5,) * 40),
            (median_rank_xy, 'one to four captions', (1, 2, 3, 4) * 5),
            (median_rank_yx, 'one to four captions', (1, 2, 3, 4) * 5))),
          ('by hand, copies of one image take one place', hand),
          ('neighbours are items, by hand', neighbours)),
    *rows('9 groups',
          ('repeats', uniform('debiased_linear_cka', (5,) * 40, 'repeats')),
          ('unequal sizes', uniform('debiased_linear_cka', (3, 4, 5, 8) * 6, 'repeats')),
          ('dependence in time, unequal sizes', uniform('linear_cka', (6, 18) * 8, 'in time')),
          ('exchange of whole groups', uniform('modality_gap', (2, 5, 9) * 5, 'repeats')),
          ('four groups have 24 arrangements', few_groups),
          ('two groups, of unequal size', two_groups)),
    *rows('12 unequal numbers of layers', *(
        (f'{name}, {a} against {b}', uniform(name, (1,) * 30, 'single', (a, b), seed=3))
        for name, a, b in (('modality_gap', 4, 1), ('modality_gap', 1, 4), ('modality_gap', 3, 2),
                           ('modality_gap_share', 1, 3)))),
    *rows('16 test groups', *((str(n), of_groups(n)) for n in range(2, 7))),
]
