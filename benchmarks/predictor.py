"""The predictor of the best strength: drawn, trained, fitted, calibrated and judged.

  python benchmarks/predictor.py train --folder=DIR [--settings=2400,204,408]
  python benchmarks/predictor.py features --folder=DIR
  python benchmarks/predictor.py judge --folder=DIR [--table=mmalign_jax/advice/table.json] \
      [--json=FILE] [--markdown=FILE] [--figure=FILE] [--first=0] [--shipped]

`train` trains every setting at 9 strengths and appends to DIR/curves.jsonl, `features` measures
what an owner of a sample of each would (DIR/features.jsonl); both go on where a kill left them, and
may be ended at any time. `judge` fits the table to the training settings, its margins to those of
calibration, and says what it is worth on the test settings, from number `first` on; with --shipped
the package's own table is judged, for which test settings (--settings=0,0,408) are enough. A
training takes about 0.1 s on two cores.
"""

import argparse
import json
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

import predictor_fit as fit  # noqa: E402
import predictor_judge as judged  # noqa: E402
import predictor_settings as settings  # noqa: E402

from mmalign_jax.advice import predictor  # noqa: E402

LAM = np.array(settings.LAM)
RULE = 0.2  # factor of the rule `redundancy share` that was best where the shipped table was fitted


def judge(args) -> None:
  rows = settings.known(args.folder)
  rows['test'] = [row for row in rows['test'] if row['index'] >= args.first]
  data = {split: fit.curves(part) for split, part in rows.items() if part}
  if args.shipped:
    table, chosen, c = predictor.shipped(), {}, RULE
  else:
    table, shape, chosen = fit.fitted(data['train'], LAM)
    table = fit.calibrated(table, data['calibration'], data['train'], shape)
    table = predictor.load(predictor.dump(table))  # as shipped
    train = data['train']
    c = judged.slope(rows['train'], train.gain(), train.seeds() / train.seeds().sum(), LAM)
  gain = [100 * (one - one[:1])[:, np.isfinite(one[0])] for one in data['test'].accuracy]
  found, told = judged.predictions(table, rows['test'])
  index = lambda values: np.array([judged.nearest(LAM, value) for value in values])
  policies = {'predicted': index([p.lam for p in found]),
              **{name: index([lam] * len(gain)) for name, lam in judged.ALWAYS.items()},
              'redundancy share': index([c * judged.share(row, encoder)
                                         for row in rows['test'] for encoder in (1, 2)])}
  result = {
      'settings': {split: len(part) for split, part in rows.items()},
      'seeds': {split: np.unique(of.seeds(), return_counts=True)[0].tolist()
                for split, of in data.items()},
      'width': table.width, 'caution': table.caution, 'margin_lam': table.margin_lam,
      'margin_gain': table.margin_gain, 'align_at': table.align_at, 'leave_at': table.leave_at,
      'rule': c, 'chosen': chosen,
      'noise': noise(gain), 'regret': judged.regrets(gain, policies),
      'coverage': judged.covered(gain, LAM, found, told),
      'decisions': judged.decisions(gain, table, found)}
  text = markdown(result)
  print(text)
  if args.table:
    args.table.write_text(predictor.dump(table))
  if args.json:
    args.json.write_text(json.dumps(result, indent=1) + '\n')
  if args.markdown:
    args.markdown.write_text(text)
  if args.figure:
    figure(gain, found, policies, args.figure)


def noise(gain: list[np.ndarray]) -> float:
  """Standard error in points of a gain that is a mean over seeds, over encoders and strengths."""
  return float(np.sqrt(np.mean([one[1:].var(axis=1, ddof=1).mean() / one.shape[1]
                                for one in gain])))


def markdown(result: dict) -> str:
  """Tables of regret, coverage and decisions."""
  lines = ['| regret (points) | median, of the best | 95 % | 90th percentile | mean | median, of '
           'the best by other seeds | 90th percentile | mean |', '|---' * 8 + '|']
  for name, both in result['regret'].items():
    best, own = both['best'], both['fitted']
    low, high = best['interval'] or (float('nan'),) * 2
    lines.append(f'| {name} | {best["median"]:.2f} | [{low:.2f}, {high:.2f}] | {best["p90"]:.2f} | '
                 f'{best["mean"]:.2f} | {own["median"]:.2f} | {own["p90"]:.2f} | '
                 f'{own["mean"]:.2f} |')
  percent = lambda value: f'{100 * value:.1f}'
  lines += ['', '| advice (%) | encoders | align | do not | cannot tell |', '|---' * 5 + '|']
  for name, of in result['decisions'].items():
    if name != 'harm':
      lines.append(f'| {name} | {of["encoders"]} | ' + ' | '.join(
          percent(of[word]) for word in ('align', 'do not', 'cannot tell')) + ' |')
  harm, cover = result['decisions']['harm'], result['coverage']
  lines += ['', f'Advised to align, and more than half a point lost: {percent(harm["share"])} % of '
            f'all, {percent(harm["of align"])} % of those.', '',
            f'Intervals hold the best strength in {percent(cover["lam"])} % (median width '
            f'{cover["lam_width"]:g}) and the gain in {percent(cover["gain"])} % (median width '
            f'{cover["gain_width"]:.1f} points). Standard error of a gain: '
            f'{result["noise"]:.2f} points.']
  return '\n'.join(lines) + '\n'


def figure(gain, found, policies, path: pathlib.Path) -> None:
  """Regret of every policy as a distribution, and predicted beside found gain."""
  from mmalign_jax.reports import style
  mean = np.array([one.mean(axis=1) for one in gain])
  each = np.arange(len(mean))
  drawn, axes = style.grid(9, 3.6, ncols=2)
  left, right = axes[0]
  for name, at in policies.items():
    regret = np.sort(mean.max(axis=1) - mean[each, at])
    left.plot(regret, np.linspace(0, 100, len(regret)), label=name)
  left.set(xlim=(0, 6), xlabel='regret (points)', ylabel='encoders (%)')
  left.legend()
  at = np.array([judged.nearest(LAM, p.lam) for p in found])
  right.scatter([100 * p.gain for p in found], mean[each, at], s=8, alpha=0.5)
  right.axline((0, 0), slope=1, color='grey', linewidth=1)
  right.set(xlabel='predicted gain (points)', ylabel='gain found (points)')
  style.save(drawn, path)


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
  parser.add_argument('stage', choices=('train', 'features', 'judge'))
  parser.add_argument('--folder', type=pathlib.Path, required=True)
  parser.add_argument('--settings', default='2400,204,408',
                      help='of training, calibration and test')
  parser.add_argument('--first', type=int, default=0, help='number of the first test setting')
  parser.add_argument('--shipped', action='store_true', help="judge the package's own table")
  parser.add_argument('--table', type=pathlib.Path)
  parser.add_argument('--json', type=pathlib.Path)
  parser.add_argument('--markdown', type=pathlib.Path)
  parser.add_argument('--figure', type=pathlib.Path)
  given = parser.parse_args()
  if given.stage == 'judge':
    judge(given)
  elif given.stage == 'features':
    settings.measure(given.folder)
  else:
    settings.train(given.folder, dict(zip(settings.SPLITS, map(int, given.settings.split(',')))))
