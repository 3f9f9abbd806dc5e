"""The pairs that advice is asked on, read before JAX is loaded: what is wrong is soon said."""

from mmalign_jax.cli.advise.request import Request
from mmalign_jax.data import pairs, published
from mmalign_jax.data.files import separate, views


def read(asked: Request) -> pairs.Pairs:
  """The pairs that are asked about.

  Raises:
    ValueError, OSError: one line that says what cannot be read.
  """
  names = {name: getattr(asked, name) for name in ('x1', 'x2', 'x3', 'y', 'group')}
  task = asked.reading.task
  if asked.published:
    published.refuse_unread(asked.data, asked.reading, asked.id, '--')
    raw = published.read_published(asked.data, asked.data_dir, names, asked.reading.pool)
    if task == 'auto' and not asked.reading.classes:
      task = published.DATASETS[asked.data].reading.task
  elif not asked.data:
    sides = {role: names[role] for role in ('x1', 'x2', 'x3') if names[role]}
    raw = separate.read_files(sides, asked.y, group=asked.group, id=asked.id, reading=asked.reading)
  else:
    raw = views.read_raw(asked.data, **names, id=asked.id, reading=asked.reading)
  return pairs.from_raw(raw, missing=asked.reading.missing, task=task,
                        classes=asked.reading.classes)
