"""mmalign merge: joins the shards of a study that ran apart."""

import pathlib

from mmalign_jax.cli import Parser
from mmalign_jax.runs.damage import at_the_end


def run(argv: list[str]) -> None:
  """Checks that every cell is there once, writes the whole study, and answers it."""
  parser = Parser('mmalign merge', description=(
      'Joins folders of `--shard=i/n` runs; refuses overlapping and missing cells by name.'))
  parser.add_argument('folders', nargs='+', metavar='DIR', help='folder of one shard')
  parser.add_argument('--workdir', help='folder of the whole study; default: merged, beside the '
                      'first DIR')
  parser.add_argument('--nofigures', action='store_true', help='draw no pictures')
  asked = parser.parse_args(argv)
  out = asked.workdir or pathlib.Path(asked.folders[0]).resolve().parent / 'merged'
  for folder in asked.folders:
    if not (pathlib.Path(folder) / 'config.json').exists():
      raise FileNotFoundError(f'{folder}: no study there (config.json is missing)')
  from mmalign_jax.studies import registry  # slow to import: what is refused comes first
  with at_the_end():
    answer = registry.merge(asked.folders, out, figures=not asked.nofigures)
  print(answer)
