"""What the comparison answers: the best of each objective, who wins where, and what each erases."""

from collections.abc import Iterator, Mapping, Sequence
import json
import pathlib
from typing import Any

import numpy as np
from scipy import special
import xarray as xr

from mmalign_jax.reports import document
from mmalign_jax.reports.document import Document, Picture, Section, Words
from mmalign_jax.reports.statistics import LEVEL
from mmalign_jax.studies.objectives import atoms, atoms_report, beside, headline, tables
from mmalign_jax.studies.objectives.run import SET
from mmalign_jax.studies.objectives.tables import OBJECTIVE
from mmalign_jax.studies.strength import references, report as strength, scores
from mmalign_jax.studies.strength.curves import Curve, curves, is_exact, similarity
from mmalign_jax.studies.strength.optimum import cross_fitted, optimum

_READING = (
    'gain: test accuracy at the best strength minus that at strength 0, in points; every seed (and '
    'part of the test set) is judged at the strength that the others choose. The first interval is '
    'of 95 % for one objective; the second holds for all objectives at once (Bonferroni, by '
    'Student\'s t). best of all: objective and strength together are what the other seeds choose, '
    'so that its interval pays for choosing among objectives, not among settings. CKA: debiased, '
    'of unseen pairs, at the best strength. Settings, where they are tuned, are those that are '
    'best at strength 0.')
_BESIDE = (
    'PCA, CCA, PLS: a ridge on principal components, or on canonical directions, or on directions '
    'of largest covariance, of all pairs; same labels, splits and validation rows. Gains of the '
    'last two are over the first.')
_ERASED = (
    'change of the balanced accuracy (points, 95 % t interval over seeds) with which a linear '
    'probe of the last hidden layer reads the bits of a factor, at the highest strength against '
    '0.')
PICTURES = {
    'gain': 'Gain of every objective, in points, by setting and encoder; a star where the interval '
            'for all objectives at once excludes 0.',
    'similarity': 'Accuracy against debiased CKA of unseen pairs, a line per objective through its '
                  'strengths.',
    'erased': 'Change of what a probe reads of each factor, in points, at the highest strength.',
    'linear': 'Gain of every objective against that of a linear method on the same splits, in '
              'points.'}


def summarise(found: Mapping[str, xr.Dataset], *, resamples: int) -> list[dict[str, Any]]:
  """An entry for every set, setting, objective and encoder, as of a study of strength, and: `set`,
  `cka` at the best strength, `gain_interval_of_all` for all objectives at once, `linear`."""
  entries = []
  for label, dataset in found.items():
    for entry in strength.summarise(dataset, resamples=resamples):
      point = {name: entry[name] for name in settings(dataset)} | {OBJECTIVE: entry[OBJECTIVE]}
      entry['gain_interval_of_all'] = of_all(
          entry['gain'], entry['gain_interval'], entry['seeds'], dataset.sizes[OBJECTIVE])
      entry['cka'] = _cka(dataset, point, entry)
      entry['linear'] = references.gains(dataset, entry, entry['encoder'])
      entries.append(({SET: label} if label else {}) | entry)
  return entries


def settings(dataset: xr.Dataset) -> list[str]:
  """Dimensions that are neither objective, strength, seed nor encoder."""
  return [name for name in map(str, dataset['accuracy_1'].dims)
          if name not in (OBJECTIVE, 'lam', 'seed')]


def of_all(gain: float | None, ends: Sequence[float] | None, n_seeds: int,
           n_objectives: int) -> list[float] | None:
  """A 95 % interval widened to hold for all objectives at once."""
  if gain is None or ends is None:
    return None
  tail = (1 - LEVEL) / 2
  wider = float(np.divide(*special.stdtrit(n_seeds - 1, [1 - tail / n_objectives, 1 - tail])))
  return [gain + wider * (end - gain) for end in ends]


def _cka(dataset: xr.Dataset, point: Mapping[str, Any], entry: Mapping[str, Any]) -> float | None:
  if entry['best_lam'] is None:
    return None
  cell = dataset.sel(point).sel(lam=entry['best_lam'])
  value = float(similarity(cell, entry['encoder']).mean())
  return value if np.isfinite(value) else None


def winners(found: Mapping[str, xr.Dataset], *, resamples: int) -> list[dict[str, Any]]:
  """Of every set, setting and encoder: the objective and strength of the highest accuracy, and what
  choosing both gains, cross-fitted; beside every linear method, where there are any."""
  entries = []
  for label, dataset in found.items():
    for setting, group in _groups(dataset):
      names, accuracy = _candidates(group)
      best = optimum(np.arange(len(accuracy), dtype=float), accuracy, n_boot=resamples,
                     exact=is_exact(dataset))
      if best.best_lam is None:
        continue
      objective, lam = names[int(best.best_lam)]
      entry = ({SET: label} if label else {}) | setting | {
          'encoder': group[0].encoder, 'objective': objective, 'best_lam': lam,
          'accuracy_at_lowest': float(accuracy[0].mean()), 'gain': best.gain,
          'gain_interval': best.gain_interval}
      entry['over'] = _over(accuracy, references.accuracies(dataset, setting, group[0].encoder))
      entries.append(entry)
  return entries


def _groups(dataset: xr.Dataset) -> Iterator[tuple[dict[str, Any], list[Curve]]]:
  """Curves of all objectives, by setting and encoder."""
  groups: dict[tuple, list[Curve]] = {}
  for curve in curves(dataset):
    rest = {name: value for name, value in curve.setting.items() if name != OBJECTIVE}
    groups.setdefault((*rest.items(), curve.encoder), []).append(curve)
  for key, group in groups.items():
    yield dict(key[:-1]), group


def _candidates(group: Sequence[Curve]) -> tuple[list[tuple[str, float]], np.ndarray]:
  """(objective, strength) and accuracy [1 + ..., S, F] of all, strength 0 first and once."""
  names = [('-', 0.0)] + [(str(curve.setting[OBJECTIVE]), float(lam))
                          for curve in group for lam in curve.lam[1:]]
  return names, np.concatenate([group[0].accuracy[:1], *(curve.accuracy[1:] for curve in group)])


def _over(accuracy: np.ndarray, linear: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
  """What the cross-fitted winner has more than a linear method on the same seeds and folds."""
  found = {}
  if not np.isfinite(accuracy).all() or accuracy.shape[1] < 2:
    return found
  mine = accuracy[0] + cross_fitted(accuracy)
  for method, values in linear.items():
    if values.shape == mine.shape:
      found[method] = references.more(mine, values)
  return found


# -- the whole -------------------------------------------------------------------------------------


def write(found: Mapping[str, xr.Dataset], folder: pathlib.Path, *, resamples: int,
          figures: bool) -> str:
  """Writes summary.json, winners.json, atoms.json where there are atoms and, with figures, figures/
  and report.html into `folder`; the answer as text."""
  made, files = compose(found, folder / 'figures' if figures else None, resamples=resamples)
  document.keep(made, folder, files, page=figures)
  return document.text(made)


def compose(found: Mapping[str, xr.Dataset], figures: pathlib.Path | None, *,
            resamples: int) -> tuple[Document, dict[str, Any]]:
  """The report, and what its JSON files hold by name; pictures are drawn into `figures`, if any."""
  entries = summarise(found, resamples=resamples)
  best = winners(found, resamples=resamples)
  told = beside.predictions(entries)
  pairs = atoms_of(found)
  trends = atoms.trends(entries, pairs, [name for name in shown(found) if name != SET],
                        resamples=resamples)
  files: dict[str, Any] = {'summary.json': entries, 'winners.json': best}
  if pairs:
    files['atoms.json'] = atoms_report.content(pairs, trends)
  pictures = []
  if figures:
    from mmalign_jax.studies.objectives.figures import draw_all  # Matplotlib is slow to import
    pictures = draw_all(found, entries, told, figures)
    if pairs:
      from mmalign_jax.studies.objectives import atoms_figures  # as above
      pictures += atoms_figures.draw(found, trends, pairs, figures)
  return as_document(found, entries, best, told, pictures, pairs, trends), files


def as_document(found: Mapping[str, xr.Dataset], entries: list[dict[str, Any]],
                best: list[dict[str, Any]], told: Sequence[beside.Prediction],
                pictures: Sequence[pathlib.Path], pairs: Mapping[str, Mapping[str, Any]],
                trends: Sequence[atoms.Trend]) -> Document:
  """The report."""
  names = shown(found)
  first = next(iter(found.values()))
  diverged = sum(int(dataset['diverged'].sum()) for dataset in found.values())
  erased = [entry for entry in entries if tables.last(entry)]
  return Document(f'Which objective, how strongly: {first.attrs["name"]}', [
      Section('Who wins where', [tables.winner_table(best, names)]),
      Section('The best of each objective', [tables.best_table(entries, names), Words(_READING), *(
          [Words(f'{diverged} trainings diverged')] if diverged else [])]),
      *scores.sections(entries, [*names, OBJECTIVE]),
      *atoms_report.sections(pairs, trends, names),
      *([Section('What each erases', [tables.erased_table(erased, names), Words(_ERASED)])]
        if erased else []),
      *([Section('Does a linear method tell?', [tables.prediction_table(told), Words(_BESIDE)])]
        if told else []),
      *([Section('Pictures', [Picture(
          path, PICTURES.get(path.stem) or atoms_report.words(path)) for path in pictures])]
        if pictures else []),
      *document.provenance(first.attrs)], headline.sentences(best, names),
      headline.numbers(best, found, names))


def atoms_of(found: Mapping[str, xr.Dataset]) -> dict[str, dict[str, Any]]:
  """{set: its information atoms}, of those that have some."""
  made = {label: json.loads(dataset.attrs.get(atoms.ATTRIBUTE, '{}'))
          for label, dataset in found.items()}
  return {label: own for label, own in made.items() if own}


def shown(found: Mapping[str, xr.Dataset]) -> list[str]:
  """Names of what varies: the set, and dimensions of more than one value in any of them."""
  names = dict.fromkeys(name for dataset in found.values() for name in settings(dataset)
                        if dataset.sizes[name] > 1)
  return [*([SET] if len(found) > 1 else []), *names]
