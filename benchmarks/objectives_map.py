"""What every objective gains over strengths that mean the same: a table for the generator `bits`.

  python benchmarks/objectives_map.py --workdir=DIR [--only=info_nce,vicreg] [--table=FILE]

Runs configs/strength.py for each objective with lam_mode=share (lam is the length of the
alignment's gradient on an encoder over that of its task) at 0, 4 and 8 shared bits, 10 seeds; what
DIR holds already is not run again. Half a minute each on two cores.
"""

import argparse
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mmalign_jax import losses  # noqa: E402

SETTINGS = {'redundancy': '(0, 4, 8)', 'lam': '(0., 0.1, 0.3, 1., 3.)', 'lam_mode': "('share',)"}
NAMES = [name for name in losses.LOSSES if not name.startswith('streaming')]


def run(loss: str, folder: pathlib.Path) -> list[dict]:
  """The summary of one objective."""
  if not (folder / 'summary.json').exists():
    subprocess.run(
        [sys.executable, str(ROOT / 'launch/sweep.py'), f'--workdir={folder}', '--nofigures',
         f'--config={ROOT}/configs/strength.py', f'--config.loss={loss}',
         *(f'--config.{name}={value}' for name, value in SETTINGS.items())], check=True)
  return json.loads((folder / 'summary.json').read_text())


def table(found: dict[str, list[dict]]) -> str:
  """Best strength and gain in points with its interval, chosen without the seed that is judged."""
  lines = ['| objective | shared bits | encoder | at lam 0 | best lam | gain | at lam 3 |',
           '|---|---|---|---|---|---|---|']
  for loss, rows in found.items():
    for row in rows:
      low, high = (100 * v for v in row['gain_interval'])
      lines.append(
          f'| {loss} | {row["redundancy"]:g} | {row["encoder"]} | '
          f'{100 * row["accuracy_at_lowest"]:.1f} | {row["best_lam"]:g} | '
          f'{100 * row["gain"]:+.1f} [{low:+.1f}, {high:+.1f}] | '
          f'{100 * row["accuracy_at_highest"]:.1f} |')
  return '\n'.join(lines) + '\n'


def main(args) -> None:
  found = {loss: run(loss, args.workdir / loss) for loss in args.only or NAMES}
  text = table(found)
  print(text)
  if args.table:
    args.table.write_text(text)


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  parser.add_argument('--only', type=lambda text: text.split(','))
  parser.add_argument('--table', type=pathlib.Path)
  main(parser.parse_args())
