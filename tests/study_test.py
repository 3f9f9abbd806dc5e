"""Plain settings become a study, or one line that names what is wrong."""

import numpy as np
import pytest

from mmalign_jax.studies.strength import plan


def build(**settings):
  return plan.from_settings(settings)


def test_dimensions_are_settings_then_strengths_then_seed():
  made = build(seed=(0, 1), lam=(0.0, 1.0, 0.5), redundancy=(8, 0), temperature=(0.1, 0.2))
  assert list(made.axes) == ['temperature', 'redundancy', 'lam', 'seed']
  assert made.axes['lam'] == (0.0, 0.5, 1.0) and made.axes['redundancy'] == (0, 8)
  assert made.shape == (2, 2, 3, 2) and made.n_cells == 24
  assert made.hypers.lam.shape == (24,) and made.hypers.seed.dtype == np.uint32
  np.testing.assert_array_equal(made.hypers.seed[:2], [0, 1])
  assert not made.hypers.own


def test_a_strength_per_encoder_replaces_the_common_one():
  made = build(lam_1=(0.0, 1.0), lam_2=(0.5,))
  assert list(made.axes) == ['redundancy', 'lam_1', 'lam_2', 'seed']
  assert 'lam' in build(lam_1=(0.0, 1.0)).axes  # encoder 2 follows it


def test_schedule_by_name_is_an_axis():
  made = build(schedule=('constant', 'cosine'))
  assert made.axes['schedule'] == ('constant', 'cosine')
  assert sorted(set(made.hypers.schedule)) == [0, 2]


def test_max_train_covers_the_axis():
  assert build(n_train=(512, 2048)).spec.max_train == 2048


@pytest.mark.parametrize('settings, message', [
    (dict(lamb=(1,)), "setting 'lamb' is unknown; known: .*lam.*"),
    (dict(lam=(0, -0.5)), 'lam=-0.5 must be at least 0'),
    (dict(lam_2=(-1.0,)), 'lam_2=-1 must be at least 0'),
    (dict(lam=(float('nan'),)), 'lam=nan must be finite'),
    (dict(lam=('x',)), "lam='x' is not a number"),
    (dict(lam=()), r'lam=\(\) has no values'),
    (dict(temperature=(0.0,)), 'temperature=0 must be above 0'),
    (dict(temperature=(-0.1,)), 'temperature=-0.1 must be above 0'),
    (dict(redundancy=(9,)), r'redundancy=9 is outside 0\.\.8'),
    (dict(redundancy=(-1,)), r'redundancy=-1 is outside 0\.\.8'),
    (dict(redundancy=(2.5,)), 'redundancy=2.5 must be a whole number'),
    (dict(generator='atoms', redundancy=(0.9,)), r'redundancy=0.9 is outside 0\.\.0.693'),
    (dict(generator='atoms', redundancy=(0.1,), level=(0, 1)), 'level=.*not a setting.*atoms'),
    (dict(generator='bit'), "generator 'bit' is unknown; known: atoms, bits, few_bits, paired"),
    (dict(encoder='resnet'), "encoder 'resnet' is unknown; known: .*gru, lenet, mlp"),
    (dict(encoder_2='resnet'), "encoder_2 'resnet' is unknown; known: .*gru, lenet, mlp"),
    (dict(compute_dtype='float16'), "compute_dtype 'float16' is unknown; known: bfloat16, float32"),
    (dict(width_1=-1), 'width_1=-1 must be at least 0'),
    (dict(loss='clip'), "loss 'clip' is unknown; known: barlow_twins"),
    (dict(projection='conv'), "projection 'conv' is unknown; known: linear, mlp, none"),
    (dict(task='mse'), "task 'mse' is unknown; known: cross_entropy, l1"),
    (dict(transform='two'), "transform 'two' is unknown; known: both, one"),
    (dict(schedule=('linear',)), "schedule 'linear' is unknown; known: constant, cosine, warmup"),
    (dict(n_train=(100,)), 'n_train=100 samples are fewer than a batch: batch_size=256'),
    (dict(steps=0), 'steps=0 must be at least 1'),
    (dict(level=(10,)), r'level=10 is outside 0\.\.9'),
    (dict(flipped=(1.5,)), r'flipped=1.5 is outside 0\.\.1'),
    (dict(n_align=10), 'neighbors=10 must be below n_align=10'),
    (dict(generator='paired'), "data='' names no file"),
    (dict(generator='paired', data='digits', task='auto', batch_size=4096),
     'digits: 1348 training samples are fewer than a batch: batch_size=4096'),
    (dict(generator='paired', data='digits', task='auto', n_train=(5000,)),
     'n_train=5000 is more than the 1348 training samples of digits'),
    (dict(generator='paired', data='digits', task='auto', redundancy=(1, 2)), 'redundancy='),
])
def test_bad_settings_name_the_field_and_the_value(settings, message):
  with pytest.raises(ValueError, match=message) as caught:
    build(**settings)
  assert '\n' not in str(caught.value)


def test_data_decide_the_settings():
  made = build(generator='paired', data='digits', task='auto', n_train=(), n_align=2000,
               batch_size=64)
  assert made.spec.task == 'cross_entropy' and made.spec.max_train == 1348
  assert made.spec.n_align == 449 and made.tables.n_outputs == 10
  assert 'data_fingerprint' in made.settings and made.notes
