"""How many labelled test rows a decision needs: the settings of the predictor, finite test sets.

  python benchmarks/predictor_rows.py --folder=DIR [--first=0] [--settings=204] [--table=FILE] \
      [--json=FILE] [--markdown=FILE]

An owner has the pairs and labels of a setting (`predictor_settings`, split test) and T labelled
rows besides. SEEDS encoders are trained on the pairs at every strength, nothing tuned, as the
settings of the predictor are. The strength is the predicted one, by features of the same pairs, and
all T rows decide by the rule of `mmalign advise`; or half of the rows choose it, and the other half
decides. The true gain is that of the same encoders on TRUTH other rows: of the strength that all
TESTED rows find the best, 0 among them, to say what there is to gain, of the advised one to say
what advice is worth. A file a setting is written
into DIR/rows; the same command goes on. Some 8 s apiece on two cores, 1 s more to decide.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
import functools
import json
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

from predictor_judge import HARM, NOTHING, WORTH, nearest  # noqa: E402
import predictor_settings as drawn  # noqa: E402

from mmalign_jax import Hyper, Spec, named, objective, rng  # noqa: E402
from mmalign_jax.advice import features, predictor  # noqa: E402
from mmalign_jax.data.pair_source import PairTables  # noqa: E402
from mmalign_jax.data.sources import SOURCES  # noqa: E402
from mmalign_jax.runs import devices  # noqa: E402
from mmalign_jax.studies.advise import decision, gains  # noqa: E402
from mmalign_jax.training.sweep import make_tables, stack, train_cell  # noqa: E402

TRUTH, TESTED = 20_000, 20_000  # rows that say what is true, and rows that decide at most
SEEDS = 4
CHUNK = 6                       # encoders of one program
FIRST_SEED = 30_000_000         # of an owner's pairs
SIZES = (500, 2_000, 5_000, 10_000, 20_000)
LAM = np.array(drawn.LAM)
KINDS = (decision.ALIGN, decision.LEAVE, decision.UNKNOWN)
POLICIES = ('predicted', 'chosen by half')


# -- training --------------------------------------------------------------------------------------


Judged = tuple[tuple[jax.Array, ...], jax.Array]  # views [T, 12], classes [T]


def owned(index: int) -> tuple[PairTables, Judged]:
  """The pairs of a setting, and rows to judge by."""
  setting = drawn.drawn('test', index)
  source = SOURCES[drawn.spec_of(setting).generator]
  tables = make_tables(Spec(generator=f'few_pairs_of_{setting["generator"]}'))
  hyper = Hyper(seed=FIRST_SEED + index, **drawn.traced(setting))
  key = lambda name: rng.stream(np.uint32(FIRST_SEED + index), name)
  own = source.draw(tables, hyper, key('data'), drawn.MOST)
  fresh = source.draw(tables, hyper, key('test'), TRUTH + TESTED)
  x, judged = (source.inputs(tables, hyper, of.rows) for of in (own, fresh))
  row = jnp.arange(drawn.MOST)
  few = tuple((z[:1], own.y[:1], row[:1]) for z in x)  # judged here, not by the sweep
  pairs = PairTables(
      tuple(x), (row < hyper.n_train,) * len(x), own.y, row < own.n_labelled,
      tuple(jnp.ones(z.shape[1]) for z in x), few, few, tuple(z[:1] for z in x), own.y[:1],
      row[:1], 1, 1, drawn.CLASSES[setting['generator']])
  return pairs, (tuple(judged), fresh.y)


def seen(index: int) -> tuple[list[np.ndarray], np.ndarray]:
  """What the owner has: views [N, 12], and classes [N], -1 where there is no label."""
  pairs, _ = owned(index)
  has = np.asarray(pairs.present[0])
  views = [np.asarray(x, np.float64)[has] for x in pairs.x]
  return views, np.where(np.asarray(pairs.labelled), np.asarray(pairs.y), -1)[has]


@functools.lru_cache(maxsize=None)
def program(depth: int, classes: int):
  """(hypers [R], pairs, judged) -> [R, 2, T] bool: which rows each encoder tells right."""
  spec = Spec(generator='pairs', task='cross_entropy', depth=depth, batch_size=128, steps=400,
              max_train=drawn.MOST, n_align=16)
  modules = objective.modules(spec, classes, 2)

  def right(hyper, pairs, judged):
    params, (views, y) = train_cell(hyper, pairs, spec=spec), judged
    guesses = [objective.outputs(module, params[f'side_{i}'], x).prediction.argmax(axis=1)
               for i, (module, x) in enumerate(zip(modules, views), start=1)]
    return jnp.stack(guesses) == y

  return jax.jit(jax.vmap(right, in_axes=(0, None, None)))


def trained(index: int) -> dict[str, np.ndarray]:
  """true [L, S, 2]: accuracies on the rows that say what is true; tested [L, 2, T]: of the other
  rows, by how many of the seeds each is told right."""
  setting = drawn.drawn('test', index)
  pairs, judged = owned(index)
  run = program(setting['depth'], drawn.CLASSES[setting['generator']])
  lam, seed = np.repeat(LAM, SEEDS), np.tile(np.arange(SEEDS), len(LAM))

  def work(part: np.ndarray) -> np.ndarray:
    hypers = named.hyper(lam=lam[part], seed=seed[part], n_labelled=0, n_pairs=0, components=0,
                         train_steps=400)
    return np.asarray(run(stack(hypers, len(part)), pairs, judged))

  with ThreadPoolExecutor(devices.cores()) as pool:
    found = list(pool.map(work, np.split(np.arange(len(lam)), len(lam) // CHUNK)))
  right = np.concatenate(found).reshape(len(LAM), SEEDS, 2, -1)
  return {'true': right[..., :TRUTH].mean(axis=-1),
          'tested': right[..., TRUTH:].sum(axis=1, dtype=np.uint8)}


# -- decisions -------------------------------------------------------------------------------------


def decided(index: int, held: dict[str, np.ndarray], table: predictor.Table) -> list[dict]:
  """A line for each encoder, number of test rows and policy."""
  known = features(*seen(index)) | {'encoder_depth': drawn.drawn('test', index)['depth']}
  lines = []
  for e in (0, 1):
    true = 100 * (held['true'][:, :, e] - held['true'][:1, :, e])
    found = predictor.of_table(table, known, e + 1)
    curve, _ = predictor.curves(table, predictor.scaled(
        table, predictor.inputs(known, e + 1, table.names))[None])
    told = predictor.told_of(curve[0], nearest(table.lam, found.lam))
    to_gain = true[held['tested'][:, e].mean(axis=1).argmax()].mean()
    for size in SIZES:
      tested = held['tested'][:, e, :size] / SEEDS
      half = tested.shape[1] // 2
      best = 1 + int(tested[1:, :half].mean(axis=1).argmax())
      for policy, at, judged in zip(POLICIES, (told, best), (tested, tested[:, half:])):
        gain = gains.gain([judged[0]], [judged[at]], [np.ones(judged.shape[1])], at_hand=True)
        low, high = gain.interval or (np.nan, np.nan)
        lines.append({'index': index, 'encoder': e + 1, 'rows': size, 'policy': policy,
                      'kind': decision.kind_of(gain), 'to gain': to_gain,
                      'of advice': true[at].mean(), 'half': 50 * (high - low),
                      'held': bool(100 * low <= true[at].mean() <= 100 * high)})
  return lines


GROUPS = (('gain above 1', lambda gain: gain > WORTH), ('below 0.25', lambda gain: gain < NOTHING),
          ('0 or below', lambda gain: gain <= 0))
OF = {'to gain': 'at the best strength', 'of advice': 'at the advised one'}


def markdown(lines: list[dict]) -> str:
  """Rates by policy and number of rows, and by what is truly to gain, two ways."""
  out = []
  for name, words in OF.items():
    out += [f'| true gain {words} (points) | strength | test rows | encoders | align | do not | '
            'cannot tell |', '|' + 7 * '---|']
    for group, inside in GROUPS:
      for policy in POLICIES:
        for size in SIZES:
          kind = np.array([row['kind'] for row in lines if (row['rows'], row['policy']) == (
              size, policy) and inside(row[name])])
          shares = [f'{100 * np.mean(kind == one):.1f} %' if len(kind) else '-' for one in KINDS]
          out.append(f'| {" | ".join([group, policy, f"{size:,}", str(len(kind)), *shares])} |')
    out.append('')
  out += ['| strength | test rows | harmful, of all | interval holds | median half width |',
          '|' + 5 * '---|']
  for policy in POLICIES:
    for size in SIZES:
      of = [row for row in lines if (row['rows'], row['policy']) == (size, policy)]
      harm = np.mean([row['kind'] == decision.ALIGN and row['of advice'] < -HARM for row in of])
      held = np.mean([row['held'] for row in of])
      half = np.median([row['half'] for row in of])
      out.append(f'| {policy} | {size:,} | {100 * harm:.1f} % | {100 * held:.1f} % | {half:.2f} |')
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
