"""How many labelled test rows a decision needs: the settings of the predictor, finite test sets.

  python benchmarks/predictor_rows.py --folder=DIR [--first=0] [--settings=204] [--table=FILE] \
      [--json=FILE] [--markdown=FILE]

An owner has the pairs and labels of a setting (`predictor_settings`, split test) and T labelled
rows besides. SEEDS encoders are trained on the pairs at every strength, nothing tuned, as the
settings of the predictor are. The strength is the predicted one, known before any training, and all
T rows decide by the rule of `mmalign advise`; or half of the rows choose it, and the other half
decides. The true gain is that of the same encoders on TRUTH other rows: of the best strength to say
what there is to gain, of the advised one to say what advice is worth. A file a setting is written
into DIR/rows; the same command goes on. Some 8 s apiece on two cores.
"""

import argparse
import functools
import json
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

from predictor_fit import by_others  # noqa: E402
from predictor_judge import HARM, NOTHING, WORTH, nearest  # noqa: E402
import predictor_settings as drawn  # noqa: E402

from mmalign_jax import Hyper, Spec, rng  # noqa: E402
from mmalign_jax.advice import features, predictor  # noqa: E402
from mmalign_jax.data.pairs import Pairs  # noqa: E402
from mmalign_jax.data.sources import SOURCES  # noqa: E402
from mmalign_jax.runs import devices  # noqa: E402
from mmalign_jax.studies.advise import decision, folds, gains  # noqa: E402
from mmalign_jax.studies.advise.cells import Arm, Job, Trainer  # noqa: E402
from mmalign_jax.training.sweep import make_tables  # noqa: E402

TRUTH, TESTED = 20_000, 20_000  # rows that say what is true, and rows that decide at most
BLOCK = 25                      # rows whose accuracy is one number
SEEDS = 4
SIZES = (500, 2_000, 5_000, 20_000)
LAM = np.array(drawn.LAM)
KINDS = (decision.ALIGN, decision.LEAVE, decision.UNKNOWN)
POLICIES = ('predicted', 'chosen by half')


# -- training --------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def trainer(depth: int) -> Trainer:
  """One for all settings of a depth."""
  total = drawn.MOST + TRUTH + TESTED
  return Trainer(Spec(generator='pairs', task='cross_entropy', depth=depth, batch_size=128,
                      steps=400, max_train=total, n_align=8, neighbors=3, fusion='frozen'),
                 devices.cores())


def owned(index: int) -> Pairs:
  """Pairs of a setting, room up to MOST, then the rows that test."""
  setting = drawn.drawn('test', index)
  source = SOURCES[drawn.spec_of(setting).generator]
  tables = make_tables(Spec(generator=f'few_pairs_of_{setting["generator"]}'))
  seed = 30_000_000 + index
  of = lambda key, n, **more: source.draw(
      tables, Hyper(seed=seed, **drawn.traced(setting) | more), rng.stream(np.uint32(seed), key), n)
  own, fresh = of('data', drawn.MOST), of('test', TRUTH + TESTED, n_train=0, n_labelled=0)
  hyper = Hyper(seed=seed, **drawn.traced(setting))
  views = tuple(np.concatenate(both) for both in zip(*(
      [np.asarray(x, np.float64) for x in source.inputs(tables, hyper, one.rows)]
      for one in (own, fresh))))
  y = np.concatenate([np.asarray(one.y) for one in (own, fresh)]).astype(np.int32)
  row = np.arange(len(y))
  has = (row < setting['n_train']) | (row >= drawn.MOST)
  labelled = (row < int(np.asarray(own.n_labelled))) | (row >= drawn.MOST)
  classes = tuple(map(str, range(drawn.CLASSES[setting['generator']])))
  return Pairs('', ('x1', 'x2'), views, (has, has), y, labelled, classes)


def trained(index: int) -> dict[str, np.ndarray]:
  """true [L, S, 2]: accuracies on the rows that say what is true; tested [L, 2, B]: on blocks of
  the others, the mean over seeds."""
  pairs = owned(index)
  test = np.arange(drawn.MOST, drawn.MOST + TRUTH + TESTED)
  blocks = len(test) // BLOCK
  shape = folds.Shape(tuple(x.shape[1] for x in pairs.views), len(test), blocks)
  of = folds.round_of(pairs, np.arange(len(pairs.y)), test, shape)
  tables = folds.tables(of, of.train, test, np.arange(len(test)) // BLOCK, shape)
  jobs = [Job(0, Arm('info_nce', float(lam), 0, 1e-2, 5e-3, 400), seed)
          for lam in LAM for seed in range(SEEDS)]
  found = trainer(drawn.drawn('test', index)['depth']).run([tables], jobs)
  found = np.nan_to_num(found[:, :2, :blocks]).reshape(len(LAM), SEEDS, 2, blocks)
  at = TRUTH // BLOCK
  return {'true': found[..., :at].mean(axis=-1), 'tested': found[..., at:].mean(axis=1)}


# -- decisions -------------------------------------------------------------------------------------


def decided(index: int, held: dict[str, np.ndarray], table: predictor.Table) -> list[dict]:
  """A line for each encoder, number of test rows and policy."""
  known = features(*drawn.samples('test', index)) | {
      'encoder_depth': drawn.drawn('test', index)['depth']}
  lines = []
  for e in (0, 1):
    true = 100 * (held['true'][:, :, e] - held['true'][:1, :, e])
    found = predictor.of_table(table, known, e + 1)
    curve, _ = predictor.curves(table, predictor.scaled(
        table, predictor.inputs(known, e + 1, table.names))[None])
    told = predictor.told_of(curve[0], nearest(table.lam, found.lam))
    for size in SIZES:
      tested = held['tested'][:, e, :size // BLOCK]
      half = tested.shape[1] // 2
      best = 1 + int(tested[1:, :half].mean(axis=1).argmax())
      for policy, at, judged in zip(POLICIES, (told, best), (tested, tested[:, half:])):
        weight = np.full(judged.shape[1], BLOCK)
        gain = gains.gain([judged[0]], [judged[at]], [weight])
        low, high = gain.interval or (np.nan, np.nan)
        lines.append({'index': index, 'encoder': e + 1, 'rows': size, 'policy': policy,
                      'kind': decision.kind_of(gain), 'to gain': by_others(true).mean(),
                      'of advice': true[at].mean(), 'half': 50 * (high - low),
                      'held': bool(100 * low <= true[at].mean() <= 100 * high)})
  return lines


HEAD = ('| strength | test rows | gain above 1: align | do not | cannot tell | gain below 0.25: '
        'do not | align | cannot tell | harmful, of all | interval holds | median half width |')


def markdown(lines: list[dict]) -> str:
  """Rates by policy and number of rows."""
  column = lambda rows, name: np.array([row[name] for row in rows])
  gain = column([row for row in lines if (row['rows'], row['policy']) == (SIZES[0], POLICIES[0])],
                'to gain')
  out = [f'{len(gain)} encoders, {(gain > WORTH).sum()} with more than {WORTH:g} point to gain, '
         f'{(gain < NOTHING).sum()} with less than {NOTHING:g}.', '', HEAD, '|' + 11 * '---|']
  for policy in POLICIES:
    for size in SIZES:
      of = [row for row in lines if (row['rows'], row['policy']) == (size, policy)]
      kind, gain, worth = (column(of, name) for name in ('kind', 'to gain', 'of advice'))
      shares = [f'{100 * np.mean(kind[among] == KINDS[i]):.1f} %' for among, order in (
          (gain > WORTH, (0, 1, 2)), (gain < NOTHING, (1, 0, 2))) for i in order]
      harm = np.mean((kind == decision.ALIGN) & (worth < -HARM))
      out.append('| ' + ' | '.join([policy, f'{size:,}', *shares, f'{100 * harm:.1f} %',
                                    f'{100 * column(of, "held").mean():.1f} %',
                                    f'{np.median(column(of, "half")):.2f}']) + ' |')
  return '\n'.join(out) + '\n'


def main() -> None:
  parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
  add = parser.add_argument
  add('--folder', type=pathlib.Path, required=True)
  add('--first', type=int, default=0, help='number of the first setting')
  add('--settings', type=int, default=204)
  add('--table', type=pathlib.Path, help='of the predictor; that of the package if not given')
  add('--json', type=pathlib.Path)
  add('--markdown', type=pathlib.Path)
  asked = parser.parse_args()
  folder = asked.folder / 'rows'
  folder.mkdir(parents=True, exist_ok=True)
  table = predictor.load(asked.table.read_text()) if asked.table else predictor.shipped()
  lines = []
  numbers = range(asked.first, asked.first + asked.settings)
  for index in sorted(numbers, key=lambda i: i % 3):  # settings of one depth after another
    path = folder / f'{index}.npz'
    if not path.exists():
      with devices.few_threads():
        made = trained(index)
      with path.with_suffix('.part').open('wb') as out:
        np.savez_compressed(out, **{name: np.round(x, 6) for name, x in made.items()})
      path.with_suffix('.part').rename(path)
    with np.load(path) as held:
      lines += decided(index, dict(held), table)
  text = markdown(lines)
  print(text)
  if asked.markdown:
    asked.markdown.write_text(text)
  if asked.json:
    rows = ',\n'.join(json.dumps(line) for line in lines)
    asked.json.write_text(f'{{"seeds": {SEEDS}, "decisions": [\n{rows}]}}\n')


if __name__ == '__main__':
  main()
