"""Aligned encoders as a scikit-learn estimator: fit(views, y), transform, predict, predict_proba.

Views are a list, tuple or dict of arrays of the same rows. One array is taken for views side by
side, cut at `split`, so that pipelines, cross-validation and searches take it as any other.
"""

from collections.abc import Mapping, Sequence
import numbers
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import ClassifierTags, RegressorTags, Tags, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
  assert_all_finite,
  check_consistent_length,
  check_is_fitted,
  column_or_1d,
  validate_data,
)

from mmalign_jax import losses
from mmalign_jax.data.pairs import NO_CLASS, Pairs
from mmalign_jax.fitted import fitting, inputs, model, together
from mmalign_jax.settings import MOST_SEED, shown

Views = Mapping[str, Any] | Sequence[Any] | Any


def _classifies(estimator: Any) -> bool:
  return not losses.task_of(estimator.task).regression


class AlignedEncoders(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
  """One encoder a view, trained on the labels that there are and aligned on all rows.

  Args:
    task: 'cross_entropy', a classifier, or 'l1', a regressor.
    lam: strength of alignment; several, one for each encoder.
    loss: what aligns; a name in `losses.LOSSES`.
    learning_rate, weight_decay, steps, batch_size: of the training.
    depth, width, projection_width: of every encoder; the last is that of an embedding.
    components: principal components kept of a view; 0 for as many as there are, 100 at most.
    folds: parts of the labels whose held-out predictions calibrate probabilities; 0 for none.
    split: of one array X: where it is cut into views, a column or several; None: in the middle.
    settings: further settings by name, as of `mmalign_jax.fitted.fit`.
    random_state: seed of initialisation and order.

  Attributes:
    fitted_: the encoders, for `mmalign_jax.fitted.save`. classes_: of a classifier. view_names_.
    n_features_in_, feature_names_in_: of all views together.

  Examples:
    >>> x1, x2 = np.eye(12)[:, :6], np.eye(12)[:, 6:] + np.eye(12)[:, :6]
    >>> y = [0, 1, -1] * 4                              # -1: not labelled
    >>> found = AlignedEncoders(steps=5, depth=1, folds=0).fit([x1, x2], y)
    >>> found.transform([x1, x2]).shape, found.predict({'x1': x1}).shape
    ((12, 24), (12,))
  """

  def __init__(self, *, task: str = 'cross_entropy', lam: float | Sequence[float] = 1.0,
               loss: str = 'info_nce', learning_rate: float = 5e-3, weight_decay: float = 1e-2,
               steps: int = 600, batch_size: int = 256, depth: int = 3, width: int = 32,
               projection_width: int = 12, components: int = 0, folds: int = 5,
               split: int | Sequence[int] | None = None,
               settings: Mapping[str, Any] | None = None, random_state: Any = 0):
    self.task = task
    self.lam = lam
    self.loss = loss
    self.learning_rate = learning_rate
    self.weight_decay = weight_decay
    self.steps = steps
    self.batch_size = batch_size
    self.depth = depth
    self.width = width
    self.projection_width = projection_width
    self.components = components
    self.folds = folds
    self.split = split
    self.settings = settings
    self.random_state = random_state

  def __sklearn_tags__(self) -> Tags:
    tags = super().__sklearn_tags__()
    tags.target_tags.required = True
    tags.non_deterministic = False
    if tags.transformer_tags is not None:
      tags.transformer_tags.preserves_dtype = []
    if _classifies(self):
      tags.estimator_type, tags.classifier_tags = 'classifier', ClassifierTags()
    else:
      tags.estimator_type, tags.regressor_tags = 'regressor', RegressorTags()
    return tags

  # -- fitting -------------------------------------------------------------------------------------

  def fit(self, X: Views, y: Any, groups: Any = None) -> Self:
    """Trains the encoders.

    Args:
      X: views of N rows: a list, tuple or dict of [N, F] arrays or tables, or one array. A row of a
        view that is all NaN lacks it.
      y: [N] classes, -1 (of text: None or NaN) where there is no label, or numbers, NaN where not.
      groups: [N] what belongs together, and is held out together; None: every row by itself.

    Raises:
      ValueError: one line that names the setting or the view, and what is wrong.
    """
    views = self._views(X, reset=True)
    n = len(next(iter(views.values())))
    y = self._labels(y, n)
    group = None if groups is None else np.unique(
        column_or_1d(groups), return_inverse=True)[1].astype(np.int64)
    check_consistent_length(next(iter(views.values())), y, *([] if group is None else [group]))
    present = tuple(np.asarray(~np.isnan(view).all(axis=1)) for view in views.values())
    codes, labelled = self._coded(y)
    if not (labelled & np.logical_or.reduce(present)).any():
      raise ValueError(f'y: no row of {n} has a label and a view')
    pairs = Pairs(
        'X', tuple(views), tuple(views.values()), present, codes,
        labelled & np.logical_or.reduce(present),
        tuple(map(str, self.classes_)) if _classifies(self) else (), group,
        columns=self._columns_)
    self.fitted_ = fitting.fit(pairs, self._settings(len(views)))
    self.view_names_ = self.fitted_.names
    self.n_iter_ = self.fitted_.settings['steps']
    self._n_features_out = len(views) * self.fitted_.width
    return self

  def _settings(self, n_views: int) -> dict[str, Any]:
    """What `fitting.fit` is asked."""
    if isinstance(self.lam, (int, float, np.number)):
      strengths = {'lam': float(self.lam)}
    else:
      strengths = {f'lam_{i + 1}': lam for i, lam in enumerate(self.lam)}
      if len(strengths) != n_views:
        raise ValueError(f'lam={shown(self.lam)}: {len(strengths)} strengths for {n_views} views')
    seed = self.random_state if isinstance(self.random_state, numbers.Integral) else (
        check_random_state(self.random_state).randint(MOST_SEED, dtype=np.int64))
    named = {name: getattr(self, name) for name in (
        'task', 'loss', 'learning_rate', 'weight_decay', 'steps', 'batch_size', 'depth', 'width',
        'projection_width', 'folds')}
    most = {'most_components': self.components} if self.components else {}
    return {**named, **strengths, **most, 'seed': int(seed), **(self.settings or {})}

  def _labels(self, y: Any, n: int) -> np.ndarray:
    if y is None:
      raise ValueError(f'{type(self).__name__} requires y to be passed, but the target y is None')
    y = inputs.column(y)
    if y.dtype.kind == 'f':
      assert_all_finite(y, allow_nan=True, input_name='y')
    return y

  def _coded(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes or values [N], and which rows are labelled [N] bool; sets `classes_`."""
    if not _classifies(self):
      y = inputs.as_numbers(y, 'y', ensure_2d=False)
      return y, ~np.isnan(y)
    labelled = inputs.labelled(y)
    given = inputs.known(y, labelled)
    check_classification_targets(given)
    self.classes_, known = np.unique(given, return_inverse=True)
    codes = np.full(len(y), NO_CLASS, np.int32)
    codes[labelled] = known
    return codes, labelled

  # -- views ---------------------------------------------------------------------------------------

  def _views(self, X: Views, reset: bool) -> dict[str, np.ndarray]:
    """Views by name as f64 [N, F]; those that are not given are left out."""
    if isinstance(X, Mapping) and not issparse(X):  # some of which are mappings
      found = dict(X)
    elif isinstance(X, (list, tuple)) and X and all(
        view is None or np.ndim(view) == 2 for view in X):
      found = dict(zip(self._names_of(X, reset), X))
    else:
      return self._cut(X, reset)
    if reset:
      self._places_ = tuple(found)  # of a list; those that are None too
    found = {name: view for name, view in found.items() if view is not None}
    if not found:
      raise ValueError('X holds no view')
    columns = {name: inputs.names_of(view) for name, view in found.items()}
    views = {name: inputs.as_numbers(view, f'view {name!r}') for name, view in found.items()}
    check_consistent_length(*views.values())
    if reset:
      self._columns_ = tuple(columns.values())
      self.n_features_in_ = sum(view.shape[1] for view in views.values())
      self._cuts_ = None
      if all(columns.values()):
        self.feature_names_in_ = np.array([name for c in columns.values() for name in c], object)
      elif hasattr(self, 'feature_names_in_'):
        del self.feature_names_in_
    else:
      for name in views:
        own = self.fitted_.views[model.number_of(self.fitted_, name)]
        model.check_columns(own, columns[name], 'X')
    return {name: inputs.checked_rows(view, name) for name, view in views.items()}

  def _names_of(self, X: Sequence[Any], reset: bool) -> tuple[str, ...]:
    """What the views of a list are called: by their place, as those that were fitted on."""
    named = tuple(f'x{i + 1}' for i in range(len(X)))
    if reset:
      return named
    places = self._places_
    if len(X) > len(places):
      raise ValueError(f'X: {len(X)} views, but {", ".join(places)} were fitted on; '
                       f'{named[len(places)]} is none of them')
    return places

  def _cut(self, X: Any, reset: bool) -> dict[str, np.ndarray]:
    """Views of one array [N, F]."""
    if not reset and self._cuts_ is None:
      raise ValueError(f'X: one array, but views {", ".join(self.fitted_.names)} were fitted on; '
                       'give a list or dict of them')
    X = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite='allow-nan',
                      ensure_min_samples=2 if reset else 1)
    if reset:
      self._cuts_ = inputs.cuts(self.split, X.shape[1])
      names = getattr(self, 'feature_names_in_', None)
      parts = np.split(np.arange(X.shape[1]), self._cuts_)
      self._columns_ = tuple(() if names is None else tuple(map(str, names[part]))
                             for part in parts)
    return {f'x{i + 1}': inputs.checked_rows(view, f'x{i + 1}')
            for i, view in enumerate(np.split(X, self._cuts_ or [], axis=1))}

  # -- applying ------------------------------------------------------------------------------------

  def transform(self, X: Views) -> np.ndarray:
    """Embeddings [N, S K] f32 of all views side by side, each of norm 1; NaN where a view is not
    there. Arguments and errors as `fit`."""
    check_is_fitted(self, 'fitted_')
    views = self._views(X, reset=False)
    n, width = len(next(iter(views.values()))), self.fitted_.width
    made = {model.number_of(self.fitted_, name): model.embed(self.fitted_, name, view)
            for name, view in views.items()}
    return np.concatenate([made.get(i, np.full((n, width), np.nan, np.float32))
                           for i in range(len(self.fitted_.views))], axis=1)

  def predict(self, X: Views) -> np.ndarray:
    """Classes or values [N], from the views that a row has."""
    value = self._said(X).value
    return self.classes_[value.astype(int)] if _classifies(self) else value

  @available_if(_classifies)
  def predict_proba(self, X: Views) -> np.ndarray:
    """Calibrated probabilities [N, C] of `classes_`."""
    said = self._said(X).probabilities
    assert said is not None  # of a classifier
    return said

  def score(self, X: Views, y: Any) -> float:
    """Accuracy, or R^2 of a regressor, of the rows that are labelled."""
    check_is_fitted(self, 'fitted_')
    y = inputs.column(y)
    said = self.predict(X)
    if _classifies(self):
      keep = inputs.labelled(y)
      return float(accuracy_score(inputs.known(y, keep), said[keep]))
    y = inputs.as_numbers(y, 'y', ensure_2d=False)
    keep = ~np.isnan(y)
    return float(r2_score(y[keep], said[keep]))

  def _said(self, X: Views) -> model.Prediction:
    check_is_fitted(self, 'fitted_')
    said = together.predict_together(self.fitted_, self._views(X, reset=False))
    if np.isnan(said.value).any():
      raise ValueError(f'X: row {np.isnan(said.value).argmax()} (from 0) has no view to predict '
                       'from')
    return said
