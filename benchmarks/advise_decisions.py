"""Decisions of `mmalign advise` where the gain is known: generated pairs, all or few rows labelled.

  python benchmarks/advise_decisions.py --folder=DIR [--settings=100] [--rows=2000,8000/400] \
      [--effort=1] [--json=FILE] [--markdown=FILE]

Settings are those that the predictor is judged by (`predictor_settings`, split test), which decide
what is shared, how hard and how noisy it is. Of each, so many samples (8000/400: with 400 labels)
are searched and decided on exactly as the command does; then what it advises (objective, strength
and settings, chosen on all rows) is trained on all rows by SEEDS seeds and judged on FRESH others,
with and without alignment. That difference is the true gain, but for a standard error that is
given. A line a setting is appended to DIR/decisions.jsonl; the same command goes on. Half a minute
apiece, a minute with --effort=2.
"""

import argparse
import functools
import json
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

import predictor_settings as drawn  # noqa: E402

from mmalign_jax import Hyper, Spec, rng  # noqa: E402
from mmalign_jax.data.pairs import Pairs  # noqa: E402
from mmalign_jax.data.sources import SOURCES  # noqa: E402
from mmalign_jax.runs import devices  # noqa: E402
from mmalign_jax.studies.advise import clock, decision, folds, gains, rounds, trial  # noqa: E402
from mmalign_jax.studies.advise.cells import Job, Trainer  # noqa: E402
from mmalign_jax.training.sweep import make_tables  # noqa: E402

FRESH = 20_000
SEEDS = 6
WORTH, NOTHING, HARM = 1.0, 0.25, -0.5  # points
KINDS = (decision.ALIGN, decision.LEAVE, decision.UNKNOWN)
ENCODERS = ('x1', 'x2', 'together')


@functools.lru_cache(maxsize=None)
def trainer(generator: str, rows: int, labels: int, judged: int) -> Trainer:
  """One for all settings of a shape: nothing is compiled twice."""
  return Trainer(Spec(
      generator='pairs', task='cross_entropy', depth=2, width=64, projection_width=32,
      batch_size=128, labelled_batch=min(128, labels), steps=clock.MOST_STEPS, max_train=rows,
      n_align=8, neighbors=3, fusion='frozen'), devices.cores())


def samples(index: int, rows: int, labels: int = 0) -> tuple[Pairs, str]:
  """So many samples of a setting, all or `labels` of them with a label and then FRESH that have
  one, and the generator's name."""
  setting = drawn.drawn('test', index)
  name = setting['generator']
  kept = {k: v for k, v in drawn.traced(setting).items() if k not in ('n_train', 'n_labelled')}
  seed = np.uint32(20_000_000 + index)
  hyper, tables = Hyper(seed=seed, **kept), make_tables(Spec(generator=name))
  total = rows + FRESH
  draws = SOURCES[name].draw(tables, hyper, rng.stream(seed, 'data'), total)
  views = tuple(np.asarray(x, np.float64)[:total]
                for x in SOURCES[name].inputs(tables, hyper, draws.rows))
  every, labelled = np.ones(total, bool), np.ones(total, bool)
  labelled[labels or rows:rows] = False  # samples are independent: the first are any
  y = np.asarray(draws.y)[:total].astype(np.int32)
  classes = tuple(map(str, range(drawn.CLASSES[name])))
  return Pairs(name, ENCODERS[:2], views, (every, every), y, labelled, classes), name


def decided(index: int, rows: int, labels: int, effort: int) -> dict:
  """The decision of every encoder of a setting, and its true gain in points."""
  whole, name = samples(index, rows, labels)
  first = slice(None, rows)
  pairs = Pairs(name, ENCODERS[:2], tuple(x[first] for x in whole.views), tuple(
      has[first] for has in whole.present), whole.y[first], whole.labelled[first], whole.classes)
  known, unit = np.flatnonzero(pairs.labelled), np.arange(rows)
  plan, shape = clock.of_effort(effort, len(known)), folds.shape_of(pairs)
  fold = folds.parts(pairs.y[known], True, known, plan.n_outer, index)
  search = trainer(name, rows, len(known), shape.judged)
  played = [rounds.play(pairs, unit, known[fold == k - 1], plan, shape, search, index)
            for k in range(plan.n_outer + 1)]
  found = trial.decisions(ENCODERS[:2], {'rounds': played})['encoders']
  choices = [rounds.choice(one) for one in played[0]['choices']]
  of = folds.round_of(whole, np.arange(rows + FRESH), np.arange(rows, rows + FRESH), shape)
  known_gains = true(of, choices, trainer(name, rows + FRESH, len(known), FRESH))
  return {'index': index, 'rows': rows, 'labels': len(known), 'effort': effort,
          'kind': [one['kind'] for one in found.values()],
          'promised': [[one['gain']['gain'], *(one['gain']['interval'] or (None, None))]
                       for one in found.values()],
          'folds': [_folds([one['test'] for one in played[1:]], e) for e in range(len(ENCODERS))],
          'true': (100 * known_gains.mean(axis=0)).tolist(),
          'error': (100 * known_gains.std(axis=0, ddof=1) / np.sqrt(SEEDS)).tolist()}


def _folds(tests: list[rounds.Test], encoder: int) -> list[tuple[float, float]]:
  """Gain of every fold, and the variance of its mean over units: what an interval is made of."""
  made = []
  for test in tests:
    a, b, w = (np.array(test[name][encoder]) for name in ('without', 'aligned', 'weight'))
    mean = float(np.average(b - a, weights=w))
    made.append((mean, gains.of_mean(b - a, w, mean)))
  return made


def true(of: folds.Round, choices: list, judge: Trainer) -> np.ndarray:
  """Gains [SEEDS, E] of what was chosen, on the fresh rows."""
  shape = folds.Shape(tuple(x.shape[1] for x in of.x), FRESH, 1)
  tables, *_ = folds.outer(of, shape, 0)
  arms = sorted({arm for one in choices for arm in (one.without, one.aligned)})
  found = np.nan_to_num(judge.run([tables], [Job(0, a, 1000 + s) for a in arms
                                             for s in range(SEEDS)])[:, :, 0])
  mean = dict(zip(arms, found.reshape(len(arms), SEEDS, -1)))
  return np.stack([mean[one.aligned][:, e] - mean[one.without][:, e]
                   for e, one in enumerate(choices)], axis=1)


# -- what they are worth ---------------------------------------------------------------------------


def table(lines: list[dict]) -> str:
  """Rates by number of rows and labels and what is truly to gain."""
  out = ['| rows | labels | encoders | true gain (points) | number | align | do not | '
         'cannot tell | interval holds it | median half width |', '|' + 10 * '---|']
  for rows, labels in sorted({(line['rows'], line['labels']) for line in lines}):
    own = [line for line in lines if (line['rows'], line['labels']) == (rows, labels)]
    for which, at in (('single', (0, 1)), ('together', (2,))):
      of = lambda name: np.array([line[name][e] for line in own for e in at])
      kind, gain = of('kind'), of('true')
      low, high = 100 * of('promised').astype(float).T[1:]
      groups = {f'above {WORTH:g}': gain > WORTH, f'below {NOTHING:g}': gain < NOTHING,
                f'below {HARM:g}': gain < HARM, 'all': gain > -np.inf}
      for words, among in groups.items():
        if among.any():
          shares = [f'{100 * np.mean(kind[among] == one):.0f} %' for one in KINDS]
          holds = np.mean(((low <= gain) & (gain <= high))[among])
          cells = [f'{rows:,}', f'{labels:,}', which, words, str(among.sum()), *shares,
                   f'{100 * holds:.0f} %', f'{np.median((high - low)[among]) / 2:.2f}']
          out.append(f'| {" | ".join(cells)} |')
  error = np.median([line['error'] for line in lines])
  return '\n'.join([*out, '', f'Standard error of a true gain: {error:.2f} points (median).'])


def kept(path: pathlib.Path) -> list[dict]:
  """Finished lines, but for those of an earlier search, which knew no folds."""
  return [row for row in drawn.read(path) if 'folds' in row]


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add('--folder', type=pathlib.Path, required=True)
  add('--settings', type=int, default=100)
  add('--rows', default='2000,8000', help='ROWS or ROWS/LABELS, with commas')
  add('--effort', type=int, default=1)
  add('--json', type=pathlib.Path)
  add('--markdown', type=pathlib.Path)
  asked = parser.parse_args()
  asked.folder.mkdir(parents=True, exist_ok=True)
  path = asked.folder / 'decisions.jsonl'
  done = {(row['index'], row['rows'], row['labels'], row['effort']) for row in kept(path)}
  for index in range(asked.settings):
    for one in asked.rows.split(','):
      rows, labels = (int(n) for n in (one.split('/') * 2)[:2])
      if (index, rows, labels, asked.effort) not in done:
        with devices.few_threads():
          found = decided(index, rows, labels, asked.effort)
        with path.open('a') as out:
          out.write(json.dumps(found) + '\n')
        print(found, file=sys.stderr)
  lines = [row for row in kept(path) if row['effort'] == asked.effort]
  print(table(lines))
  if asked.markdown:
    asked.markdown.write_text(table(lines) + '\n')
  if asked.json:
    rows = ',\n'.join(json.dumps(line) for line in lines)
    asked.json.write_text(f'{{"fresh": {FRESH}, "seeds": {SEEDS}, "decisions": [\n{rows}]}}\n')


if __name__ == '__main__':
  main()
