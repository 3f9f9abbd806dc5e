"""IDX files: both forms, and one line for every mistake."""

import gzip

import digit_files
import numpy as np
import pytest

from mmalign_jax.data.avmnist import idx

IMAGES, LABELS = digit_files.images(np.arange(7), 0), np.arange(7)


def write(folder, images: bytes, labels: bytes):
  paths = folder / 'images', folder / 'labels'
  for path, data in zip(paths, (images, labels)):
    path.write_bytes(data)
  return paths


@pytest.mark.parametrize('pack', [bytes, gzip.compress])
def test_round_trip(pack, tmp_path):
  paths = write(tmp_path, pack(digit_files.idx_bytes(IMAGES)), pack(digit_files.idx_bytes(LABELS)))
  pixels, labels = idx.read_images(*paths)
  np.testing.assert_array_equal(pixels, IMAGES)
  np.testing.assert_array_equal(labels, LABELS)
  assert pixels.dtype == np.uint8 and labels.dtype == np.int32


def test_a_plain_file_goes_before_a_packed_one(tmp_path):
  assert idx.find(tmp_path, 'a') == tmp_path / 'a.gz'
  (tmp_path / 'a').touch()
  assert idx.find(tmp_path, 'a') == tmp_path / 'a'


GOOD = digit_files.idx_bytes(IMAGES), digit_files.idx_bytes(LABELS)


@pytest.mark.parametrize('images, labels, match', [
    (GOOD[0][:-1], GOOD[1], r'images: \(7, 28, 28\) needs 5488 bytes, the file has 5487'),
    (GOOD[0] + b'0', GOOD[1], r'images: .* needs 5488 bytes, the file has more'),
    (GOOD[0][:9], GOOD[1], r'images: cannot be read: truncated, 9 bytes'),
    (GOOD[0][:4] + b'\xff' * 12, GOOD[1], 'images: cannot be read: '),
    (b'', GOOD[1], 'images: cannot be read: it begins with nothing, IDX images with 00000803'),
    (GOOD[1], GOOD[1], 'images: .* begins with 00000801, IDX images with 00000803'),
    (GOOD[0], GOOD[0], 'labels: .* begins with 00000803, IDX labels with 00000801'),
    (b'PK' + GOOD[0], GOOD[1], 'images: cannot be read: it begins with 504b0000'),
    (gzip.compress(GOOD[0])[:-90], GOOD[1], 'images: cannot be read: Compressed file ended'),
    (b'\x1f\x8b' + b'junk' * 9, GOOD[1], 'images: cannot be read: '),
    (GOOD[0], digit_files.idx_bytes(LABELS[:6]), 'images has 7 images, .*labels has 6 labels'),
    (GOOD[0], digit_files.idx_bytes(LABELS + 5), 'labels: label 10 at row 5'),
    (digit_files.idx_bytes(IMAGES[:, 1:]), GOOD[1], r'images: shape \(7, 27, 28\) is not'),
    (digit_files.idx_bytes(IMAGES[:0]), GOOD[1], r'shape \(0, 28, 28\) is not'),
])
def test_damaged_files(images, labels, match, tmp_path):
  with pytest.raises(ValueError, match=match) as info:
    idx.read_images(*write(tmp_path, images, labels))
  assert '\n' not in str(info.value)


def test_a_missing_file(tmp_path):
  with pytest.raises(FileNotFoundError, match='none.gz.: no such file'):
    idx.read_idx(tmp_path / 'none.gz', 3)
