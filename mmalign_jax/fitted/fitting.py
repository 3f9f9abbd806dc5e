"""Trains the encoders of one choice of settings, as a cell of a study of strength, and calibrates.

The folds that calibrate are trained beside the encoders that are kept, in one compiled program: a
fold's encoders see neither the labels nor the features of its rows, and nor do their components.
"""

from collections.abc import Mapping
import contextlib
import dataclasses
from typing import Any

import jax
import numpy as np

from mmalign_jax import objective, rng
from mmalign_jax.data import components, pair_source
from mmalign_jax.data.components import Reduction
from mmalign_jax.data.files import labels
from mmalign_jax.data.pair_source import PairTables
from mmalign_jax.data.pairs import Pairs
from mmalign_jax.data.prepared import Rows, take
from mmalign_jax.fitted import calibrate, chosen
from mmalign_jax.fitted.held import calibrated, on_folds, on_validation
from mmalign_jax.fitted.model import Fitted, View, task_of
from mmalign_jax.runs import devices
from mmalign_jax.training import compiling
from mmalign_jax.training.fitting import traceable
from mmalign_jax.training.sweep import train_cell
from mmalign_jax.types import Hyper, PyTree, Spec

Reduced = tuple[Reduction, PyTree]  # of a view, and what it makes of the training rows, [N, C]


def fit(pairs: Pairs, settings: Mapping[str, Any] | None = None, *,
        rows: Rows | None = None) -> Fitted:
  """Trains one encoder a view at chosen settings, and calibrates what they say.

  On the rows and with the seed of a study of strength these are the encoders of its cell. They are
  calibrated on the validation rows where there are at least `calibrate.FEWEST`, else on folds of
  the labelled training rows.

  Args:
    pairs: samples; those that lack a view or a label are used for what they have.
    settings: those of a study of strength (`chosen.defaults`), one value each: loss, lam, lam_1,
      ..., learning_rate, steps, components, n_labelled, seed, ...
    rows: which of them are for what, as of `prepared.divide`; None: all are to train on.

  Returns:
    the encoders; notes in it say what was assumed.

  Raises:
    ValueError: one line that names the setting, or what of the samples does not fit.
  """
  n_sides = len(pairs.views)
  asked = chosen.judged(settings or {}, n_sides)
  asked['task'] = task_of(pairs.classes, asked['task'])
  every = np.arange(len(pairs.y))
  rows = rows or Rows(every[np.logical_or.reduce(pairs.present)], every[:0], every[:0])
  if not pairs.labelled[rows.train].any():
    raise ValueError(f'{pairs.where}: no row to train on has a label')
  center, scale = (0.0, 1.0) if pairs.classes else labels.units(
      pairs.y[rows.train[pairs.labelled[rows.train]]], f'{pairs.where}: y')
  most = asked['most_components']
  whole = _reductions(pairs, rows, most)
  tables = _tables(pairs, rows.train, whole, center, scale)
  budget = _budget(tables, asked)
  spec, hyper = chosen.built(asked, n_sides, n_train=len(rows.train), n_labelled=int(budget.sum()))
  hyper = dataclasses.replace(hyper, n_labelled=0)  # `budget` says which
  traceable(spec, tables)
  fold, said = _folds(pairs, rows, budget, asked)
  unseen = _unseen(fold, len(budget))
  members = [list(zip(whole, tables.x))]
  members += [_without(pairs, rows.train, hidden, members[0], most) for hidden in unseen[1:]]
  trained = _trained(spec, hyper, tables, budget, unseen, _stacked(members))
  of_member = lambda k: Fitted(
      asked, spec, hyper, tuple(
          View(name, _columns(pairs, i), view.shape[1:], members[k][i][0],
               jax.tree.map(lambda v: v[k], trained[f'side_{i + 1}']),
               pooled=pairs.pooled[i] if pairs.pooled else '')
          for i, (name, view) in enumerate(zip(pairs.names, pairs.views))),
      pairs.classes, center, scale, notes=(*pairs.notes, *rows.notes, *said),
      head=jax.tree.map(lambda v: v[k], trained.get(objective.FUSION)))
  if fold is None:
    return calibrated(of_member(0), on_validation(of_member(0), pairs, rows.validation))
  return calibrated(of_member(0), on_folds(
      [of_member(k + 1) for k in range(fold.max() + 1)], pairs, rows.train, fold))


def _columns(pairs: Pairs, side: int) -> tuple[str, ...]:
  return pairs.columns[side] if pairs.columns else ()


def _reductions(pairs: Pairs, rows: Rows, most: int) -> list[Reduction]:
  """As of `prepared.prepare`."""
  made = []
  for view, has, name in zip(pairs.views, pairs.present, pairs.names):
    where = f'{pairs.where}: {name!r}'
    among = rows.train if has[rows.train].any() else rows.validation
    if not has[among].any():
      raise ValueError(f'{where}: no row to train on or to choose settings by has it')
    made.append(components.fit(view, has, among[has[among]], most, where))
  return made


def _without(pairs: Pairs, train: np.ndarray, hidden: np.ndarray, whole: list[Reduced],
             most: int) -> list[Reduced]:
  """Of every view a reduction of the training rows [N] that are not hidden [N], as wide as that of
  all, and what it makes of all.

  That of all stays for sequences, which have a mean and a deviation alone, and where what is left
  does not tell how to scale the rest.
  """
  made = []
  for view, has, name, of_all in zip(pairs.views, pairs.present, pairs.names, whole):
    among, where, own = train[~hidden & has[train]], f'{pairs.where}: {name!r}', of_all
    if len(among) and not of_all[0].of_sequences:
      with contextlib.suppress(ValueError):  # nothing varies any more, or too little
        fitted = components.widened(
            components.fit(view, has, among, most, where), len(of_all[0].components))
        own = fitted, components.apply(fitted, view[train], has[train], where)
    made.append(own)
  return made


def _stacked(members: list[list[Reduced]]) -> list[tuple[PyTree, np.ndarray, int | None]]:
  """Inputs and spreads of every view: those of all members, stacked [K, ...], with axis 0, or those
  that all share, with axis None."""
  made = []
  for of_view in zip(*members):
    own, x = zip(*of_view)
    shared = all(one is own[0] for one in own)
    made.append((x[0], own[0].spread, None) if shared else (
        np.stack([np.asarray(z) for z in x]), np.stack([one.spread for one in own]), 0))
  return made


def _tables(pairs: Pairs, train: np.ndarray, reductions: list[Reduction], center: float,
            scale: float) -> PairTables:
  """The constants of a cell that is trained and not judged."""
  made = [components.apply(reduction, view, has, f'{pairs.where}: {name!r}')
          for reduction, view, has, name in zip(
              reductions, pairs.views, pairs.present, pairs.names)]
  y = pairs.y if pairs.classes else ((pairs.y - center) / scale).astype(np.float32)
  none = tuple((take(x, train[:0]), y[:0], np.zeros(0, np.int32)) for x in made)
  return PairTables(
      tuple(take(x, train) for x in made), tuple(has[train] for has in pairs.present),
      np.where(pairs.labelled, y, 0).astype(y.dtype)[train], pairs.labelled[train],
      tuple(reduction.spread for reduction in reductions), none, none,
      tuple(take(x, train[:0]) for x in made), y[:0], np.zeros(0, np.int32), 1, 1,
      len(pairs.classes) or 1)


def _budget(tables: PairTables, asked: Mapping[str, Any]) -> np.ndarray:
  """[N] bool: training rows whose labels are learnt, as the seed draws them."""
  if not asked['n_labelled']:
    return np.asarray(tables.labelled)
  hyper = Hyper(n_labelled=asked['n_labelled'], n_pairs=asked['n_pairs'])
  draws = pair_source.draw(tables, hyper, rng.stream(asked['seed'], 'data'), len(tables.y))
  made = np.zeros(len(tables.y), bool)
  made[np.asarray(draws.rows[0])[:int(draws.n_labelled)]] = True  # pyright: ignore
  return made


def _folds(pairs: Pairs, rows: Rows, budget: np.ndarray,
           asked: Mapping[str, Any]) -> tuple[np.ndarray | None, list[str]]:
  """Fold [N] of every training row, -1 for those of none; None where no folds are needed."""
  if not asked['folds'] or len(rows.validation) >= calibrate.FEWEST:
    return None, []
  train = rows.train
  unit = train if pairs.group is None else pairs.group[train]
  y = pairs.y[train] if pairs.classes else np.zeros(len(train), int)
  known = np.unique(unit[budget])
  if len(known) < 2:
    return None, ['labels of one unit only: probabilities are not calibrated']
  of_label = calibrate.folds(y[budget], unit[budget], asked['folds'], asked['seed'])
  fold = np.full(len(train), -1)
  _, first = np.unique(unit[budget], return_index=True)
  inside = np.isin(unit, known)
  fold[inside] = of_label[first][np.searchsorted(known, unit[inside])]
  return fold, []


def _unseen(fold: np.ndarray | None, n: int) -> np.ndarray:
  """[1 + folds, N] bool: training rows that a member does not see."""
  none = np.zeros((1, n), bool)
  return none if fold is None else np.stack(
      [none[0], *(fold == k for k in range(fold.max() + 1))])


@compiling.kept(8)
def _compiled(spec: Spec, axes: tuple[int | None, ...], thorough: bool):
  """jit of several trainings that differ in which labels and rows they see: (hyper, tables,
  labelled [K, N], unseen [K, N], x and spread of every view, [K, ...] where its axis is 0) ->
  parameters of [K, ...]."""
  def member(hyper, tables, labelled, unseen, x, spread):
    present = tuple(has & ~unseen for has in tables.present)
    return train_cell(hyper, dataclasses.replace(
        tables, labelled=labelled, present=present, x=x, spread=spread), spec=spec)
  return jax.jit(jax.vmap(member, in_axes=(None, None, 0, 0, axes, axes)),
                 compiler_options=compiling.options(spec, thorough=thorough))


def _trained(spec: Spec, hyper: Hyper, tables: PairTables, budget: np.ndarray, unseen: np.ndarray,
             inputs: list[tuple[Any, Any, int | None]]) -> PyTree:
  """Parameters of [1 + folds, ...]: of all labels of the budget, then of those outside each fold.

  Raises:
    FloatingPointError: the training diverged.
  """
  hyper = jax.tree.map(np.float32, hyper)
  hyper = dataclasses.replace(hyper, seed=np.uint32(hyper.seed))
  x, spread, axes = zip(*inputs)
  program = _compiled(spec, axes, compiling.pays(spec, len(unseen) * spec.steps))
  with devices.few_threads():
    trained = jax.device_get(program(
        hyper, dataclasses.replace(tables, x=(), spread=()), budget & ~unseen, unseen, x, spread))
  if not all(np.isfinite(v[0]).all() for v in jax.tree.leaves(trained)):
    raise FloatingPointError('the training diverged: a parameter is not finite; a smaller '
                             'learning_rate or lam may help')
  return trained
