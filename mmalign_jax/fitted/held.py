"""What calibrates encoders: what they say of rows that they did not learn from."""

import dataclasses

import numpy as np

from mmalign_jax.data.pairs import Pairs
from mmalign_jax.fitted import calibrate
from mmalign_jax.fitted.model import Fitted, outputs
from mmalign_jax.fitted.together import fused, joined


@dataclasses.dataclass(frozen=True)
class Held:
  """Of rows that the encoders did not learn from: logits by view, and of the head on all views or
  None; labels; which rows they are."""
  said: dict[str, np.ndarray]
  fused: np.ndarray | None
  y: np.ndarray
  how: str


def on_validation(fitted: Fitted, pairs: Pairs, held: np.ndarray) -> Held:
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


def on_folds(members: list[Fitted], pairs: Pairs, train: np.ndarray, fold: np.ndarray) -> Held:
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


def calibrated(fitted: Fitted, held: Held) -> Fitted:
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
