"""What a model is worth: a score that is given, or what a linear probe reads of a label."""

from collections.abc import Sequence
import csv
import math

import numpy as np

from mmalign_jax import grouped
from mmalign_jax.data.files.formats import guard
from mmalign_jax.data.files.labels import Label

FOLDS = 5
PENALTIES = 10.0 ** np.arange(-3, 4)  # of a ridge on features of mean square 1


def given(argument: str, text: str, names: Sequence[str]) -> dict[str, float]:
  """Scores by model, of NAME=NUMBER,... or of a csv file of names and numbers; {} of ''.

  Raises:
    ValueError: one line: a name twice, a score without a model, no number. OSError: no such file.
  """
  if not text:
    return {}
  if '=' in text and not guard.place(text).is_file():
    pairs = [part.rpartition('=')[::2] for part in text.split(',')]
  else:
    pairs = _of_csv(argument, text, names)
  found: dict[str, float] = {}
  for name, value in pairs:
    name = name.strip()
    if name in found:
      raise ValueError(f'{argument}={text!r}: two scores of {name!r}')
    if name not in names:
      raise ValueError(f'{argument}={text!r}: a score without a model: {name!r}; models are '
                       f'{guard.listing(names)}')
    try:
      found[name] = float(value)
    except ValueError:
      found[name] = math.nan
    if not math.isfinite(found[name]):
      raise ValueError(f'{argument}={text!r}: the score of {name!r} is no number: {value!r}')
  return found


def _of_csv(argument: str, text: str, names: Sequence[str]) -> list[tuple[str, str]]:
  """Rows of a name and a number; a first one of neither is the head."""
  path = guard.place(text)
  if not path.is_file():
    raise FileNotFoundError(f'{argument}={text!r}: no such file, nor NAME=NUMBER,...')
  with guard.reading(f'{argument}={text!r}'):
    lines = [row for row in csv.reader(path.read_text(encoding='utf-8-sig').splitlines()) if row]
  odd = [row for row in lines if len(row) != 2]
  if odd or not lines:
    raise ValueError(f'{argument}={text!r}: {odd[0] if odd else "empty"}; a line is a name and a '
                     'number, with one comma between them and a decimal point')
  name, head = lines[0]
  try:
    float(head)
  except ValueError:
    lines = lines if name.strip() in names else lines[1:]
  return [(row[0], row[1]) for row in lines]


def probe(layers: Sequence[np.ndarray], label: Label, groups: np.ndarray | None,
          seed: int) -> tuple[float, int]:
  """How well a linear model reads a label from the best layer [N, D], and which that is.

  Accuracy (of classes) or R^2 (of a number) over FOLDS parts of the samples, whole groups in one;
  a ridge of features of mean square 1, its penalty chosen by leaving one out in the rest. The best
  layer is chosen on the same folds: a little optimistic where there are many.
  """
  from sklearn.linear_model import RidgeClassifierCV, RidgeCV  # slow to import
  rng = np.random.default_rng(seed)
  y, own = label.values, np.arange(len(label.values)) if groups is None else groups
  fold = grouped.folds(own, y if label.classes else np.zeros(len(y), int), FOLDS, rng)
  found = []
  for z in layers:
    z = np.asarray(z, np.float64)
    said = np.empty(len(y), float)
    for f in range(int(fold.max()) + 1):
      train, test = fold != f, fold == f
      mean = z[train].mean(axis=0)
      size = np.sqrt(np.square(z[train] - mean).mean()) or 1
      model = (RidgeClassifierCV if label.classes else RidgeCV)(PENALTIES * z.shape[1])
      said[test] = model.fit((z[train] - mean) / size, y[train]).predict((z[test] - mean) / size)
    found.append(float((said == y).mean()) if label.classes else
                 float(1 - np.square(said - y).sum() / np.square(y - y.mean()).sum()))
  return max(found), int(np.argmax(found))
