"""What a report says of encoders that are kept."""

import pathlib

import numpy as np

from mmalign_jax.fitted import reading
from mmalign_jax.fitted.calibrate import Calibration
from mmalign_jax.fitted.model import Fitted, strengths
from mmalign_jax.reports import document
from mmalign_jax.reports.document import Section, Table, Words

_READING = (
    'temperature: what the logits are divided by, so that probabilities are those of held-out '
    'rows; above 1 the encoder was too sure. together: the mean of the probabilities of the views '
    'that a row has, calibrated again; all at once: a head on their embeddings, for rows that have '
    'all views. residual: root mean square error to expect, in units of the label.')


def sections(workdir: pathlib.Path) -> list[Section]:
  """The encoders of a work folder: a row each, their settings, and how they are used."""
  fitted = reading.load(workdir)
  return [
      Section('Encoders kept', [table(fitted), Words(_READING), Words(
          f'mmalign embed {workdir} NEW.npz --view={fitted.names[0]} --out=z.npy '
          '--predictions=said.csv')], said=False),
      document.settings({name: value for name, value in fitted.settings.items()
                         if value is not None}, 'Settings of the encoders')]


def table(fitted: Fitted) -> Table:
  """A row for each encoder, and one for all together."""
  what = 'temperature' if fitted.classes else 'residual'
  rows = [[view.name, f'{lam:g}', ' x '.join(map(str, view.shape)), *_calibrated(
      view.calibration, what)] for view, lam in zip(fitted.views, strengths(fitted))]
  if len(rows) > 1:
    rows.append(['together', '-', '-', *_calibrated(fitted.together, what)])
  if fitted.head is not None:
    rows.append(['all at once', '-', '-', *_calibrated(fitted.joint, what)])
  return Table(['view', 'strength', 'features', what, 'rows', 'calibrated by'], rows, left=(0, 5))


def _calibrated(own: Calibration, what: str) -> tuple[str, str, str]:
  value = getattr(own, what)
  return '-' if not np.isfinite(value) else f'{value:.3g}', str(own.n), own.how
