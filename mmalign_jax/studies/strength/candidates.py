"""Candidates of the settings that are chosen on validation rows: what is tuned, and what of it
comes to nothing."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from mmalign_jax.data.prepared import Prepared
from mmalign_jax.data.sources import Source
from mmalign_jax.settings import shown
from mmalign_jax.studies import files

TUNED = {'tune_learning_rate': (), 'tune_weight_decay': (), 'tune_train_steps': (),
         'tune_components': (), 'tune_seeds': 5}


def tuned(settings: Mapping[str, Any], source: Source,
          strengths: Collection[str]) -> dict[str, tuple]:
  """{setting: candidates} of what is tuned.

  Args:
    strengths: names of all strengths but `lam`.

  Raises:
    ValueError: a training that is longer than the program, or strengths of which none is 0 or that
      are several.
  """
  if source.validation is None:
    return {}
  for name in ('train_steps', 'tune_train_steps'):
    if max(settings[name], default=0) > settings['steps']:
      raise ValueError(f'{name}={shown(settings[name])}: no training is longer than '
                       f'steps={settings["steps"]}; give fewer of them, or more steps')
  found = {name.removeprefix('tune_'): settings[name] for name in TUNED
           if name != 'tune_seeds' and settings[name]}
  if found and not settings['lam'][0] == 0 < settings['lam'][-1]:
    raise ValueError(f'lam={shown(settings["lam"])} must hold 0, for which settings are tuned, and '
                     'a strength above it')
  own = [name for name in strengths if settings[name]]
  if found and own:
    raise ValueError(f'{own[0]}={shown(settings[own[0]])}: settings are tuned for one strength, '
                     'lam; leave out the others, or all of tune_learning_rate, ...')
  return found


def cut(asked: tuple[int, ...], most: int) -> tuple[int, ...]:
  """Candidates of lengths, none above `most`."""
  return tuple(sorted({min(n, most) for n in asked}))


def _within(asked: tuple[int, ...], loaded: files.Loaded | None) -> tuple[int, ...]:
  """Candidates of components, those of the widest side and more as 0, which stands for all."""
  sides = loaded.x if isinstance(loaded, Prepared) else ()
  most = max((x.shape[1] for x in sides if isinstance(x, np.ndarray)), default=0)
  return tuple(sorted({0 if n >= most else n for n in asked}))


def idle(settings: Mapping[str, Any], source: Source,
         loaded: files.Loaded | None) -> tuple[str, ...]:
  """What of the settings comes to nothing, in words."""
  said = []
  name = 'tune_train_steps' if settings['tune_train_steps'] else 'train_steps'
  if 'train_steps' in source.settings and 0 < min(settings[name]) and (
      max(settings[name]) < settings['steps']):
    said.append(f'steps={settings["steps"]}: no training is so long, with '
                f'{name}={shown(settings[name])}')
  asked = settings['tune_components']
  if asked and source.validation is not None and _within(asked, loaded) != tuple(sorted(asked)):
    said.append(f'tune_components={shown(asked)}: of so few columns {shown(_within(asked, loaded))}'
                ', 0 for all')
  return tuple(said)


def unread(settings: Mapping[str, Any]) -> dict[str, str]:
  """{setting: why it has no effect}, of those that candidates stand for, or that need some."""
  names = [name for name in TUNED if name != 'tune_seeds']
  found = {name.removeprefix('tune_'): f'has no effect: {name} says what it is chosen from'
           for name in names if settings[name]}
  if not any(settings[name] for name in names):
    found['tune_seeds'] = f'has no effect without {", ".join(names)}'
  return found
