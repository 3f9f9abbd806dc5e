"""AlignedEncoders: scikit-learn's own checks, and what they cannot know of several views."""

import copy
import dataclasses
import os
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import mmalign_jax
from mmalign_jax import AlignedEncoders, fitted

# Every check compiles a training of its own shapes: all of them, five minutes and more, run with
# MMALIGN_ALL_CHECKS=1; else those that stop before a training, and a few that need one.
ALL = bool(os.environ.get('MMALIGN_ALL_CHECKS'))
SHORT = {
    'check_estimator_cloneable', 'check_estimator_tags_renamed', 'check_valid_tag_types',
    'check_estimator_repr', 'check_no_attributes_set_in_init', 'check_estimators_unfitted',
    'check_do_not_raise_errors_in_init_or_set_params', 'check_mixin_order', 'check_complex_data',
    'check_estimators_empty_data_messages', 'check_estimator_sparse_array', 'check_fit1d',
    'check_fit2d_1sample', 'check_supervised_y_no_nan', 'check_classifiers_regression_target',
    'check_parameters_default_constructible', 'check_get_params_invariance', 'check_set_params',
    'check_requires_y_none', 'check_estimator_sparse_tag', 'check_estimators_nan_inf'}
EXPECTED = {'check_classifiers_classes':
            'its classes are -1 and 1; -1 is no label here, as in sklearn.semi_supervised'}
QUICK = dict(steps=60, depth=1, width=8, learning_rate=3e-2, folds=2, projection_width=4)


def checks():
  for task in ('cross_entropy', 'l1'):
    estimator = AlignedEncoders(task=task, **(QUICK if ALL else QUICK | {'steps': 2, 'folds': 0}))
    for one, check in estimator_checks_generator(
        estimator, expected_failed_checks=EXPECTED, mark='skip'):
      name = getattr(check, 'func', check).__name__
      if ALL or name in SHORT:
        yield pytest.param(one, check, id=f'{task}-{name}')


@pytest.mark.parametrize('estimator, check', list(checks()))
def test_checks_of_scikit_learn(estimator, check):
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    check(estimator)


# -- views -----------------------------------------------------------------------------------------


def views(n: int = 40):
  g = np.random.default_rng(0)
  y = np.arange(n) % 2
  return [g.normal(size=(n, 4)) + 3 * y[:, None], g.normal(size=(n, 4)) - 3 * y[:, None]], y


@pytest.fixture(scope='module')
def found():
  x, y = views()
  few = np.where(np.arange(40) % 4 == 3, -1, y)
  return AlignedEncoders(**QUICK, lam=(0.5, 2.0)).fit(x, few), x, y, few


def test_lists_dicts_and_one_array_say_the_same(found):
  model, x, y, few = found
  z = model.transform(x)
  assert z.shape == (40, 8) and model.n_features_in_ == 8 and list(model.classes_) == [0, 1]
  np.testing.assert_array_equal(model.transform({'x2': x[1], 'x1': x[0]}), z)
  np.testing.assert_array_equal(model.transform((x[0], None))[:, :4], z[:, :4])
  assert np.isnan(model.transform({'x1': x[0]})[:, 4:]).all()
  whole = clone(model).fit(np.hstack(x), few)
  np.testing.assert_allclose(whole.transform(np.hstack(x)), z, atol=1e-5)
  assert list(whole.get_feature_names_out()[:2]) == ['alignedencoders0', 'alignedencoders1']


def test_views_of_a_list_are_told_by_their_place_whatever_they_were_called(found):
  model, x, _, _ = found
  odd = copy.copy(model)
  odd.fitted_ = dataclasses.replace(model.fitted_, views=tuple(
      dataclasses.replace(view, name=name)
      for view, name in zip(model.fitted_.views, ('x2', 'x1'))))
  odd._places_ = odd.fitted_.names
  np.testing.assert_array_equal(odd.transform(x), model.transform(x))
  np.testing.assert_array_equal(odd.predict_proba(x), model.predict_proba(x))
  np.testing.assert_array_equal(odd.transform({'x1': x[1], 'x2': x[0]}), model.transform(x))
  with pytest.raises(ValueError, match='X: 3 views, but x2, x1 were fitted on'):
    odd.transform([*x, x[0]])
  lacking = copy.copy(model)  # fitted on [x1, None, x3]
  lacking._places_ = ('x1', 'x2', 'x3')
  lacking.fitted_ = dataclasses.replace(model.fitted_, views=tuple(
      dataclasses.replace(view, name=name)
      for view, name in zip(model.fitted_.views, ('x1', 'x3'))))
  np.testing.assert_array_equal(lacking.transform([x[0], None, x[1]]), model.transform(x))


def test_one_view_alone_predicts(found):
  model, x, y, few = found
  assert model.score(x, y) > 0.9 and model.score({'x1': x[0]}, few) > 0.9
  p = model.predict_proba([None, x[1]])
  np.testing.assert_allclose(p.sum(axis=1), 1)
  np.testing.assert_array_equal(model.predict([None, x[1]]), model.classes_[p.argmax(axis=1)])
  lacks = x[0].copy()
  lacks[5] = np.nan
  assert model.predict([lacks, x[1]]).shape == (40,)
  with pytest.raises(ValueError, match='row 5 .* has no view'):
    model.predict([lacks, None])


def test_strengths_are_of_every_encoder(found):
  model, x, y, _ = found
  assert model.fitted_.settings['lam_1'] == 0.5 and model.fitted_.settings['lam_2'] == 2.0
  with pytest.raises(ValueError, match='1 strengths for 2 views'):
    clone(model).set_params(lam=(1.0,)).fit(x, y)


def test_what_does_not_fit_is_refused(found):
  model, x, y, _ = found
  for wrong, said in (([x[0]] * 3, 'x3'), ({'x9': x[0]}, "'x9' is unknown"), ([], 'X'),
                      ([x[0][:, :3], x[1]], '3 features'), ([x[0], x[1][:9]], 'inconsistent'),
                      (np.hstack(x), 'one array'), ([sparse.csr_matrix(x[0]), x[1]], 'parse'),
                      ([np.where(x[0] > 5, np.nan, x[0]), x[1]], 'some numbers NaN')):
    with pytest.raises((ValueError, TypeError), match=said):
      model.transform(wrong)
  with pytest.raises(ValueError, match='no row of 40 has a label'):
    clone(model).fit(x, np.full(40, -1))
  with pytest.raises(ValueError, match='split=8'):
    clone(model).set_params(split=8).fit(np.hstack(x), y)
  with pytest.raises(NotFittedError):
    clone(model).transform(x)


def test_columns_of_tables_are_known_by_name(found):
  model, x, y, few = found
  tables = [pd.DataFrame(v, columns=[f'{name}{i}' for i in range(4)]) for v, name in zip(x, 'ab')]
  named = clone(model).fit(tables, few)
  assert list(named.feature_names_in_) == [f'{name}{i}' for name in 'ab' for i in range(4)]
  with pytest.raises(ValueError, match="column 'a1' stands where view 'x1' was fitted on 'a0'"):
    named.transform([tables[0][['a1', 'a0', 'a2', 'a3']], tables[1]])
  np.testing.assert_array_equal(named.transform(tables), model.transform(x))


def test_a_pipeline_pickle_and_folder_keep_it(found, tmp_path):
  model, x, y, few = found
  pipeline = make_pipeline(StandardScaler(), clone(model)).fit(np.hstack(x), few)
  assert pipeline.score(np.hstack(x), y) > 0.9
  again = pickle.loads(pickle.dumps(model))
  np.testing.assert_array_equal(again.transform(x), model.transform(x))
  fitted.save(model.fitted_, tmp_path)
  np.testing.assert_array_equal(
      fitted.embed(fitted.load(tmp_path), 'x1', x[0]), model.transform(x)[:, :4])


def test_text_and_numbers_as_labels(found):
  model, x, y, few = found
  words = np.where(few < 0, None, np.where(y == 1, 'yes', 'no'))
  assert set(clone(model).fit(x, words).predict(x)) == {'yes', 'no'}
  value = np.where(few < 0, np.nan, 10.0 + y)
  assert AlignedEncoders(task='l1', **QUICK).fit(x, value).score(x, value) > 0.3


def test_it_is_public_and_loads_late():
  assert 'AlignedEncoders' in mmalign_jax.__all__ and mmalign_jax.AlignedEncoders is AlignedEncoders


@pytest.mark.parametrize('y, classes, known', [
    (['a', 'b', np.nan, 'a'], ['a', 'b'], [1, 1, 0, 1]),
    (['a', None, 'b', 'b'], ['a', 'b'], [1, 0, 1, 1]),
    (np.array(['a', 'b', -1, 'b'], object), ['a', 'b'], [1, 1, 0, 1]),
    ([0, 1, None, -1], [0, 1], [1, 1, 0, 0]),
    (pd.Series([0, 1, None, 1], dtype='Int64'), [0, 1], [1, 1, 0, 1]),
    (pd.Series(['u', pd.NA, 'v', 'u'], dtype='string'), ['u', 'v'], [1, 0, 1, 1]),
    (pd.Series(['u', None, 'v', 'u'], dtype='category'), ['u', 'v'], [1, 0, 1, 1]),
    (np.array([0.0, np.nan, 2.0, -1.0]), [0, 2], [1, 0, 1, 0]),
    (pd.Series([True, None, False, True]), [False, True], [1, 0, 1, 1])])
def test_what_is_missing_is_no_class(y, classes, known, monkeypatch):
  estimator = AlignedEncoders()
  _, labelled = estimator._coded(estimator._labels(y, 4))
  assert labelled.tolist() == [bool(k) for k in known] and list(estimator.classes_) == classes
  estimator.fitted_, said = True, estimator.classes_[np.arange(4) % 2]  # as if it were fitted
  monkeypatch.setattr(estimator, 'predict', lambda X: said)
  assert estimator.score([], y) == np.mean([a == b for a, b, k in zip(y, said, known) if k])
