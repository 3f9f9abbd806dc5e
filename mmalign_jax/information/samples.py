"""Atoms of real samples: features to cells, cells to atoms, and other estimators beside."""

import concurrent.futures
import dataclasses
from typing import Any
import warnings

import numpy as np

from mmalign_jax import grouped
from mmalign_jax.information import cross_check as checks, quantise
from mmalign_jax.information.decomposition import ATOMS
from mmalign_jax.information.estimation import Estimate, check_size, estimate
from mmalign_jax.precision import doubles

_WHO: dict[str, str] = dict(zip(checks.NAMES, ('X1', 'X2', 'X1,X2')))


@dataclasses.dataclass(frozen=True, eq=False)
class Label:
  """codes [N] of classes or quantiles; names of the classes; numbers [N] where it is no class."""
  codes: np.ndarray
  names: tuple[str, ...]
  numbers: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
  """Two sides x1 [N, D1], x2 [N, D2] of the same samples, their names, and a label; groups [N]
  codes of samples that belong together, None where all are independent."""
  name_1: str
  name_2: str
  x1: np.ndarray
  x2: np.ndarray
  label: Label
  groups: np.ndarray | None = None

  @property
  def name(self) -> str:
    return f'{self.name_1},{self.name_2}'


@dataclasses.dataclass(frozen=True)
class Plan:
  """cells of each side by its name, None for the rule; how: see `quantise`; null, bootstrap: draws,
  0 for none; check: whether other estimators are asked; seed; workers: threads."""
  cells: dict[str, int] | None = None
  how: str = 'auto'
  null: int = 200
  bootstrap: int = 200
  check: bool = True
  seed: int = 0
  workers: int = 1


def answer(question: Question, plan: Plan) -> dict[str, Any]:
  """What `mmalign decompose` prints of samples, in nats, JSON-ready, and `notes` for the user.

  Raises:
    ValueError: too few samples (says how many are needed), one class, or a `how` that does not fit.
  """
  y, sides = question.label.codes, {question.name_1: question.x1, question.name_2: question.x2}
  classes = int(y.max()) + 1
  asked = _asked(plan, sides, len(y), classes)
  check_size(len(y), (*asked, classes))
  from threadpoolctl import threadpool_limits  # looks at every loaded library
  with warnings.catch_warnings(), threadpool_limits(1):  # k-means' threads wait for each other
    warnings.simplefilter('ignore', UserWarning)  # of k-means with fewer distinct points than cells
    made = [quantise.quantise(x, k, how=plan.how, seed=plan.seed)
            for x, k in zip(sides.values(), asked)]
  codes, hows = zip(*made)
  pool = concurrent.futures.ThreadPoolExecutor(1)
  try:  # the other estimators know nothing of the atoms, and need not wait for them
    others = pool.submit(_others, question, codes, hows, plan) if plan.check else None
    found = estimate(codes[0], codes[1], y, null=plan.null, bootstrap=plan.bootstrap,
                     seed=plan.seed, workers=plan.workers, groups=question.groups)
    beside = checks.beside({name: getattr(found, name) for name in checks.NAMES},
                           others.result()) if others else {}
  except KeyboardInterrupt:
    pool.shutdown(wait=False)
    raise
  except Exception:
    pool.shutdown()  # what it has set for the process is put back before anyone goes on
    raise
  pool.shutdown()
  entry: dict[str, Any] = {name: dataclasses.asdict(found.atoms[name]) for name in ATOMS}
  entry |= {name: getattr(found, name) for name in checks.NAMES}
  entry |= {'gap': found.gap, 'units': found.units, 'method': found.method, 'n': found.n,
            'cells': list(found.cells), 'quantised': list(hows), 'entropy': found.entropy,
            'permutations': plan.null, 'resamples': plan.bootstrap, 'groups': found.groups}
  if found.arrangements is not None:
    entry |= {'permuted': found.permuted, 'least_p': 1 / min(found.arrangements, 1 + plan.null)}
  checked = {name: dataclasses.asdict(check) for name, check in beside.items()}
  entry['cross_check'] = checked or None
  entry['notes'] = _notes(found, plan, checked)
  return entry


def _asked(plan: Plan, sides: dict[str, np.ndarray], n: int, classes: int) -> list[int]:
  """Cells to make of each side."""
  if plan.cells:
    return [plan.cells[name] for name in sides]
  return [quantise.cells_for(n, classes)] * 2


def _others(question: Question, codes, hows, plan: Plan) -> dict[str, checks.Other]:
  from threadpoolctl import threadpool_limits  # looks at every loaded library
  categories = all(how == 'categories' for how in hows)
  sides = [code[:, None] for code in codes] if categories else [question.x1, question.x2]
  with threadpool_limits(1):  # those of libraries spin beside those that solve
    return checks.others(sides[0], sides[1], question.label.codes,
                         continuous=question.label.numbers, categories=categories, seed=plan.seed,
                         groups=question.groups)


def _notes(found: Estimate, plan: Plan, checked: dict[str, dict]) -> list[str]:
  least = int(np.ceil(len(ATOMS) / 0.05)) - 1
  notes = [f'--null={plan.null}: below {least} permutations no atom can be called present'] * (
      0 < plan.null < least)
  notes += _notes_of_groups(found, plan, least)
  if checked and found.n > checks.MOST_ROWS:
    notes.append(f'the classifier of the cross-check sees {checks.MOST_ROWS} of n={found.n} '
                 'samples, drawn at random')
  return notes + [f'left out of the cross-check of I({_WHO[name]};Y): {check["left_out"]}'
                  for name, check in checked.items() if check['left_out']]


def _notes_of_groups(found: Estimate, plan: Plan, least: int) -> list[str]:
  groups, permuted, arrangements = found.groups, found.permuted, found.arrangements
  if groups is None or permuted is None or arrangements is None:
    return []
  notes = []
  if plan.null and permuted < found.n:
    notes.append(f'groups differ in size: permutations exchange {permuted} of n={found.n} '
                 'samples, in classes of groups that are thinned to one size')
  if plan.null > least >= arrangements - 1:
    notes.append(f'{groups} groups can be arranged in {arrangements} ways: no p is '
                 f'below {1 / arrangements:.2g}, and no atom can be called present')
  if groups < grouped.FEW:
    notes.append(f'{groups} groups are few: intervals are widened for it, and rough')
  return notes


def binned(y: np.ndarray, cells: int) -> tuple[Label, str]:
  """A label of numbers [N], cut at its quantiles into `cells` classes, and a remark on it.

  Raises:
    ValueError: all values equal.
  """
  codes = quantise.quantiles(y, cells)
  if not codes.max():
    raise ValueError('the label has one value only')
  half = np.quantile(np.asarray(y, np.float64) / 2, np.arange(1, cells) / cells)
  edges = ', '.join(f'{2 * edge:.4g}' for edge in half)  # no difference of two overflows
  names = tuple(f'quantile {k + 1}' for k in range(int(codes.max()) + 1))
  return Label(codes, names, quantise.scaled(y)), (
      f'the label is a number: cut at its quantiles {edges} into {len(names)} classes')


def joined(sides: list[np.ndarray]) -> np.ndarray:
  """[N, D] of several sides, each brought to the same total variance."""
  parts = []
  for x in map(doubles, sides):
    parts.append(quantise.standardised(x) / np.sqrt(x.shape[1]))
  return np.concatenate(parts, axis=1)
