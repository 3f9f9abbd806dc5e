"""Layers or sequences: told apart only where there is no doubt; padding never enters a pool."""

import numpy as np
import pytest

from mmalign_jax.data.files import features, pooling, steps as sequences
from mmalign_jax.data.files.views import load_paired

G = np.random.default_rng(0)
STEPS = G.normal(size=(6, 4, 3))  # [samples, steps, features]
LENGTH = np.array([1, 4, 2, 3, 4, 1])
MASK = np.arange(4) < LENGTH[:, None]
FLAT = G.normal(size=(6, 2))
PADDED = np.where(MASK[:, :, None], STEPS, np.nan)  # what must never be seen

BY_HAND = {'mean': lambda s: s.mean(axis=0), 'max': lambda s: s.max(axis=0),
           'last': lambda s: s[-1], 'resample': lambda s: BY_HAND['even'](s).ravel(),
           'even': lambda s: np.stack([np.interp(
               np.linspace(0, len(s) - 1, pooling.STEPS), np.arange(len(s)), column)
               for column in s.T], axis=1),
           'none': lambda s: np.pad(s, ((0, 4 - len(s)), (0, 0)), constant_values=np.nan)}
BY_HAND |= {f'{how}-centred': lambda s, how=how: BY_HAND[how](s - s.mean(axis=0))
            for how in pooling.PLAIN}


def side(array, **steps) -> sequences.Found:
  return sequences.Found('f', {'': array}, {'': sequences.Steps('z', **steps)} if steps else {})


def settled(x, y, layers='auto', pool=''):
  return sequences.settled({'X': x, 'Y': y}, layers, pool)


def one_line(call, match: str) -> None:
  with pytest.raises(ValueError, match=match) as info:
    call()
  assert '\n' not in str(info.value)


# -- pooling ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('how', pooling.POOLS)
def test_padding_never_enters(how):
  expected = [BY_HAND[how](STEPS[i, :n]) for i, n in enumerate(LENGTH)]
  ragged = np.concatenate([STEPS[i, :n] for i, n in enumerate(LENGTH)])
  for array, steps in ((PADDED, {'length': LENGTH}), (PADDED, {'mask': MASK}),
                       (PADDED, {'length': LENGTH[:, None] + 0.0, 'mask': MASK.astype(int)}),
                       (ragged, {'length': LENGTH})):
    found, _ = pooling.pooled(array, how, pooling.Steps('z', **steps), 'X')
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('how', [how for how in pooling.POOLS if how.endswith('-centred')])
def test_an_offset_of_a_sample_is_gone(how):
  moved = PADDED + G.normal(scale=100, size=(6, 1, 3))
  steps = pooling.Steps('z', length=LENGTH)
  np.testing.assert_allclose(*(pooling.pooled(x, how, steps, 'X')[0] for x in (PADDED, moved)),
                             atol=1e-11)


def test_a_mask_with_holes():
  mask = np.array([[1, 0, 1, 0]] * 6)
  steps = pooling.Steps('z', mask=mask)
  np.testing.assert_allclose(pooling.pooled(STEPS, 'mean', steps, 'X')[0],
                             (STEPS[:, 0] + STEPS[:, 2]) / 2)
  np.testing.assert_array_equal(pooling.pooled(STEPS, 'last', steps, 'X')[0], STEPS[:, 2])


@pytest.mark.parametrize('dtype', [np.float16, np.int64, np.uint8, bool])
@pytest.mark.parametrize('how', pooling.PLAIN)
def test_types_are_not_cut(dtype, how):
  big = 2**53 + 1 if dtype == np.int64 else 1 if dtype is bool else 200
  array = (np.full((2, 300, 1), big)).astype(dtype)
  found, _ = pooling.pooled(array, how, pooling.Steps('z', length=np.array([300, 7])), 'X')
  found = found[~np.isnan(found.astype(float))] if how == 'none' else found
  whole = how in ('last', 'max')  # the others are f64
  assert (found == (big if whole else float(array[0, 0, 0]))).all()


@pytest.mark.parametrize('steps, match', [
    ({'length': np.array([0, 4, 2, 3, 4, 1])}, r'z_length is 0 at sample 0 .*1..4 is needed'),
    ({'length': np.array([1, 4, 5, 3, 4, 1])}, 'z_length is 5 at sample 2'),
    ({'length': np.array([1, 4, 2.5, 3, 4, 1])}, 'z_length is 2.5 at sample 2'),
    ({'length': np.array([1, 4, np.nan, 3, 4, 1])}, 'z_length is nan at sample 2'),
    ({'length': np.array([1, 4, -1, 3, 4, 1])}, 'z_length is -1 at sample 2'),
    ({'length': LENGTH[:5]}, r'z_length has shape \(5,\)'),
    ({'length': np.array(['a'] * 6)}, 'z_length has shape .* type <U1'),
    ({'mask': MASK[:, :3]}, r'z_mask has shape \(6, 3\)'),
    ({'mask': 2 * MASK}, '0 or 1 for each of'),
    ({'mask': MASK & (np.arange(6) != 3)[:, None]}, 'z_mask leaves no step of sample 3'),
    ({'mask': MASK, 'length': np.full(6, 4)}, 'z_mask has 1 steps of sample 0 .*z_length 4')])
def test_lengths_and_masks_that_do_not_fit(steps, match):
  one_line(lambda: settled(side(STEPS, **steps), side(FLAT), pool='mean'), match)


def test_padding_that_nobody_named_is_noted():
  zeros = np.where(MASK[:, :, None], STEPS, 0)
  note, = settled(side(zeros), side(FLAT), pool='mean')['X'].notes
  assert '4 of 6 samples begin or end in a step of zeros' in note and 'NAME_length' in note
  note, = settled(side(STEPS), side(FLAT), pool='mean')['X'].notes
  assert note == 'X: mean over all 4 steps of every sample'


# -- told apart ------------------------------------------------------------------------------------


def test_what_the_numbers_of_samples_say():
  layers = STEPS.transpose(1, 0, 2)  # [4, 6, 3]
  found = settled(side(layers), side(FLAT))['X']
  assert list(found.arrays) == ['0', '1', '2', '3'] and 'read as 4 layers' in found.notes[0]
  found = settled(side(layers), side(np.zeros((9, 6, 2))))
  assert [len(found[name].arrays) for name in 'XY'] == [4, 9]
  one_line(lambda: settled(side(STEPS), side(FLAT)), r'X=.*shape \(6, 4, 3\); the number of samples'
           r' fits its first axis.*--pool=mean')
  for doubtful in ((STEPS, STEPS), (STEPS[:, :, :1], np.zeros((6, 4, 9))), (STEPS, FLAT[:5]),
                   (np.zeros((6, 6, 3)), FLAT)):
    one_line(lambda: settled(*map(side, doubtful)), 'layers, or sequences.*--layers=first.*--pool')
  for length in (LENGTH, np.full(6, 4)):
    one_line(lambda: settled(side(STEPS, length=length), side(FLAT)), 'with z_length; say how')


def test_options_settle_it():
  assert len(settled(side(STEPS), side(STEPS), layers='first')['X'].arrays) == 6
  np.testing.assert_allclose(settled(side(STEPS), side(FLAT), pool='mean')['X'].arrays[''],
                             STEPS.mean(axis=1))
  np.testing.assert_array_equal(settled(side(STEPS), side(FLAT), 'none', 'last')['X'].arrays[''],
                                STEPS[:, -1])
  both = settled(side(np.stack([STEPS, -STEPS]), length=LENGTH), side(FLAT), 'first', 'last')['X']
  np.testing.assert_array_equal(both.arrays['1'], -both.arrays['0'])
  mixed = settled(side(STEPS.transpose(1, 0, 2)), side(np.zeros((6, 5, 3))), pool='max')
  assert len(mixed['X'].arrays) == 4 and mixed['Y'].arrays[''].shape == (6, 3)
  one_line(lambda: settled(side(STEPS), side(FLAT), 'none'), '--pool=mean')
  for layers, pool in (('first', ''), ('none', ''), ('auto', 'mean')):
    one_line(lambda: settled(side(FLAT), side(FLAT), layers, pool), 'has no effect')
  one_line(lambda: sequences.one_each({'x1': side(STEPS)}, 'first', ''), '6 layers; one is needed')


# -- from files ------------------------------------------------------------------------------------


def test_files_with_lengths_beside(tmp_path):
  ragged = np.concatenate([STEPS[i, :n] for i, n in enumerate(LENGTH)])
  np.savez(tmp_path / 'd.npz', a=PADDED, a_length=LENGTH, b=ragged, b_length=LENGTH)
  np.savez(tmp_path / 'one.npz', a=PADDED, a_mask=MASK)  # no KEY needed
  np.save(tmp_path / 'a.npy', PADDED)
  np.save(tmp_path / 'a_length.npy', LENGTH)
  expected = [s.mean(axis=0) for s in (STEPS[i, :n] for i, n in enumerate(LENGTH))]
  for spec in ('d.npz:a', 'd.npz:b', 'd.npz:a*', 'one.npz', 'a.npy'):
    found = features.read(f'{tmp_path}/{spec}', 'X', pool='mean')
    np.testing.assert_allclose(found.layers, [expected], rtol=1e-12)
    assert len(found.notes) == 1 and '1 to 4' in found.notes[0]
    one_line(lambda: features.read(f'{tmp_path}/{spec}', 'X'), 'say how to pool')
  one_line(lambda: features.read(f'{tmp_path}/a.npy:0', 'X'), 'an index picks a layer, but')


def test_paired_data_pools_too(tmp_path):
  y, x2 = np.arange(60) % 2, G.normal(size=(60, 2))
  steps, length = G.normal(size=(60, 5, 3)), 1 + np.arange(60) % 5
  padded = np.where((np.arange(5) < length[:, None])[:, :, None], steps, np.inf)
  np.savez(tmp_path / 'd.npz', x1=padded, x1_length=length, x2=x2, y=y)
  mean = np.stack([s[:n].mean(axis=0) for s, n in zip(steps, length)])
  np.savez(tmp_path / 'mean.npz', x1=mean, x2=x2, y=y)
  for name, array in (('x1', padded), ('x1_length', length), ('x2', x2), ('y', y)):
    np.save(tmp_path / f'{name}.npy', array)
  want = load_paired(f'{tmp_path}/mean.npz').x1_train
  for data in (tmp_path / 'd.npz', tmp_path):
    got = load_paired(str(data), pool='mean')
    np.testing.assert_allclose(got.x1_train, want, atol=1e-6)
    assert any('mean over 1 to 5 of 5 steps by x1_length' in note for note in got.notes)
    one_line(lambda: load_paired(str(data)), 'x1=.*say how to pool')
    one_line(lambda: load_paired(str(data), layers='first'), '60 layers; one is needed')
  one_line(lambda: load_paired(f'{tmp_path}/mean.npz', pool='mean'), 'has no effect')


def test_paired_data_pools_a_given_split(tmp_path):
  parts = {}
  for part, n in (('train', 12), ('test', 8)):
    parts |= {f'x1_{part}': G.normal(size=(n, 4, 2)), f'x2_{part}': G.normal(size=(n, 2)),
              f'y_{part}': np.arange(n) % 2}
  np.savez(tmp_path / 'a.npz', **parts, x1_train_length=np.full(12, 2),
           x1_length_test=np.full(8, 2))
  parts |= {f'x1_{part}': parts[f'x1_{part}'][:, :2].mean(axis=1) for part in ('train', 'test')}
  np.savez(tmp_path / 'b.npz', **parts)
  got, want = load_paired(f'{tmp_path}/a.npz', pool='mean'), load_paired(f'{tmp_path}/b.npz')
  np.testing.assert_allclose(got.x1_test, want.x1_test, atol=1e-6)
