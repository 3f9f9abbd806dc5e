"""Pickles and folders as published give what is in them; hostile ones one line and no harm."""

import gzip
import json
import os
import pathlib
import pickle
import subprocess
import sys

import h5py
import numpy as np
import pickles
import pytest

from mmalign_jax.cli.decompose import command, request
from mmalign_jax.data import loading, pairs
from mmalign_jax.data.files import samples, stores, views
from mmalign_jax.data.files.reading import Reading

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / '../shared/data'


def put(path: pathlib.Path, data: bytes) -> pathlib.Path:
  path.write_bytes(data)
  return path


def store(path: pathlib.Path) -> stores.Store:
  return stores.STORES[path.suffix](path)


def steps(x: np.ndarray) -> list[np.ndarray]:
  """The steps of each sample that are no padding."""
  found = []
  for one in x:
    some = np.flatnonzero((one != 0).any(axis=1))
    found.append(one[some[0]:some[-1] + 1] if len(some) else one[:0])
  return found


# -- what is in them -------------------------------------------------------------------------------


@pytest.mark.parametrize('protocol', [*range(6), 'python 2'])
def test_published_arrays_come_back_exactly(tmp_path, protocol):
  data = pickles.published()
  path = put(tmp_path / 'd.pkl', pickles.python_2(data) if protocol == 'python 2' else
             pickle.dumps(data, protocol))
  found = store(path)
  assert found.y == 'labels'
  for part, arrays in data.items():
    for name, array in arrays.items():
      got = found.read(f'{name}_{part}')
      assert got.dtype == array.dtype
      np.testing.assert_array_equal(got, array.ravel() if name == 'labels' else array)
    mask = found.read(f'vision_mask_{part}')
    assert [len(one) for one in steps(arrays['vision'])] == mask.sum(axis=1).tolist()
    np.testing.assert_array_equal(mask, arrays['vision'].any(axis=2))
  np.testing.assert_array_equal(found.read('text'), np.concatenate(
      [arrays['text'] for arrays in data.values()]))
  assert any('audio (train)' in remark or 'vision (train)' in remark for remark in found.remarks)


@pytest.mark.parametrize('value, keys', [
    (np.arange(6.0).reshape(2, 3), {'': np.arange(6.0).reshape(2, 3)}),
    (np.asfortranarray(np.arange(6).reshape(2, 3)), {'': np.arange(6).reshape(2, 3)}),
    (np.arange(24, dtype='>i2')[::2], {'': np.arange(0, 24, 2)}),
    ({'a': {'b': np.ones(3, np.float16)}, 1: [1, 2]}, {'a/b': np.ones(3), '1': [1, 2]}),
    ([(np.arange(3), np.arange(2)), (np.arange(1), np.arange(1))],
     {'0/0': [0, 1, 2], '0/1': [0, 1], '1': [[0], [0]]}),
    ({'x': [np.ones((2, 3)), np.zeros((1, 3))]},
     {'x': [[1] * 3, [1] * 3, [0] * 3], 'x_length': [2, 1]}),
    ({'y': ['a', 'bc', 'd'], 'n': np.float32(0.5)}, {'y': ['a', 'bc', 'd'], 'n': [0.5]}),
    ({'t': np.array(['é', 'b']), 'flag': np.array([True, False])},
     {'t': ['é', 'b'], 'flag': [True, False]}),
    ({'empty': np.zeros((0, 3)), 'z': np.float64(3)}, {'empty': np.zeros((0, 3)), 'z': [3.0]}),
    (((1, 2), (3, 4)), {'': [[1, 2], [3, 4]]})])
def test_other_pickles(tmp_path, value, keys):
  for protocol in (0, 2, 3, 4, 5):
    found = store(put(tmp_path / 'd.pickle', pickle.dumps(value, protocol)))
    assert set(found.keys) >= set(keys)
    for key, array in keys.items():
      np.testing.assert_array_equal(found.read(key), array)


def test_long_bytes_stay_in_the_file_and_gz_is_unpacked(tmp_path):
  big = np.random.default_rng(0).normal(size=(3000, 40))
  for protocol in (0, 2, 5):
    data = pickle.dumps({'x1': big, 'y': [b'caf\xc3\xa9'] * 3}, protocol)
    for path in (put(tmp_path / 'd.pkl', data), put(tmp_path / 'd.pkl.gz', gzip.compress(data, 1))):
      found = stores.STORES['.pkl'](path)
      np.testing.assert_array_equal(found.read('x1'), big)
      assert found.read('y').tolist() == ['café'] * 3


def test_an_array_of_objects_is_refused_and_the_others_are_read(tmp_path):
  data = pickles.published()
  for part in data.values():
    part['id'] = part['id'].astype(object)
  path = put(tmp_path / 'd.pkl', pickle.dumps(data))
  with pytest.raises(ValueError, match='d.pkl: .*id_train.*: an array of objects') as error:
    store(path).read('id_train')
  assert '\n' not in str(error.value)
  read = samples.read({'X': f'{path}:vision', 'Y': f'{path}:text'}, Reading(pool='mean'))
  assert len(read.sides['X'].layers[0]) == sum(pickles.N.values())


@pytest.mark.skipif(not DATA.exists(), reason='shared/data is not here')
def test_the_splits_of_mustard_as_published():
  found = store(DATA / 'mustard_text' / 'split_indices.p')
  assert len(found.keys) == 10
  for i in range(5):
    train, test = found.read(f'{i}/0'), found.read(f'{i}/1')
    assert (len(train), len(test)) == (552, 138)
    assert sorted([*train, *test]) == list(range(690))


# -- as pairs --------------------------------------------------------------------------------------


def read(path: pathlib.Path, **more) -> pairs.Pairs:
  names = {'x1': 'vision', 'x2': 'text', 'x3': 'audio'}
  missing = more.pop('missing', 'refuse')
  reading = Reading(missing=missing, pool=more.pop('pool', 'mean'))
  return pairs.from_raw(views.read_raw(str(path), reading=reading, **{**names, **more}),
                        missing=missing, task='l1')


def test_parts_are_those_of_the_file(tmp_path):
  data = pickles.published()
  got = read(put(tmp_path / 'd.pkl', pickle.dumps(data)))
  n = list(pickles.N.values())
  np.testing.assert_array_equal(got.validation, np.repeat([False, True, False], n))
  np.testing.assert_array_equal(got.test, np.repeat([False, False, True], n))
  np.testing.assert_array_equal(got.y, np.concatenate([p['labels'].ravel() for p in data.values()]))
  for view, name in zip(got.views, ('vision', 'text', 'audio')):
    by_hand = [one.astype(np.float64).mean(axis=0) for p in data.values() for one in steps(p[name])]
    np.testing.assert_allclose(view, by_hand, rtol=1e-12)


def test_prepared_rows(tmp_path):
  path = put(tmp_path / 'd.pkl', pickle.dumps(pickles.published()))
  names = dict(x1='vision', x2='text', pool='mean', task='l1')
  got = loading.load_pairs(str(path), **names)
  assert (len(got.y), len(got.validation[0].y), len(got.test[0].y)) == (30, 12, 18)
  scale = np.abs(pickles.published()['train']['labels'] - np.median(
      pickles.published()['train']['labels'])).mean()
  valid = pickles.published()['valid']['labels'].ravel()
  np.testing.assert_allclose(np.diff(got.validation[0].y) * scale, np.diff(valid), atol=1e-5)
  with pytest.raises(ValueError, match='n_validation=5 has no effect'):
    loading.load_pairs(str(path), n_validation=5, **names)
  paired = views.load_paired(str(path), **names)
  assert (len(paired.y_train), len(paired.y_test)) == (42, 18)
  assert any('12 rows of the given validation part' in note for note in paired.notes)


def test_sequences_are_kept_without_their_padding(tmp_path):
  data = pickles.published()
  got = read(put(tmp_path / 'd.pkl', pickle.dumps(data)), pool='none')
  flat = [one for p in data.values() for one in steps(p['text'])]
  kept = [one[~np.isnan(one).all(axis=1)] for one in got.views[1]]
  assert all(np.array_equal(a, b) for a, b in zip(kept, flat))
  made = loading.load_pairs(str(tmp_path / 'd.pkl'), x1='vision', x2='text', pool='none', task='l1')
  assert made.x[1].mask.sum() == sum(map(len, steps(data['train']['text'])))


def test_a_sample_of_zeros_lacks_the_view(tmp_path):
  data = pickles.published()
  data['train']['text'][4] = 0
  for pool in ('mean', 'last', 'max', 'none'):
    got = read(put(tmp_path / 'd.pkl', pickle.dumps(data)), pool=pool)
    assert np.flatnonzero(~got.present[1]).tolist() == [4] and got.present[0].all()
    assert any('1 samples have no other and lack it' in note for note in got.notes)


def test_zeros_within_are_steps(tmp_path):
  data = pickles.published()
  data['train']['text'][0] = 1
  data['train']['text'][0, 3] = 0
  data['train']['text'][0, 5] = 0
  got = read(put(tmp_path / 'd.pkl', pickle.dumps(data)))
  np.testing.assert_allclose(got.views[1][0], np.full(5, 4 / 5))


@pytest.mark.parametrize('pool', ['mean', 'none'])
def test_infinite_numbers_are_missing_ones(tmp_path, pool):
  data = pickles.published()
  data['train']['audio'][2, 5, 1] = -np.inf
  path = put(tmp_path / 'd.pkl', pickle.dumps(data))
  with pytest.raises(ValueError, match='audio.*missing=drop') as error:
    read(path, pool=pool)
  assert '\n' not in str(error.value)
  got = read(path, pool=pool, missing='mean')
  assert got.present[2].all()
  assert any('1 infinite numbers, first -inf' in note for note in got.notes)
  if pool == 'none':
    assert np.flatnonzero(np.isnan(got.views[2][2, 5])).tolist() == [1]
  got = read(path, pool=pool, missing='drop')
  gone = np.flatnonzero(~got.present[2]).tolist()
  assert gone == ([2] if pool == 'mean' or len(steps(data['train']['audio'])[2]) == 1 else [])


@pytest.mark.parametrize('names', [('train', 'val', 'test'), ('train', 'dev', 'test'),
                                   ('train', 'test')])
def test_names_of_parts(tmp_path, names):
  data = pickles.published()
  data = {new: data[{'val': 'valid', 'dev': 'valid'}.get(new, new)] for new in names}
  for part in data.values():  # UR-FUNNY and MUStARD: 0 and 1 as [N, 1], ids a list
    part['labels'] = (part['labels'].reshape(-1, 1) > 0).astype(np.int64)
    part['id'] = [f'a_{i}' for i in range(len(part['labels']))]
  raw = views.read_raw(str(put(tmp_path / 'humor.pkl', pickle.dumps(data))), x1='vision', x2='text',
                       reading=Reading(pool='mean'))
  assert list(raw.parts) == ['train', 'valid', 'test'][:len(names) - 1] + ['test'][:len(names) > 1]
  got = pairs.from_raw(raw)
  assert got.classes == ('0', '1') and (got.validation is not None) == (len(names) == 3)


def test_commands_read_them(tmp_path):
  data = pickles.published()
  path = put(tmp_path / 'd.pkl', pickle.dumps(data))
  for argv in ([f'--data={path}', '--x1=vision', '--x2=text'],
               [f'--x1={path}:vision', f'--x2={path}:text', f'--y={path}:labels']):
    asked = request.parse([*argv, '--pool=mean'])
    views_of, label, _ = (command.read_data if asked.data else command._read_files)(asked, [])
    assert sorted(z.shape for z in views_of.values()) == [(60, 4), (60, 5)]
    assert len(label.codes) == 60


# -- folders of HDF5 files -------------------------------------------------------------------------


def folder(path: pathlib.Path, data: dict[str, dict[str, np.ndarray]]) -> pathlib.Path:
  """As the memory fusion network publishes its data."""
  path.mkdir()
  for part, arrays in data.items():
    for name, array in arrays.items():
      if name != 'id':
        ending = '_emb' if name == 'text' else ''
        name = 'y' if name == 'labels' else name
        with h5py.File(path / f'{name}_{part}{ending}.h5', 'w') as file:
          file['d1'] = array.ravel() if name == 'y' else array
  return path


def test_a_folder_without_text_in_training(tmp_path):
  data = pickles.published()
  at = folder(tmp_path / 'd', {part: {name: array for name, array in arrays.items()
                                      if (part, name) != ('train', 'text')}
                               for part, arrays in data.items()})
  for pool in ('mean', 'none'):
    got = read(at, pool=pool)
    np.testing.assert_array_equal(got.present[1], np.arange(60) >= 30)
    assert got.present[0].all() and got.validation is not None and got.validation.sum() == 12
    assert any('text is not there in train: its 30 samples lack it' in note for note in got.notes)
    made = loading.load_pairs(str(at), x1='vision', x2='audio', x3='text', pool=pool, task='l1')
    assert not made.present[2].any() and len(made.test[2].y) == 18
    assert any("no training row has 'text'" in note for note in made.notes)
  one = samples.read({'X': f'{at}:vision_test', 'Y': f'{at}:text_test'}, Reading(pool='max'))
  np.testing.assert_array_equal(one.sides['X'].layers[0],
                                [s.max(axis=0) for s in steps(data['test']['vision'])])


def test_arrays_beside_h5_files_are_read_as_before(tmp_path):
  at = folder(tmp_path / 'd', pickles.published())
  g = np.random.default_rng(0)
  arrays = {name: g.normal(size=(8, 2)) for name in ('x1', 'x2')} | {'y': np.arange(8) % 2}
  for name, array in arrays.items():
    np.save(at / f'{name}.npy', array)
  np.testing.assert_array_equal(views.read_raw(str(at)).parts['']['x2'], arrays['x2'])


@pytest.mark.parametrize('damage, words', [
    (lambda at: (at / 'y_train.h5').write_bytes(b'no'), 'y_train.h5: cannot be read'),
    (lambda at: (at / 'vision_train.h5').unlink(), ''),
    (lambda at: (at / 'vision_dev.h5').write_bytes(b''), 'are both'),
    (lambda at: h5py.File(at / 'audio_test.h5', 'a').create_dataset('d2', data=[1]).file.close(),
     None),
    (lambda at: h5py.File(at / 'audio_test.h5', 'w').create_group('g').file.close(), 'no .d1.')])
def test_damaged_folders_are_one_line(tmp_path, damage, words):
  at = folder(tmp_path / 'd', pickles.published())
  damage(at)
  if not words:
    read(at)
    return
  with pytest.raises((ValueError, OSError), match=words) as error:
    read(at)
  assert '\n' not in str(error.value)


@pytest.mark.skipif(not DATA.exists(), reason='shared/data is not here')
def test_mmmo_as_published():
  got = loading.load_pairs('mmmo', data_dir=str(DATA), x3='text')
  assert [x.shape for x in got.x[:2]] == [(220, 36), (220, 74)] and got.task == 'l1'
  assert [len(one.y) for one in got.validation] == [40] * 3
  assert [len(one.y) for one in got.test] == [80] * 3 and not got.present[2].any()
  kept = loading.load_pairs('mmmo', data_dir=str(DATA), pool='none')
  with h5py.File(DATA / 'mfn_mmmo' / 'audio_train.h5') as file:
    audio = file['d1'][()]
  assert kept.x[1].mask.sum() == sum(map(len, steps(audio)))
  flat = np.concatenate(steps(audio))
  first = steps(audio)[0]
  np.testing.assert_allclose(kept.x[1].x[0][kept.x[1].mask[0]], np.where(
      flat.std(axis=0) > 0, (first - flat.mean(axis=0)) / np.maximum(flat.std(axis=0), 1e-300), 0),
      atol=1e-4)


# -- hostile ---------------------------------------------------------------------------------------

_WITNESS = '''
import json, pathlib, sys, time
import ml_dtypes  # of our own reading, loaded when it is needed: no deed of the file
from mmalign_jax.data.files import stores
str(b'a', 'raw-unicode-escape'), b'a'.decode('ascii')  # codecs are modules, which are opened once
made = {}
events = []
watching = False
def hook(event, args):
  if watching and (event.split('.')[0] in ('os', 'subprocess', 'socket', 'shutil', 'ctypes',
                                           'pickle', 'exec', 'compile') or
                   event == 'open' and '.pkl' not in str(args[0])):
    if event not in ('os.stat', 'os.listdir', 'os.scandir'):
      events.append(f'{event} {args!r}'[:200])
sys.addaudithook(hook)
for path in sorted(pathlib.Path(sys.argv[1]).glob('*.pkl*')):
  start, said = time.monotonic(), ''
  cpu = time.process_time()
  del events[:]
  watching = True
  try:
    store = stores.STORES['.pkl'](path)
    for key in store.keys[:50]:
      store.read(key)
  except ValueError as error:
    said = str(error)
  watching = False
  made[path.name] = said, time.process_time() - cpu, list(events)
# Of this program alone: ru_maxrss begins with the size of the process that started it.
peak = next(int(line.split()[1]) * 1024 for line in open('/proc/self/status')
            if line.startswith('VmHWM:'))
print(json.dumps([made, peak]))
'''


def test_hostile_pickles_are_one_line_and_nothing_more(tmp_path):
  """In a process of its own, whose deeds an audit hook sees."""
  mark, at = tmp_path / 'MARK', tmp_path / 'in'
  at.mkdir()
  rows = pickles.hostile(str(mark))
  for i, (data, _) in enumerate(rows.values()):
    put(at / f'{i:03}.pkl', data)
  put(at / 'bomb.pkl.gz', gzip.compress(b'\x80\x02B' + (2**28).to_bytes(4, 'little') + bytes(2**28),
                                        1))
  done = subprocess.run([sys.executable, '-c', _WITNESS, str(at)], cwd=ROOT, capture_output=True,
                        text=True, timeout=300, env={**os.environ, 'PYTHONPATH': str(ROOT)})
  assert done.returncode == 0, done.stderr[-2000:]
  found, peak = json.loads(done.stdout)
  for i, (name, (_, words)) in enumerate(rows.items()):
    said, seconds, events = found[f'{i:03}.pkl']
    assert not events, (name, events)
    assert seconds < 20, name
    if name not in pickles.HARMLESS:
      assert words in said and f'{i:03}.pkl' in said and '\n' not in said, (name, said)
      assert len(said) < 500 and said.isprintable(), (name, said)
  assert 'unpacks to more' in found['bomb.pkl.gz'][0]
  assert not mark.exists() and peak < 2 * 2**30
