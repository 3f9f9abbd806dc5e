"""Batches of pairs by grain: shuffled anew each epoch, this process's part, a state to resume from.

The global batches do not depend on how many processes there are: each takes its slice of them.
"""

import grain
import jax
import numpy as np

from mmalign_jax.data.avmnist.load import AVMNIST
from mmalign_jax.types import Batch


def batches(data: AVMNIST, *, batch_size: int, seed: int, part: int = 0,
            parts: int = 1, drop_last: bool = True) -> grain.DatasetIterator[Batch]:
  """Endless batches of the training pairs, an iterator with `get_state` and `set_state`.

  Args:
    data: the pairs.
    batch_size: of the global batch.
    seed: of the order.
    part, parts: which slice of each global batch is given, of how many.
    drop_last: leaves out the pairs that fill no batch at the end of an epoch; otherwise they come
      filled up with copies that are not `valid`.

  Returns:
    Batch of x ([B, 28, 28, 1], [B, T, F]), y [B], B = batch_size / parts.
  """
  own = slice(part * (batch_size // parts), (part + 1) * (batch_size // parts))

  def rows(index: np.ndarray) -> Batch:
    valid = None if drop_last else (np.arange(batch_size) < len(index))[own]
    index = np.resize(index, batch_size)[own]
    return Batch((data.image_train[index], data.audio_train[index]), data.label_train[index], valid)

  order = grain.MapDataset.range(len(data.label_train)).seed(seed).shuffle()
  found = order.batch(batch_size, drop_remainder=drop_last).repeat(None).map(rows)
  return iter(found.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))


def order_seed(seeds: tuple[int, ...]) -> int:
  """Seed of the order of an ensemble, which shares its batches: that of its first seed."""
  return int(np.random.default_rng([seeds[0], 1]).integers(2**31))


def own_part() -> tuple[int, int]:
  """(part, parts) of this process."""
  return jax.process_index(), jax.process_count()
