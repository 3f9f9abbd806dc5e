"""What a study of emergence says: the table beside the paper, and each claim in a line."""

from mmalign_jax.reports import document
from mmalign_jax.reports.document import Document, Section, Table, Words
from mmalign_jax.reports.text import bracket, number
from mmalign_jax.studies.emergence.correlation import PAIRS

NAMES = {'alignment_performance': 'alignment / performance',
         'performance_depth': 'performance / depth', 'alignment_depth': 'alignment / depth'}


def text(summary: dict) -> str:
  """The summary as a reader wants it: the table beside the paper, then each claim by measure."""
  return '\n\n'.join(document.text(Document('', [Section('', [part])]))
                     for _, parts in said(summary) for part in parts)


def said(summary: dict) -> list[tuple[str, list[Table | Words]]]:
  """What there is to say, by 'published', the name of a measure, and 'training'."""
  found: list[tuple[str, list[Table | Words]]] = []
  if summary['published']:
    found.append(('published', [Table(
        ['quantity', 'U', 'published', 'ours', '95 %', 'agrees?'],
        [[r['quantity'], _whole(r['unique']), number(r['published']), number(r['ours']),
          bracket(r['interval']), _yes(r)] for r in summary['published']], left=(0, 5))]))
  for name, own in summary['measures'].items():
    found.append((name, [Words('\n'.join([f'{name}:', *('  ' + c for c in claims(own))]))]))
  last: list[Table | Words] = [Words('\n'.join(_trained(row) for row in summary['training']))]
  if summary['diverged']:
    lost = summary['diverged_untrained']
    last.append(Words(
        f'{summary["diverged"]} encoders diverged; their best epoch before that is used' + (
            f', of {lost} the untrained state, since none was good' if lost else '')))
  return [*found, ('training', last)]


def claims(own: dict) -> list[str]:
  """What is left of each claim of the paper, before and after calibration against chance."""
  falls = [r['value'] for r in own['spearman_unique']]
  after = [r['calibrated'] for r in own['spearman_unique']]
  lines = [f'maximum alignment with U: Spearman {_span(falls)} over transform depths '
           f'(at most -0.8 at {sum(v <= -0.8 for v in falls)} of {len(falls)}); '
           f'calibrated {_span(after)}']
  for name in PAIRS:
    shown = [f'U={r["unique"]} {number(r[name])} {bracket(r["spearman"][name]["interval"])}, '
             f'calibrated {number(r["spearman_calibrated"][name]["median"])}'
             for r in _ends(own['correlations'])]
    lines.append(f'{NAMES[name]}: ' + '; '.join(shown))
  lines.append('above chance (p <= 0.05): ' + ', '.join(
      f'U={r["unique"]} {100 * r["share"]:.0f} %' for r in own['above_chance']))
  return lines


def _ends(rows: list[dict]) -> list[dict]:
  return rows if len(rows) < 4 else [rows[0], rows[len(rows) // 2], rows[-2], rows[-1]]


def _trained(row: dict) -> str:
  rise = number(100 * row['last_rise'], '.2f')
  return (f'encoders of side {row["side"]}: {row["epochs"]} epochs, of which the last '
          f'{row["last_epochs"]} added {rise} points of validation accuracy; '
          f'{number(100 * row["share_of_ceiling"], ".1f", " %")} of the Bayes accuracy')


def _span(values: list[float]) -> str:
  low, high = min(values), max(values)
  return number(low) if len(values) == 1 else f'{number(low)} to {number(high)}'


def _whole(value: int | None) -> str:
  return '-' if value is None else str(value)


def _yes(row: dict) -> str:
  if row['agrees'] is None:
    return '-' if row['interval'] is None else 'too few to tell'
  return 'yes' if row['agrees'] else 'no'
