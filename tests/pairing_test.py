"""Pairs of images and recordings: whose, how many, how random, and what each knob changes."""

import numpy as np
import pytest

from mmalign_jax.data.avmnist import knobs as pairing
from mmalign_jax.data.avmnist.knobs import Knobs

LABELS = np.random.default_rng(0).integers(0, 10, 3000)
DIGITS = np.repeat(np.arange(10), 7)[np.random.default_rng(1).permutation(70)]


def draw(labels=LABELS, digits=DIGITS, part: str = 'train', **knobs):
  return pairing.draw_pairs(labels, digits, Knobs(**knobs), part, 'here')


def test_a_pair_is_one_digit():
  image, row = draw()
  np.testing.assert_array_equal(LABELS[image], DIGITS[row])
  np.testing.assert_array_equal(np.sort(image), np.arange(3000))
  assert (np.diff(image) < 0).any()


def test_recordings_are_drawn_evenly_and_with_replacement():
  counts = np.bincount(draw(pairs_per_image=20)[1], minlength=70)
  expected = np.bincount(LABELS)[DIGITS] * 20 / 7
  assert (abs(counts - expected) < 5 * np.sqrt(expected)).all()
  assert (counts - expected).std() > 0.5 * np.sqrt(expected).mean()  # no rotation through them


def test_the_same_seed_gives_the_same_pairs():
  for first, again, other in zip(draw(seed=3), draw(seed=3), draw(seed=4)):
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
  assert (draw()[0] != draw(part='test')[0]).any()


@pytest.mark.parametrize('share', [0.25, 1 / 3, 1.0])
def test_the_share_of_mismatched_pairs(share):
  image, row = draw(mismatched=share)
  wrong = LABELS[image] != DIGITS[row]
  assert wrong.sum() == round(share * 3000)
  heard = np.histogram2d(LABELS[image][wrong], DIGITS[row][wrong], np.arange(11) - 0.5)[0]
  expected = heard.sum(axis=1) / 9
  assert (np.abs(heard - expected[:, None])[~np.eye(10, dtype=bool)]
          < 5 * np.sqrt(expected.max())).all()


def test_a_larger_share_leaves_the_other_pairs():
  (image, clean), few, many = draw(), draw(mismatched=0.2)[1], draw(mismatched=0.4)[1]
  few_wrong, many_wrong = (DIGITS[row] != LABELS[image] for row in (few, many))
  assert many_wrong[few_wrong].all()
  np.testing.assert_array_equal(few[few_wrong], many[few_wrong])
  np.testing.assert_array_equal(clean[~many_wrong], many[~many_wrong])


def test_sizes():
  image, row = draw(train_size=50, pairs_per_image=3)
  assert len(image) == len(row) == 150 and len(set(image[:50])) == 50
  np.testing.assert_array_equal(image[:50], image[100:])
  assert (row[:50] != row[100:]).any()
  np.testing.assert_array_equal(image[:50], draw()[0][:50])
  assert len(draw(train_size=50, part='test')[0]) == 3000


def test_digits_without_a_partner():
  with pytest.raises(ValueError, match='^here: digit 4 has images but no recording$'):
    draw(digits=DIGITS[DIGITS != 4])
  with pytest.raises(ValueError, match='^here: digit 7 has recordings but no image$'):
    draw(labels=LABELS[LABELS != 7])
  with pytest.raises(ValueError, match='here: one digit only, 2'):
    draw(np.full(9, 2), np.full(3, 2), mismatched=0.1)
  with pytest.raises(ValueError, match='train_size: 4000, but here has 3000 images'):
    draw(train_size=4000)


@pytest.mark.parametrize('knob, value, match', [
    ('features', 'raw', "features: 'raw'; known: mfcc, logmel"),
    ('speakers', 'mixed', "speakers: 'mixed'; known: shared, apart"),
    ('image_energy_removed', 1.0, r'image_energy_removed: 1.0 is not in \[0, 1\)'),
    ('image_energy_removed', float('nan'), 'image_energy_removed: nan'),
    ('mismatched', -0.1, r'mismatched: -0.1 is not in \[0, 1\]'),
    ('audio_snr_db', float('inf'), 'audio_snr_db: inf is not finite'),
    ('pairs_per_image', 0, 'pairs_per_image: 0 is not a whole number'),
    ('pairs_per_image', None, 'pairs_per_image: None'),
    ('train_size', 2.5, 'train_size: 2.5'),
    ('test_size', -1, 'test_size: -1'),
    ('seed', 2**32, 'seed: 4294967296'),
])
def test_bad_knobs(knob, value, match):
  with pytest.raises(ValueError, match=match):
    Knobs(**{knob: value})


# -- speakers ------------------------------------------------------------------------------------

INDEX = np.tile(np.arange(10), 6)
SPEAKER = np.repeat(['a', 'b', 'c', 'd', 'e', 'f'], 10)


def test_shared_speakers_follow_the_official_split():
  train, test, notes = pairing.split_recordings(INDEX, SPEAKER, Knobs())
  assert INDEX[train].min() == 5 and INDEX[test].max() == 4 and notes == ()
  assert len(train) == len(test) == 30


def test_speakers_apart_are_never_heard_in_training():
  held = set()
  for seed in range(9):
    train, test, notes = pairing.split_recordings(INDEX, SPEAKER,
                                                  Knobs(speakers='apart', seed=seed))
    assert not set(SPEAKER[train]) & set(SPEAKER[test])
    assert len(set(SPEAKER[test])) == 2 and len(train) == 20 and len(test) == 10
    assert INDEX[train].min() == 5 and INDEX[test].max() == 4
    assert notes == (f'speakers apart: {", ".join(sorted(set(SPEAKER[test])))} only in test',)
    held |= set(SPEAKER[test])
  assert len(held) > 3
  with pytest.raises(ValueError, match="'apart' needs two speakers, found only 'a'"):
    pairing.split_recordings(INDEX[:10], SPEAKER[:10], Knobs(speakers='apart'))


# -- energy --------------------------------------------------------------------------------------


def images(n: int, seed: int) -> np.ndarray:
  """Smooth random images: a few components hold most of the energy."""
  rng = np.random.default_rng(seed)
  wave = np.sin(np.arange(1, 13)[:, None, None] * np.linspace(0, 3, 28)[:, None] + np.arange(28))
  scale = rng.normal(size=(n, 12)) * 12 / np.sqrt(np.arange(1, 13))
  return np.clip(128 + np.tensordot(scale, wave, 1), 0, 255).astype(np.uint8)


@pytest.mark.parametrize('share', [0.1, 0.5, 0.75])
def test_the_share_of_energy_removed(share):
  train, test = images(500, 0), images(90, 1)
  less, less_test, notes = pairing.remove_energy(train, test, share)
  centred = train - train.mean(axis=0)
  removed = 1 - np.sum((less - train.mean(axis=0)) ** 2) / np.sum(centred ** 2)
  np.testing.assert_allclose(np.sum((train - less) ** 2.0) / np.sum(centred ** 2), removed,
                             atol=1e-4)  # a projection
  spectrum = np.linalg.eigvalsh(np.cov(centred.reshape(500, -1), rowvar=False))[::-1]
  reachable = 1 - np.cumsum(spectrum) / spectrum.sum()
  np.testing.assert_allclose(removed, reachable[abs(reachable - share).argmin()], atol=1e-4)
  assert f'{removed:.1%} removed ({share:.1%} asked)' in notes[0]
  np.testing.assert_allclose(less.mean(axis=0), train.mean(axis=0), atol=1e-3)
  assert less.dtype == less_test.dtype == np.float32 and less_test.shape == test.shape
  again = pairing.remove_energy(train, less[:9], share)[1]  # of training images alone
  np.testing.assert_allclose(again, less[:9], atol=1e-2)


def test_no_energy_removed_and_none_to_remove():
  train = images(20, 0)
  assert pairing.remove_energy(train, train, 0.0) == (train, train, ())
  with pytest.raises(ValueError, match='all training images are the same'):
    pairing.remove_energy(np.ones((3, 28, 28), np.uint8), train, 0.5)


def test_noise_is_that_of_the_recording():
  first, again, other, later = (pairing.noise_rng(seed, name).random() for seed, name in (
      (0, 'a'), (0, 'a'), (0, 'b'), (1, 'a')))
  assert first == again and len({first, other, later}) == 3
