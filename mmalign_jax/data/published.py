"""Data sets as their publishers distribute them, by name: where they lie in a folder, and what of
them is which modality. Adding one is a row of DATASETS."""

from collections.abc import Callable, Mapping
import dataclasses
import pathlib

import numpy as np

from mmalign_jax.data.avmnist import knobs, originals
from mmalign_jax.data.files import stores, views
from mmalign_jax.data.files.columns import open_table
from mmalign_jax.data.files.reading import OF_TABLES, Reading


@dataclasses.dataclass(frozen=True)
class Dataset:
  """file: below the folder of all data, '' for none. sides, y, group: names there, where the user
  names no other; read(path, names) -> Raw where the file is no plain one; reading: how it is read;
  test_groups: ids of the groups that are the usual test set, none where nothing is usual.
  """
  file: str
  sides: Mapping[str, str]
  y: str = ''
  group: str = ''
  reading: Reading = Reading()
  read: Callable[[pathlib.Path, Mapping[str, str]], stores.Raw] | None = None
  test_groups: tuple[str, ...] = ()


def read_published(name: str, data_dir: str, names: Mapping[str, str],
                   pool: str = '') -> stores.Raw:
  """The arrays of a data set of DATASETS.

  Args:
    name: in DATASETS.
    data_dir: the folder that holds all of them, each as published.
    names: of x1, x2, ..., y and group where they are not those of the row.
    pool: of sequences, where it is not that of the row.

  Raises:
    FileNotFoundError: the file is not there. ValueError: a name that it does not have.
  """
  row = DATASETS[name]
  path = pathlib.Path(data_dir) / row.file
  if row.file and not path.exists():
    raise FileNotFoundError(f'data={name!r}: no {row.file} in data_dir={data_dir!r}; it is the '
                            'folder of the data sets as published (--data_dir)')
  wanted = {**row.sides, 'y': row.y, 'group': row.group} | {k: v for k, v in names.items() if v}
  if pool not in ('', 'none') and (row.read or not row.reading.pool):
    raise ValueError(f'pool={pool!r} has no effect: data={name!r} has no sequences')
  if row.read:
    return row.read(path, wanted)
  own = pool if row.reading.pool else ''  # 'none' says nothing of data without sequences
  reading = dataclasses.replace(row.reading, pool=own or row.reading.pool)
  own_groups = wanted['group'] == row.group  # the usual test set is some of these
  return _split(views.read_raw(str(path), reading=reading, **wanted),
                row.test_groups if own_groups else ())


def refuse_unread(name: str, reading: Reading, id: str = '', dashes: str = '') -> None:
  """Raises ValueError for what was asked of the reading of a data set that says it itself."""
  given = reading.given() | ({'id': id} if id else {})
  for option in (*OF_TABLES, 'layers', 'id'):
    if option in given:
      done = 'joined' if option == 'id' else 'read'
      raise ValueError(f'{dashes}{option}={given[option]!r} has no effect: data={name!r} says how '
                       f'it is {done}')


def count_sides(data: str, x3: str) -> int:
  """How many sides a data set or a file is read with."""
  own = DATASETS[data].sides if data in DATASETS else ()
  return 3 if x3 or 'x3' in own else 2


def _split(raw: stores.Raw, test_groups: tuple[str, ...]) -> stores.Raw:
  """The arrays in a training and a test part, where groups say so."""
  if not test_groups:
    return raw
  arrays = raw.parts['']
  test = np.isin(np.asarray(arrays['group']).astype(str), test_groups)
  part = lambda of: {role: array[of] for role, array in arrays.items()}
  return dataclasses.replace(raw, parts={'train': part(~test), 'test': part(test)})


def _emoji(folder: pathlib.Path, names: Mapping[str, str]) -> stores.Raw:
  """Pictures and their names: features of vision.npz, and of language.npz with no word replaced."""
  vision, language = (
      stores.STORES['.npz'](folder / f'{one}.npz') for one in ('vision', 'language'))
  table = open_table(folder / 'captions.csv', Reading())
  arrays = {}
  for role in stores.sides_of(names):
    key = names[role]
    store = vision if key in vision.keys else language
    if key not in store.keys or key == 'uniqueness':
      known = [k for k in (*vision.keys, *language.keys) if k != 'uniqueness']
      raise ValueError(f'{folder}: no {key!r} for {role}; it has {", ".join(known)}')
    array = store.read(key)
    arrays[role] = array if array.ndim == 2 else array[np.argmin(language.read('uniqueness'))]
  for role in [role for role in ('y', 'group') if names[role]]:
    if names[role] not in table.names:
      raise ValueError(f'{folder}: no column {names[role]!r} for {role}; captions.csv has '
                       f'{", ".join(table.names)}')
    arrays[role] = table.text(table.names.index(names[role]))
  return stores.Raw(str(folder), {role: names[role] for role in arrays}, {'': arrays}, table.notes)


def _digits(path: pathlib.Path, names: Mapping[str, str]) -> stores.Raw:
  sides = {role: names[role] for role in stores.sides_of(names)}
  return views.read_raw('digits', y=names['y'], group=names['group'], reading=None, **sides)


def _avmnist(folder: pathlib.Path, names: Mapping[str, str]) -> stores.Raw:
  """Written digits beside spoken ones, paired as for `configs/avmnist.py`: image [N, 784] and audio
  [N, 720], or as sequences patches [N, 49, 16] of 4 x 4 pixels and frames [N, 20, 36]; groups are
  recordings, of which one is in many pairs."""
  known = ('image', 'audio', 'patches', 'frames', 'label', 'recording')
  for role, name in names.items():
    if name not in known or (role in ('y', 'group')) != (name in known[4:]):
      raise ValueError(f'{folder.parent}: no {name!r} for {role}; avmnist has the sides '
                       f'{", ".join(known[:4])}, y=label and group=recording')
  parts, notes = originals.paired(originals.source_paths(str(folder.parent)), knobs.Knobs())
  made = {}
  for part, (images, labels, heard, recordings, (image, row)) in parts.items():
    n, pixels = len(image), images[image] / 255
    patches = pixels.reshape(n, 7, 4, 7, 4).swapaxes(2, 3).reshape(n, 49, 16)
    columns = {'image': pixels.reshape(n, -1), 'audio': heard[row].reshape(n, -1),
               'patches': patches, 'frames': heard[row], 'label': labels[image],
               'recording': recordings.name[row]}
    made[part] = {role: np.asarray(columns[name]) for role, name in names.items()}
  return stores.Raw('avmnist', dict(names), made, tuple(notes))


DATASETS = {
    'cora': Dataset('few_labels/Cora.mat', {'x1': 'X{2}', 'x2': 'X{1}'}, 'y'),
    'wikipedia': Dataset('few_labels/Wikipedia.mat', {'x1': 'X{1}', 'x2': 'X{2}'}, 'y'),
    'emoji': Dataset('emoji', {'x1': 'mobilenet_v1_100_224', 'x2': 'minilm_l6'}, 'category',
                     read=_emoji),
    'mosi': Dataset('mosi_utterance', {'x1': 'text', 'x2': 'audio'}),
    'mfeat': Dataset('uci_mfeat', {'x1': 'fou', 'x2': 'pix'}),
    'utd': Dataset('utd_mhad/sequences.npz', {'x1': 'inertial', 'x2': 'skeleton'}, 'y', 'subject',
                   Reading(pool='resample'), test_groups=('2', '4', '6', '8')),
    'mmmo': Dataset('mfn_mmmo', {'x1': 'video', 'x2': 'audio'}, 'y',
                    reading=Reading(pool='mean', task='l1')),
    'avmnist': Dataset('mnist', {'x1': 'image', 'x2': 'audio'}, 'label', 'recording',
                       read=_avmnist),
    'digits': Dataset('', {'x1': 'left', 'x2': 'right'}, 'y', read=_digits),
}
