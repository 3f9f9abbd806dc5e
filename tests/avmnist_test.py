"""AV-MNIST as a TFDS set and as arrays, from tiny files made here and, where present, real ones."""

import pathlib
import subprocess
import sys
import zipfile

import digit_files
import numpy as np
import pytest

from mmalign_jax.data.avmnist import idx, knobs, originals, spectra, wav
from mmalign_jax.data.avmnist.load import AVMNIST, load_avmnist

ROOT = pathlib.Path(__file__).resolve().parents[1]
REAL = ROOT / '../shared/data'
COLUMNS = ('image', 'audio', 'label', 'audio_label', 'speaker', 'recording', 'image_index')


@pytest.fixture(scope='module')
def source(tmp_path_factory) -> pathlib.Path:
  return digit_files.write_sources(tmp_path_factory.mktemp('source'))


@pytest.fixture(scope='module')
def cache(tmp_path_factory) -> pathlib.Path:
  return tmp_path_factory.mktemp('prepared')


@pytest.fixture(scope='module')
def clean(source, cache) -> AVMNIST:
  return load_avmnist(source, prepared_dir=cache)


def same(a: AVMNIST, b: AVMNIST) -> bool:
  return all(np.array_equal(getattr(a, f'{name}_{part}'), getattr(b, f'{name}_{part}'))
             for name in COLUMNS for part in ('train', 'test'))


# -- what is in it -------------------------------------------------------------------------------


def test_shapes_and_units(clean):
  for part, n in (('train', 60), ('test', 40)):
    image, sound = getattr(clean, f'image_{part}'), getattr(clean, f'audio_{part}')
    assert image.shape == (n, 28, 28, 1) and sound.shape == (n, 20, 36)
    assert image.dtype == sound.dtype == np.float32
    for name in ('label', 'audio_label', 'speaker', 'image_index'):
      column = getattr(clean, f'{name}_{part}')
      assert column.shape == (n,) and column.dtype == np.int32
  np.testing.assert_allclose([clean.image_train.mean(), clean.image_train.std()], [0, 1], atol=1e-5)
  np.testing.assert_allclose(clean.audio_train.mean(axis=(0, 1)), 0, atol=1e-4)
  np.testing.assert_allclose(clean.audio_train.std(axis=(0, 1)), 1, atol=1e-4)
  assert clean.speakers == digit_files.SPEAKERS and clean.notes == ()


def test_every_pair_is_what_the_files_hold(clean, source):
  paths = originals.source_paths(str(source))
  clips = wav.read_recordings(paths['recordings'])
  where = {name: row for row, name in enumerate(clips.name)}
  features = np.stack([spectra.mfcc(clip) for clip in clips.clips])
  units = {}
  for part in ('train', 'test'):
    pixels, labels = idx.read_images(paths[f'{part}_images'], paths[f'{part}_labels'])
    rows = getattr(clean, f'image_index_{part}')
    heard = [where[name] for name in getattr(clean, f'recording_{part}')]
    np.testing.assert_array_equal(np.sort(rows), np.arange(len(pixels)))
    for name in ('label', 'audio_label'):
      np.testing.assert_array_equal(getattr(clean, f'{name}_{part}'), labels[rows])
    np.testing.assert_array_equal(clips.digit[heard], labels[rows])
    np.testing.assert_array_equal(
        np.array(clean.speakers)[getattr(clean, f'speaker_{part}')], clips.speaker[heard])
    assert ((clips.index[heard] >= 5) == (part == 'train')).all()
    image, sound = pixels[rows, :, :, None].astype(float), features[heard].astype(float)
    units = units or {'image': (image.mean(), image.std()),
                      'audio': (sound.mean(axis=(0, 1)), sound.std(axis=(0, 1)))}
    for name, x in (('image', image), ('audio', sound)):
      mean, std = units[name]
      np.testing.assert_allclose(getattr(clean, f'{name}_{part}'), (x - mean) / std, atol=1e-4)


def test_the_set_is_prepared_once_and_read_back(clean, source, cache, monkeypatch):
  monkeypatch.setattr(originals, 'paired', lambda *_: pytest.fail('prepared again'))
  again = load_avmnist(str(source), prepared_dir=str(cache))
  assert same(clean, again) and again.fingerprint == clean.fingerprint


def test_the_same_seed_gives_the_same_set_anywhere(clean, source, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'source').symlink_to(source)
  again = load_avmnist('source', prepared_dir='prepared')
  assert same(clean, again) and again.fingerprint == clean.fingerprint
  assert capsys.readouterr().out == ''
  other = load_avmnist('source', prepared_dir='prepared', seed=1)
  assert (other.image_index_train != clean.image_index_train).any()
  assert other.fingerprint != clean.fingerprint


def test_another_process_prepares_the_same_set(clean, source, tmp_path, monkeypatch):
  paired, others = originals.paired, []
  def interrupted(*args):
    if not others:
      others.append(None)
      others.append(load_avmnist(source, prepared_dir=tmp_path))
    return paired(*args)
  monkeypatch.setattr(originals, 'paired', interrupted)
  assert same(load_avmnist(source, prepared_dir=tmp_path), clean) and same(others[1], clean)
  assert not list(tmp_path.glob('avmnist/*/incomplete*'))


def test_changed_files_are_another_set(clean, cache, tmp_path):
  digit_files.write_sources(tmp_path)
  digit_files.write_wav(tmp_path / 'fsdd/recordings/0_ada_0.wav', digit_files.tone(9, 1500))
  assert load_avmnist(tmp_path, prepared_dir=cache).fingerprint != clean.fingerprint


def test_the_cache_of_the_user(source, clean, tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  assert same(load_avmnist(source), clean)
  assert (tmp_path / '.cache/mmalign_jax/avmnist' / clean.fingerprint[:16]).is_dir()


# -- knobs ---------------------------------------------------------------------------------------


def test_all_knobs_at_once(clean, source, cache):
  got = load_avmnist(source, prepared_dir=cache, features='logmel', image_energy_removed=0.75,
                     audio_snr_db=3.0, mismatched=0.3, speakers='apart', pairs_per_image=2,
                     train_size=50, test_size=20, seed=5)
  assert got.image_train.shape == (100, 28, 28, 1) and got.audio_test.shape == (40, 20, 36)
  for part, n in (('train', 100), ('test', 40)):
    wrong = getattr(got, f'label_{part}') != getattr(got, f'audio_label_{part}')
    assert wrong.sum() == round(0.3 * n)
    said = [int(name[0]) for name in getattr(got, f'recording_{part}')]
    np.testing.assert_array_equal(said, getattr(got, f'audio_label_{part}'))
  assert not set(got.speaker_train) & set(got.speaker_test)
  assert got.notes[0].startswith('speakers apart: ') and 'image energy: ' in got.notes[1]
  flat = got.image_train.reshape(100, -1)
  kept = int(got.notes[1].split()[2])
  assert np.linalg.matrix_rank(flat - flat.mean(axis=0), tol=1e-3) == kept < 50
  assert got.notes == load_avmnist(  # also from the cache
      source, prepared_dir=cache, features='logmel', image_energy_removed=0.75, audio_snr_db=3.0,
      mismatched=0.3, speakers='apart', pairs_per_image=2, train_size=50, test_size=20,
      seed=5).notes


def test_noise_is_in_the_clip_that_is_heard(source):
  clips = wav.read_recordings(source / 'fsdd/recordings')
  got = originals.recording_features(clips, knobs.Knobs(audio_snr_db=4.0, seed=9))
  noisy = wav.add_noise(clips.clips[17], 4.0, knobs.noise_rng(9, str(clips.name[17])))
  np.testing.assert_array_equal(got[17], spectra.mfcc(noisy))
  assert not np.allclose(got[17], spectra.mfcc(clips.clips[17]), atol=1)


def test_resampling_is_said_once(tmp_path):
  digit_files.write_sources(tmp_path)
  stereo = np.repeat(digit_files.tone(3, 9000, 44_100)[:, None], 2, axis=1)
  for index in (0, 7):
    digit_files.write_wav(tmp_path / f'fsdd/recordings/3_dee_{index}.wav', stereo, 44_100)
  for _ in range(2):
    got = load_avmnist(tmp_path, prepared_dir=tmp_path / 'p', train_size=20)
    assert got.notes == ('fsdd/recordings: of 122 recordings 2 averaged over their channels and 2 '
                         'resampled from 44100 to 8000 Hz',)


# -- TFDS ----------------------------------------------------------------------------------------


def test_the_builder(source, tmp_path):
  from mmalign_jax.data.avmnist.builder import Avmnist, AvmnistConfig
  builder = Avmnist(data_dir=tmp_path, config=AvmnistConfig(name='mine', source=str(source)))
  builder.download_and_prepare()
  assert builder.info.splits['train'].num_examples == 60
  example = builder.as_data_source(split='test')[3]
  assert example['image'].shape == (28, 28, 1) and example['image'].dtype == np.uint8
  assert example['audio'].shape == (20, 36) and example['audio'].dtype == np.float32
  assert example['recording'].decode().startswith(f'{example["label"]}_')


def test_downloads_are_read_as_they_are(clean, source, tmp_path):
  from mmalign_jax.data.avmnist import builder as avmnist_builder
  paths = originals.source_paths(str(source))
  with zipfile.ZipFile(tmp_path / 'fsdd', 'w') as archive:
    for path in paths['recordings'].iterdir():
      archive.write(path, f'free-spoken-digit-dataset-1.0.10/recordings/{path.name}')
  class Manager:
    def download(self, urls):
      assert set(urls) == set(paths) and all(url.startswith('https://') for url in urls.values())
      return {**paths, 'recordings': tmp_path / 'fsdd'}
  builder = avmnist_builder.Avmnist(data_dir=tmp_path)
  examples = dict(builder._split_generators(Manager())['train'])
  assert [example['recording'] for example in examples.values()] == clean.recording_train.tolist()


ALONE = '''
import sys
import mmalign_jax
from mmalign_jax.data.avmnist.load import load_avmnist
assert 'tensorflow_datasets' not in sys.modules
load_avmnist(sys.argv[1], prepared_dir=sys.argv[2])
assert 'tensorflow' not in sys.modules
'''


def test_neither_tensorflow_nor_early_tfds(source, tmp_path):
  found = subprocess.run([sys.executable, '-c', ALONE, source, tmp_path], cwd=ROOT,
                         capture_output=True, text=True, timeout=300, check=False)
  assert found.returncode == 0, found.stderr
  assert found.stdout == ''


# -- mistakes ------------------------------------------------------------------------------------


def remove(*names):
  def change(folder: pathlib.Path) -> None:
    for pattern in names:
      for path in list(folder.glob(pattern)):
        path.unlink()
  return change


def cut(name: str, n: int):
  def change(folder: pathlib.Path) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:-n])
  return change


@pytest.mark.parametrize('change, error, match', [
    (remove('mnist/train-images*'), FileNotFoundError, r'train-images-idx3-ubyte\.gz.: no such'),
    (remove('mnist/t10k-labels*'), FileNotFoundError, r't10k-labels-idx1-ubyte\.gz.: no such'),
    (remove('fsdd/recordings/*'), FileNotFoundError, 'recordings.: no wav file in it'),
    (cut('mnist/t10k-images-idx3-ubyte.gz', 99), ValueError, r't10k-images-idx3-ubyte\.gz: cannot'),
    (cut('mnist/train-labels-idx1-ubyte', 1), ValueError, 'needs 60 bytes, the file has 59'),
    (cut('fsdd/recordings/4_bob_6.wav', 40), ValueError, r'4_bob_6\.wav: cannot .* truncated'),
    (remove('fsdd/recordings/8_*_[56].wav'), ValueError,
     r'train-images-.*\(train\): digit 8 has images but no recording'),
    (remove('fsdd/recordings/8_*_[01].wav'), ValueError, r'\(test\): digit 8 has images but no'),
])
def test_bad_files(change, error, match, tmp_path):
  digit_files.write_sources(tmp_path)
  change(tmp_path)
  with pytest.raises(error, match=match) as info:
    load_avmnist(tmp_path, prepared_dir=tmp_path / 'p')
  assert '\n' not in str(info.value)
  assert not list((tmp_path / 'p').glob('avmnist/*/*1.0.0'))  # nothing half made


def test_digits_that_are_never_seen(tmp_path):
  digit_files.write_sources(tmp_path)
  digit_files.write_images(tmp_path / 'mnist', 't10k', np.arange(40) % 9, 2)
  with pytest.raises(ValueError, match=r'\(test\): digit 9 has recordings but no image'):
    load_avmnist(tmp_path, prepared_dir=tmp_path / 'p')


def test_bad_arguments(source, cache):
  with pytest.raises(FileNotFoundError, match="'none': no such folder"):
    load_avmnist('none', prepared_dir=cache)
  with pytest.raises(ValueError, match="unknown knob 'snr'; known: audio_snr_db, features"):
    load_avmnist(source, prepared_dir=cache, snr=3)
  with pytest.raises(ValueError, match="features: 'raw'"):
    load_avmnist(source, prepared_dir=cache, features='raw')
  with pytest.raises(ValueError, match='test_size: 41, but t10k.* has 40 images'):
    load_avmnist(source, prepared_dir=cache, test_size=41)


def test_silence_has_no_ratio_of_signal_to_noise(tmp_path):
  digit_files.write_sources(tmp_path)
  digit_files.write_wav(tmp_path / 'fsdd/recordings/2_ada_5.wav', np.zeros(1500, np.int16))
  with pytest.raises(ValueError, match=r'2_ada_5\.wav: silent'):
    load_avmnist(tmp_path, prepared_dir=tmp_path / 'p', audio_snr_db=5.0)
  load_avmnist(tmp_path, prepared_dir=tmp_path / 'p')


@pytest.mark.parametrize('name', ['*test.array_record*', 'features.json', 'metadata.json'])
def test_a_damaged_cache_is_named(name, source, tmp_path):
  clean = load_avmnist(source, prepared_dir=tmp_path)
  (path,) = (tmp_path / 'avmnist' / clean.fingerprint[:16] / '1.0.0').glob(name)
  path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
  with pytest.raises(ValueError, match=r'1\.0\.0 \(delete it and it is prepared again\): cannot'):
    load_avmnist(source, prepared_dir=tmp_path)


# -- real data -----------------------------------------------------------------------------------


def probe(x_train, y_train, x_test, y_test) -> float:
  """Accuracy of ridge regression on the classes, with the penalty of one row in a hundred."""
  x_train, x_test = (x.reshape(len(x), -1).astype(np.float64) for x in (x_train, x_test))
  mean = x_train.mean(axis=0)
  gram = (x_train - mean).T @ (x_train - mean)
  target = np.eye(10)[y_train] - 0.1
  penalty = 0.01 * len(x_train) * np.eye(len(gram))
  weights = np.linalg.solve(gram + penalty, (x_train - mean).T @ target)
  return float(np.mean(((x_test - mean) @ weights).argmax(axis=1) == y_test))


def test_real_digits_can_be_told_apart(tmp_path):
  if not (REAL / 'mnist').is_dir() or not (REAL / 'fsdd').is_dir():
    pytest.skip(f'no real data at {REAL}')
  got = load_avmnist(REAL, prepared_dir=tmp_path, train_size=3000, test_size=1000)
  assert got.notes == () and len(got.speakers) == 6
  assert probe(got.audio_train, got.label_train, got.audio_test, got.label_test) > 0.85
  assert probe(got.image_train, got.label_train, got.image_test, got.label_test) > 0.8
