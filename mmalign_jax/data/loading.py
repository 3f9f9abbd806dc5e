"""Pairs by name or from files, ready for training."""

import dataclasses

from mmalign_jax.data import pairs, prepared, published
from mmalign_jax.data.files import views
from mmalign_jax.data.files.reading import Reading
from mmalign_jax.data.pairs import Pairs
from mmalign_jax.data.prepared import Prepared


def load_pairs(data: str, *, data_dir: str = '', x1: str = '', x2: str = '', x3: str = '',
               y: str = '', group: str = '', id: str = '', task: str = 'auto', classes: int = 0,
               sep: str = '', decimal: str = '', header: str = 'auto', index: str = 'auto',
               missing: str = 'refuse', layers: str = 'auto', pool: str = '',
               test_fraction: float = prepared.TEST_FRACTION, split_seed: int = 0,
               n_validation: int = prepared.VALIDATION,
               most_components: int = prepared.MOST_COMPONENTS) -> Prepared:
  """Reads pairs, some perhaps without a label or a modality, and prepares them.

  Args:
    data: a name in `published.DATASETS`, or a path as for `views.load_paired`.
    data_dir: the folder of the published data sets.
    x1, x2, x3: names of the views, as for `views.load_paired`; of the third only if there is one.
    y, group, id, task, classes, sep, decimal, header, index, missing, layers, pool,
      test_fraction, split_seed: see `views.load_paired`.
    n_validation, most_components: see `prepared.prepare`.

  Raises:
    FileNotFoundError: a missing file. ValueError: one line that names the field and the value.
  """
  found = read_pairs(
      data, data_dir=data_dir, x1=x1, x2=x2, x3=x3, y=y, group=group, id=id, task=task,
      classes=classes, sep=sep, decimal=decimal, header=header, index=index, missing=missing,
      layers=layers, pool=pool)
  if found.test is not None and test_fraction != prepared.TEST_FRACTION:
    raise ValueError(f'test_fraction={test_fraction!r} has no effect: {found.where} comes split')
  if not n_validation:  # nothing is chosen: rows that came for that are for training
    found = dataclasses.replace(found, validation=None)
  if found.validation is not None and n_validation != prepared.VALIDATION:
    raise ValueError(f'n_validation={n_validation!r} has no effect: {found.where} comes with its '
                     'validation rows')
  return prepared.prepare(found, components=most_components, n_validation=n_validation,
                          test_fraction=test_fraction, split_seed=split_seed)


def read_pairs(data: str, *, data_dir: str, x1: str, x2: str, x3: str, y: str, group: str, id: str,
               task: str, classes: int, missing: str, pool: str, **more: str) -> Pairs:
  """The pairs as they are in the files; arguments and errors as of `load_pairs`.

  Args:
    more: sep, decimal, header, index, layers.
  """
  reading = Reading(missing=missing, pool=pool, task=task, classes=classes, **more)
  names = {'x1': x1, 'x2': x2, 'x3': x3, 'y': y, 'group': group}
  if data in published.DATASETS:
    published.refuse_unread(data, reading, id)
    raw = published.read_published(data, data_dir, names, pool)
  else:
    if data_dir:
      raise ValueError(f'data_dir={data_dir!r} has no effect: data={data!r} is a path; names are '
                       f'{", ".join(published.DATASETS)}')
    raw = views.read_raw(data, **names, id=id, reading=reading)
  if data in published.DATASETS and task == 'auto' and not classes:
    task = published.DATASETS[data].reading.task
  return pairs.from_raw(raw, missing=missing, task=task, classes=classes)
