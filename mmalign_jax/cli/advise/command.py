"""mmalign advise: should these pairs be aligned, with what, how strongly?"""

import json
import sys
from typing import Any

import numpy as np

from mmalign_jax.cli import printable
from mmalign_jax.cli.advise import report
from mmalign_jax.cli.advise.request import Request
from mmalign_jax.data.pairs import Pairs
from mmalign_jax.reports import document
from mmalign_jax.reports.text import write_json
from mmalign_jax.runs import devices, folder
from mmalign_jax.studies.advise import steps, trial, work as works
from mmalign_jax.studies.advise.clock import Clock
from mmalign_jax.studies.advise.work import Work


def run(asked: Request, read: Pairs, begun: float) -> None:
  """Prints the advice on pairs, and writes DIR/summary.json and DIR/report.html.

  Args:
    read: the pairs. begun: when the command was, by `time.monotonic`.

  Raises:
    KeyboardInterrupt: the report is of what is known so far.
  """
  clock = Clock(asked.seconds, asked.effort, begun=begun)
  found, _ = works.usable(read)
  copies = works.copies_of(found)
  mark = works.fingerprint(found)
  lock = folder.claim(asked.workdir, {'command': 'advise', 'data': mark, 'seed': asked.seed})
  try:
    job = Work(found, works.units_of(found, copies), copies, asked.workdir, asked.seed, clock,
               devices.cores(), _say, mark)
    clock.before = steps.spent(job)
    try:
      steps.run(job, asked.skip)
    except KeyboardInterrupt:
      if job.partial and 'trial' not in job.results:
        job.results['decision'] = trial.decisions(job.pairs.names, job.partial)
      _tell(job, asked, finished=False)
      raise
    _tell(job, asked, finished=True)
  finally:
    lock.close()


def _say(line: str) -> None:
  print(line, file=sys.stderr, flush=True)


def _tell(job: Work, asked: Request, finished: bool) -> None:
  """Prints and writes the answer."""
  made = report.document(f'Advice on {job.pairs.where}', job.results, finished)
  summary = summarised(job, finished)
  write_json(job.folder / 'summary.json', summary)
  write_json(job.folder / 'report.json', document.content(made))  # for `mmalign report`
  document.write(job.folder / 'report.html', made)
  for note in job.pairs.notes:
    print(f'note: {printable(note)}', file=sys.stderr)
  print(json.dumps(folder.plain(summary)) if asked.as_json else printable(
      '\n'.join([*made.answer, document.text(made)])))


def summarised(job: Work, finished: bool) -> dict[str, Any]:
  """What summary.json holds: no times, so that the same command gives the same."""
  short = {name: {k: v for k, v in found.items() if k != 'rounds'}
           for name, found in job.results.items()}
  return {'data': job.pairs.where, 'views': list(job.pairs.names), 'seed': job.seed,
          'finished': finished, 'rows': len(np.asarray(job.pairs.y)), 'steps': short}
