"""A kind of study of one's own, which answers one number; run by

  mmalign --register=own_study.py sweep --config=own_study.py --workdir=DIR
"""

import dataclasses

from ml_collections import ConfigDict
import xarray as xr

from mmalign_jax.studies import registry


@dataclasses.dataclass(frozen=True)
class Plan:
  value: float
  notes: tuple[str, ...] = ()
  run: dict = dataclasses.field(default_factory=dict)


class Doubled:
  LAUNCHER = 'sweep'

  def defaults(self):
    return {'study': 'doubled', 'name': 'doubled', 'value': 1.5}

  def from_settings(self, given, *, preset=()):
    return Plan(float(given['value']))

  def run(self, plan, workdir, *, shard=(1, 1), progress=True, **places):
    return xr.Dataset({'twice': 2 * plan.value})

  def answer(self, plan, dataset, folder, *, figures):
    return f'twice is {float(dataset["twice"]):g}'


registry.STUDIES['doubled'] = Doubled()


def get_config() -> ConfigDict:
  return ConfigDict(Doubled().defaults())
