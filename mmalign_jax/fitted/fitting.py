"""Trains the encoders of one choice of settings, as a cell of a study of strength, and calibrates.

The folds that calibrate are trained beside the encoders that are kept, in one compiled program: a
fold's encoders see neither the labels nor the features of its rows, and nor do their components.
"""

from collections.abc import Mapping
import dataclasses
import functools
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
from mmalign_jax.fitted.model import Fitted, View, outputs, task_of
from mmalign_jax.fitted.together import fused, joined
from mmalign_jax.runs import devices
from mmalign_jax.training import compiling
from mmalign_jax.training.fitting import traceable
from mmalign_jax.training.sweep import train_cell
from mmalign_jax.types import Hyper, PyTree, Spec


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
  reductions = [whole, *(_without(pairs, rows.train, hidden, whole, most) for hidden in unseen[1:])]
  trained = _trained(spec, hyper, tables, budget, unseen, _inputs(
      pairs, rows.train, tables, reductions))
  of_member = lambda k: Fitted(
      asked, spec, hyper, tuple(
          View(name, _columns(pairs, i), view.shape[1:], reductions[k][i],
               jax.tree.map(lambda v: v[k], trained[f'side_{i + 1}']),
               pooled=pairs.pooled[i] if pairs.pooled else '')
          for i, (name, view) in enumerate(zip(pairs.names, pairs.views))),
      pairs.classes, center, scale, notes=(*pairs.notes, *rows.notes, *said),
      head=jax.tree.map(lambda v: v[k], trained.get(objective.FUSION)))
  if fold is None:
    return _calibrated(of_member(0), _on_validation(of_member(0), pairs, rows.validation))
  return _calibrated(of_member(0), _on_folds(
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


def _without(pairs: Pairs, train: np.ndarray, hidden: np.ndarray, whole: list[Reduction],
             most: int) -> list[Reduction]:
  """The same, as wide, of the training rows that are not hidden [N].

  That of all rows stays for sequences, which have a mean and a deviation alone, and where too
  little is left to be reduced.
  """
  made = []
  for view, has, of_all, name in zip(pairs.views, pairs.present, whole, pairs.names):
    among = train[~hidden & has[train]]
    try:
      own = of_all if of_all.of_sequences or not len(among) else components.widened(
          components.fit(view, has, among, most, f'{pairs.where}: {name!r}'),
          len(of_all.components))
    except ValueError:  # nothing varies any more
      own = of_all
    made.append(own)
  return made


def _inputs(pairs: Pairs, train: np.ndarray, tables: PairTables,
            reductions: list[list[Reduction]]) -> list[tuple[Any, Any, int | None]]:
  """Inputs and spreads of every view: those of all members, stacked [K, ...], with axis 0, or those
  that all share, with axis None."""
  made = []
  for i, (view, has) in enumerate(zip(pairs.views, pairs.present)):
    own, where = [of[i] for of in reductions], f'{pairs.where}: {pairs.names[i]!r}'
    if all(one is own[0] for one in own):
      made.append((tables.x[i], tables.spread[i], None))
      continue
    x = [tables.x[i], *(components.apply(one, view[train], has[train], where) for one in own[1:])]
    made.append((np.stack([np.asarray(z) for z in x]), np.stack([one.spread for one in own]), 0))
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


@functools.lru_cache(maxsize=8)
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


# -- calibration -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Held:
  """Of rows that the encoders did not learn from: logits by view, and of the head on all views or
  None; labels; which rows they are."""
  said: dict[str, np.ndarray]
  fused: np.ndarray | None
  y: np.ndarray
  how: str


def _on_validation(fitted: Fitted, pairs: Pairs, held: np.ndarray) -> Held:
  """What the encoders say of rows that are not for training."""
  held = held[pairs.labelled[held]]
  said, of_head = _asked(fitted, pairs, held) if len(held) else ({}, None)
  return Held(said, of_head, pairs.y[held], 'validation rows')


def _asked(fitted: Fitted, pairs: Pairs, rows: np.ndarray
           ) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
  """Logits of rows by view, and of the head on all views, if there is one."""
  made = {name: outputs(fitted, name, view[rows]) for name, view in zip(pairs.names, pairs.views)}
  of_head = None if fitted.head is None else fused(fitted, [z for z, _ in made.values()])
  return {name: prediction for name, (_, prediction) in made.items()}, of_head


def _on_folds(members: list[Fitted], pairs: Pairs, train: np.ndarray, fold: np.ndarray) -> Held:
  """What the encoders of each fold say of its labelled rows; of classes that they know."""
  said: dict[str, list[np.ndarray]] = {name: [] for name in pairs.names}
  y, of_head = [], []
  for k, member in enumerate(members):
    own = train[(fold == k) & pairs.labelled[train]]
    if pairs.classes:
      seen = np.unique(pairs.y[train[(fold >= 0) & (fold != k) & pairs.labelled[train]]])
      own = own[np.isin(pairs.y[own], seen)]
    if not len(own):
      continue
    found, head = _asked(member, pairs, own)
    for name, prediction in found.items():
      said[name].append(prediction)
    of_head += [] if head is None else [head]
    y.append(pairs.y[own])
  made = {name: np.concatenate(parts) for name, parts in said.items() if parts}
  return Held(made, np.concatenate(of_head) if of_head else None,
              np.concatenate(y) if y else pairs.y[:0], f'{len(members)} folds of the labels')


def _calibrated(fitted: Fitted, held: Held) -> Fitted:
  """With the calibration of every view, and of all together, by held-out rows."""
  said, y = held.said, held.y
  if not len(y):
    return fitted
  y = y if fitted.classes else (y - fitted.center) / fitted.scale
  own = lambda prediction: calibrate.of_rows(prediction, y, held.how, fitted.scale)
  made = dataclasses.replace(fitted, views=tuple(
      dataclasses.replace(view, calibration=own(said[view.name])) for view in fitted.views))
  if len(said) < 2:
    return dataclasses.replace(made, together=made.views[0].calibration)
  made = dataclasses.replace(made, together=own(joined(made, said)))
  return made if held.fused is None else dataclasses.replace(made, joint=own(held.fused))
