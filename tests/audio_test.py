"""Wav files, noise, and features against librosa."""

import zipfile

import digit_files
from librosa_values import BANDS, FILE, LENGTHS, clip_of
import numpy as np
import pytest

from mmalign_jax.data.avmnist import spectra, wav as audio

# -- files ---------------------------------------------------------------------------------------


def test_recordings_come_in_order_and_as_they_are(tmp_path):
  digit_files.write_recordings(tmp_path, (3, 1))
  (tmp_path / '._1_ada_0.wav').write_bytes(b'hidden')
  (tmp_path / 'README.md').write_text('no sound')
  got = audio.read_recordings(tmp_path)
  assert got.digit.tolist() == [1] * 12 + [3] * 12 and got.notes == ()
  assert got.speaker[:5].tolist() == ['ada'] * 4 + ['bob']
  assert got.index[:5].tolist() == [0, 1, 5, 6, 0] and got.name[4] == '1_bob_0.wav'
  assert got.clips[4].dtype == np.float32
  np.testing.assert_array_equal(got.clips[4] * 32768, digit_files.tone(1, 1511))


def test_an_archive_is_read_in_memory(tmp_path):
  digit_files.write_recordings(tmp_path / 'in', (0,))
  with zipfile.ZipFile(tmp_path / 'a', 'w') as archive:
    for path in (tmp_path / 'in').iterdir():
      archive.write(path, f'../top-1.0/recordings/{path.name}')
  before = sorted(tmp_path.parent.rglob('*'))
  got, wanted = (audio.read_recordings(tmp_path / name) for name in ('a', 'in'))
  assert got.name.tolist() == wanted.name.tolist()
  np.testing.assert_array_equal(got.clips[7], wanted.clips[7])
  assert sorted(tmp_path.parent.rglob('*')) == before


def test_stereo_and_other_rates_are_brought_to_mono_at_8_khz_and_said_once(tmp_path):
  digit_files.write_recordings(tmp_path, (2,))
  left = digit_files.tone(2, 44_100, 44_100)
  stereo = np.stack([left, np.zeros_like(left)], axis=1)
  digit_files.write_wav(tmp_path / '2_eve_0.wav', stereo, 44_100)
  digit_files.write_wav(tmp_path / '2_eve_1.wav', stereo[:, :1], 44_100)
  digit_files.write_wav(tmp_path / '2_eve_2.wav', stereo[::4], 11_025)
  got = audio.read_recordings(tmp_path)
  (note,) = got.notes
  assert note.endswith(f'{tmp_path.name}: of 15 recordings 2 averaged over their channels and 3 '
                       'resampled from 11025, 44100 to 8000 Hz')
  assert [len(clip) for clip in got.clips[-3:]] == [8000] * 3
  for clip, height in zip(got.clips[-3:], (1, 2, 1)):  # one second: bins of one Hz
    level = abs(np.fft.rfft(clip)) / 8000
    assert level.argmax() == 700
    np.testing.assert_allclose(level.max(), height * 8000 / 32768 / 4, rtol=0.02)


def test_damaged_recordings_are_named(tmp_path):
  def fails(match: str, data: bytes, error=ValueError, name: str = '5_bob_7.wav'):
    digit_files.write_recordings(tmp_path, (5,))
    (tmp_path / name).write_bytes(data)
    with pytest.raises(error, match=match) as info:
      audio.read_recordings(tmp_path)
    assert '\n' not in str(info.value)
    (tmp_path / name).unlink()
  digit_files.write_recordings(tmp_path, (5,))
  good = (tmp_path / '5_ada_0.wav').read_bytes()
  fails(r'5_bob_7\.wav: cannot be read: truncated, 3100 of 3110 bytes', good[:-10])
  fails(r'5_bob_7\.wav: cannot be read: not a WAVE file', good[:8])
  fails(r'5_bob_7\.wav: cannot be read: EOFError', b'')
  fails(r'5_bob_7\.wav: cannot be read: file does not start with RIFF', b'MP3' * 40)
  fails(r'5_bob_7\.wav: cannot be read: no samples', wav(tmp_path, np.zeros(0, np.int16)))
  fails(r'5_bob_7\.wav: cannot be read: 8 bits', wav(tmp_path, np.zeros(9, np.int8), width=1))
  fails(r'5_bob_7\.wav: cannot be read: a rate of 9', wav(tmp_path, np.zeros(9, np.int16), 9))
  fails(r"'bob_5\.wav' is not named digit_speaker_index", good, name='bob_5.wav')
  fails(r"'5_bob_01\.wav' .* the same recording|'5_bob_1\.wav' .* the same", good,
        name='5_bob_01.wav')


def wav(folder, samples, rate: int = 8000, width: int = 2) -> bytes:
  path = folder / '.made'
  digit_files.write_wav(path, samples, rate, width)
  return path.read_bytes()


def test_missing_recordings_are_named(tmp_path):
  with pytest.raises(FileNotFoundError, match='none.: no such folder or archive'):
    audio.read_recordings(tmp_path / 'none')
  with pytest.raises(FileNotFoundError, match='no wav file in it'):
    audio.read_recordings(tmp_path)
  (tmp_path / '1_a_0.wav').symlink_to(tmp_path / 'gone')
  with pytest.raises(ValueError, match=r'1_a_0\.wav: cannot be read: .*No such file'):
    audio.read_recordings(tmp_path)
  (tmp_path / 'fsdd.zip').write_bytes(b'not an archive')
  with pytest.raises(ValueError, match=r'fsdd\.zip: cannot be read: File is not a zip file'):
    audio.read_recordings(tmp_path / 'fsdd.zip')


# -- noise ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('snr_db', [-10.0, 0.0, 7.5, 40.0])
def test_noise_has_the_power_asked_for(snr_db):
  clip = digit_files.tone(4, 4000).astype(np.float32) / 32768
  noisy, again, other = (audio.add_noise(clip, snr_db, np.random.default_rng(seed))
                         for seed in (1, 1, 2))
  noise = noisy.astype(float) - clip
  np.testing.assert_allclose(10 * np.log10(np.mean(clip.astype(float) ** 2) / np.mean(noise ** 2)),
                             snr_db, atol=1e-3)
  assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.05  # white
  assert (noisy == again).all() and (noisy != other).any() and noisy.dtype == np.float32


def test_noise_without_a_level():
  with pytest.raises(ValueError, match='silent'):
    audio.add_noise(np.zeros(9, np.float32), 10, np.random.default_rng(0))
  with pytest.raises(ValueError, match='audio_snr_db: nan'):
    audio.add_noise(np.ones(9, np.float32), float('nan'), np.random.default_rng(0))


# -- features ------------------------------------------------------------------------------------

LIBROSA = np.load(FILE)


@pytest.mark.parametrize('length', LENGTHS)
def test_frames_reach_from_end_to_end(length):
  clip = np.arange(1.0, length + 1)
  got = spectra.frames(clip)
  assert got.shape == (20, 512) and got[0, 0] == 1
  np.testing.assert_array_equal(np.unique(np.diff(got[:, 0][got[:, 0] > 0])),
                                [spectra.hop(length)] if length > 1 else [])
  assert length - 19 < got.max() <= length
  assert (got[:, -1].max() == 0) == (length < 512)


@pytest.mark.parametrize('length', LENGTHS)
@pytest.mark.parametrize('name', spectra.FEATURES)
def test_features_are_those_of_librosa(name, length):
  wanted = LIBROSA[f'{name}_{length}']
  np.testing.assert_allclose(spectra.FEATURES[name](clip_of(length)), wanted, atol=2e-3)


@pytest.mark.parametrize('n_bands', BANDS)
def test_filters_are_those_of_librosa(n_bands):
  np.testing.assert_allclose(spectra.mel_filters(n_bands), LIBROSA[f'filters_{n_bands}'],
                             atol=1e-7)
  assert spectra.mel_filters(n_bands).any(axis=1).all()


@pytest.mark.parametrize('name', spectra.FEATURES)
def test_features_of_any_clip_are_finite_and_of_one_shape(name):
  for clip in (np.zeros(700), np.ones(1), np.full(3, -1.0), clip_of(90_000)):
    got = spectra.FEATURES[name](clip.astype(np.float32))
    assert got.shape == (20, 36) and got.dtype == np.float32 and np.isfinite(got).all()
  np.testing.assert_array_equal(*(spectra.FEATURES[name](clip_of(2000)) for _ in range(2)))
