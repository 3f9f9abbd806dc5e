"""What can be said of pairs before anything is trained: a function for each step.

Each takes the `Work` and returns what goes into its JSON: numbers, and `said`, lines for people.
What cannot be said of these pairs is a ValueError with the reason.
"""

import dataclasses
from typing import Any

import numpy as np

from mmalign_jax.reports.text import bracket, points
from mmalign_jax.studies.advise.folds import JUDGED
from mmalign_jax.studies.advise.work import Work, filled

ROWS = 2000         # of which similarity, atoms and regime are taken
LINEAR_ROWS = 10_000
PERMUTATIONS = 99
MANY = 0.1          # of labels at their median that are worth a line
VALUES = 4          # quantiles of a label that is a number
CELLS = 6           # of a view, for its atoms: more take minutes where there are many classes
ALIKE = ('debiased_linear_cka', 'mutual_knn')


def data(work: Work) -> dict[str, Any]:
  """Rows, labels, what is missing, groups, copies, widths, and what was assumed."""
  from mmalign_jax.advice.features import MOST_ROWS
  pairs, n = work.pairs, len(work.pairs.y)
  known = int(pairs.labelled.sum())
  said = [f'{n:,} rows, {known:,} labelled, {int(pairs.complete.sum()):,} with all of '
          f'{", ".join(pairs.names)}']
  counts = np.bincount(pairs.y[pairs.labelled], minlength=len(pairs.classes)) if (
      pairs.classes) else np.zeros(0, int)
  if pairs.classes:
    said.append(f'{len(pairs.classes)} classes of {counts.min():,} to {counts.max():,} labels; '
                f'always the most frequent one is right in {100 * counts.max() / known:.1f} %')
  else:
    said.append('the label is a number: accuracy is the share of rows on the right side of its '
                'median')
    tied = _at_the_median(pairs.y[pairs.labelled])
    if tied >= MANY:
      said.append(f'{100 * tied:.0f} % of the labels are the median itself, on no side of it: '
                  'accuracy says little of them; two classes (y above a number) would')
  for name, view, has in zip(pairs.names, pairs.views, pairs.present):
    lacking = int((~has).sum())
    said.append(f'{name}: {view.shape[1]} features' + (
        f', missing in {lacking:,} rows' if lacking else ''))
  if pairs.group is not None:
    n_groups, n_units = len(np.unique(pairs.group)), len(np.unique(work.unit))
    said.append(f'{n_groups:,} groups ({pairs.group_name}), kept together' + (
        f'; with groups that have copies of the same row, {n_units:,}' if n_units < n_groups
        else ''))
  copies = n - len(np.unique(work.copies))
  if copies:
    said.append(f'{copies:,} rows repeat another in all views: copies are kept together')
  if pairs.test is not None:
    said.append('the split that the data come with is not used: every labelled row is tested on '
                'once, by cross-validation')
  if n > ROWS:
    said.append(f'looked at before training: at most {ROWS:,} rows at random (similarity, '
                f'information, regime), {MOST_ROWS:,} (the strength foretold), {LINEAR_ROWS:,} '
                '(linear methods)')
  if known > 2 * JUDGED:
    said.append(f'all labels are learnt from; at most {JUDGED:,} rows of a fold are judged')
  return {'said': said, 'notes': list(pairs.notes), 'names': list(pairs.names), 'rows': n,
          'labelled': known,
          'complete': int(pairs.complete.sum()), 'classes': len(pairs.classes),
          'per_class': counts.tolist(), 'copies': copies,
          'widths': [view.shape[1] for view in pairs.views]}


def _at_the_median(y: np.ndarray) -> float:
  """The share of labels that are on neither side of their median."""
  return float(np.mean(np.isclose(y, np.median(y), rtol=1e-9, atol=0)))


def alike(work: Work) -> dict[str, Any]:
  """How alike the views are, beside chance."""
  from mmalign_jax.similarity import MEASURES, scores
  x1, x2, _, group = work.sample(ROWS, labelled=False)
  plan = scores.Plan(PERMUTATIONS, seed=work.seed)
  found, refused = scores.score({name: MEASURES[name] for name in ALIKE},
                                [x1.astype(np.float32)], [x2.astype(np.float32)], plan,
                                groups=group)
  if not found:
    raise ValueError('; '.join(refused.values()))
  said = [f'{name.replace("_", " ")}: {s.value:.3f}, by chance {s.null_mean:.3f}; calibrated '
          f'{s.calibrated:.2f} (0 chance, 1 equal), p {s.p_value:.2g}' for name, s in found.items()]
  return {'said': said, 'rows': len(x1), 'measures': {
      name: {'value': s.value, 'calibrated': s.calibrated, 'null_mean': s.null_mean,
             'p_value': s.p_value} for name, s in found.items()}}


def atoms(work: Work) -> dict[str, Any]:
  """What the views share of the label, each has alone, or only together have."""
  from mmalign_jax.information import quantise, samples
  from mmalign_jax.information.decomposition import ATOMS
  x1, x2, y, group = work.sample(ROWS)
  label = samples.Label(y.astype(int), work.pairs.classes) if work.pairs.classes else (
      samples.binned(y, VALUES)[0])
  question = samples.Question('x1', 'x2', quantise.scaled(x1), quantise.scaled(x2), label, group)
  cells = min(CELLS, quantise.cells_for(len(y), int(label.codes.max()) + 1))
  plan = samples.Plan(cells={'x1': cells, 'x2': cells}, null=PERMUTATIONS, bootstrap=20,
                      check=False, seed=work.seed, workers=work.workers)
  found = samples.answer(question, plan)
  called = dict(zip(ATOMS, ('both', f'{work.pairs.names[0]} alone', f'{work.pairs.names[1]} alone',
                            'only together')))
  said = [f'{called[name]}: {found[name]["value"]:.3f} nats of {found["entropy"]:.3f}, '
          f'{found[name]["verdict"]}' for name in ATOMS]
  return {'said': said, 'rows': len(y), **found}


def linear(work: Work) -> dict[str, Any]:
  """What linear algebra gives: components of a side, or what goes with the other side."""
  from mmalign_jax.data import prepared
  from mmalign_jax.studies.strength import linear as references
  pairs, rows = work.pairs, work.some(LINEAR_ROWS)
  part = dataclasses.replace(
      pairs, views=tuple(view[rows] for view in pairs.views), y=pairs.y[rows],
      present=tuple(has[rows] for has in pairs.present), labelled=pairs.labelled[rows],
      group=work.groups(rows), test=None, validation=None)
  made = prepared.prepare(part, split_seed=work.seed)
  found = references.references(made, 0, work.seed)
  mean = {method: [float(one.accuracy.mean()) for one in of] for method, of in found.items()}
  said = []
  for i, name in enumerate(work.pairs.names):
    best = max(('cca', 'pls'), key=lambda method: mean[method][i])
    said.append(f'{name}: {100 * mean["pca"][i]:.1f} % by its own components, '
                f'{points(mean[best][i] - mean["pca"][i])} points by those that go with the other '
                f'side ({best.upper()}), on one split' + (
                    f' of {len(rows):,} rows' if len(rows) < len(pairs.y) else ''))
  return {'said': said, 'accuracy': mean}


def regime(work: Work) -> dict[str, Any]:
  """Align, predict, both or neither, by linear models."""
  from mmalign_jax.diagnosis import diagnose
  x1, x2, y, group = work.sample(ROWS)
  found = diagnose(x1, x2, y=y, groups=group, permutations=PERMUTATIONS, halves=10, seed=work.seed)
  says = {'both': 'aligning or predicting finds what the views share', 'align': 'aligning finds '
          'what they share, predicting would miss it', 'predict': 'predicting finds what they '
          'share, aligning would miss it', 'neither': 'neither finds anything to gain'}
  said = [f'{way.replace("->", " to ")}: {says[one]}' + (
      f' (the same in {100 * found.agreement[way]:.0f} % of halves)' if found.agreement else '')
          for way, one in found.regimes.items()]
  said.append(f'{found.shared} shared directions tell of the label')
  return {'said': said, 'regimes': found.regimes, 'agreement': found.agreement,
          'shared': found.shared, 'p_value': found.p_value}


def predicted(work: Work) -> dict[str, Any]:
  """The best strength of InfoNCE for each encoder, told by features alone."""
  from mmalign_jax.advice import features, predict
  pairs = work.pairs
  rows = np.flatnonzero(pairs.present[0] & pairs.present[1])
  classes = bool(pairs.classes)
  y = np.where(pairs.labelled, pairs.y, -1 if classes else np.nan)[rows]
  found = features([filled(view[rows]) for view in pairs.views[:2]],
                   y.astype(int) if classes else y, task='classes' if classes else 'value',
                   groups=work.groups(rows), seed=work.seed)
  said, made = [], {}
  for i, name in enumerate(pairs.names[:2], start=1):
    one = predict(found, i)
    made[name] = one._asdict()
    low, high = one.interval
    at = (f'gain {points(one.gain)} points' if one.lam else  # of nothing there is no interval
          f'the best strength above 0, {one.gain_lam:g}: gain')
    said.append(f'{name}: lam {one.lam:g} [{low:g}, {high:g}] of InfoNCE, {at} '
                f'{bracket(one.gain_interval, "+.1f", 100)}' + (
                    '' if one.inside else '; these data are unlike those it was learnt from'))
  return {'said': said, 'features': found, 'encoders': made}
