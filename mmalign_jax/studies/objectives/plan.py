"""Which objective, how strongly: the same study of strength for every loss, on every data set.

Settings are those of a study of strength, but for `loss`, and `objectives` (names in LOSSES; ():
all that align, but for the streaming forms of others) and `sets` (NAME or NAME:x1,x2 of the
published data; (): the one that `generator` and `data` say), and `atoms` (permutations of the null
of the information atoms of every pair, and resamples of their intervals; 0: none are estimated).
"""

from collections.abc import Callable, Collection, Mapping
import dataclasses
import functools
from typing import Any

from mmalign_jax import losses
from mmalign_jax.data.pairs import Pairs
from mmalign_jax.data.prepared import Prepared
from mmalign_jax.data.published import DATASETS, count_sides
from mmalign_jax.data.sources import SOURCES
from mmalign_jax.named import is_own, strengths
from mmalign_jax.runs.damage import note
from mmalign_jax.settings import Rule, checked, choice, count, shown, text
from mmalign_jax.studies import files
from mmalign_jax.studies.strength import plan as strength, tuning
from mmalign_jax.studies.strength.plan import Study
from mmalign_jax.types import Spec, lookup

KIND = 'objectives'
_OWN = ('objectives', 'sets', 'atoms')
_OF_LOSS = ('temperature', 'learnable_temperature', 'min_temperature', 'max_temperature',
            'learnable_bias')
_BASELINES = ('intra_modal',)  # align nothing: compared where they are named
_MANY = 'n_labelled'  # a budget that a data set lacks is left out, if there are several sets


@dataclasses.dataclass(frozen=True)
class Case:
  """One data set. unaligned: at strength 0, which all objectives share; parts: {objective: at the
  strengths above}; loaded: data from files, None of a generator; atoms: draws for their atoms, and
  read, their pairs as they are in the files."""
  unaligned: Study
  parts: Mapping[str, Study]
  loaded: Prepared | None
  atoms: int = 0
  read: Callable[[], Pairs] | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
  """cases: by name, '' for the only one."""
  name: str
  cases: Mapping[str, Case]
  settings: Mapping[str, Any]
  run: Mapping[str, Any]
  notes: tuple[str, ...]


def defaults() -> dict[str, Any]:
  """Every setting with its default."""
  return {**{k: v for k, v in strength.defaults().items() if k != 'loss'}, 'study': KIND,
          'objectives': (), 'sets': (), 'atoms': 0}


def known() -> tuple[str, ...]:
  """Names of the objectives that are compared where none are named."""
  return tuple(name for name in losses.LOSSES
               if name not in _BASELINES and not name.startswith('streaming'))


def rules() -> dict[str, Rule]:
  """What every setting may be; those of studies of strength are judged there."""
  return dict.fromkeys(defaults(), Rule('any')) | {
      'name': text(blank=False),
      'objectives': choice(lambda: losses.LOSSES, axis=True, least=0, called='objective'),
      'sets': dataclasses.replace(text(blank=False), axis=True, least=0),
      'atoms': count(0, 10**6)}


def from_settings(given: Mapping[str, Any], *, preset: Collection[str] = ()) -> Plan:
  """A plan; arguments and errors as of `strength.plan.from_settings`.

  Raises:
    ValueError: also strengths of single encoders, no strength above 0, or a set that is not read.
  """
  settings = checked(given, defaults(), rules())
  for name in ('data', 'x1', 'x2', 'x3'):
    if settings['sets'] and settings[name]:
      raise ValueError(f'{name}={shown(settings[name])} has no effect: sets='
                       f'{shown(settings["sets"])} says what is read')
  for name in filter(is_own, given):
    if name in strengths(3) and given[name]:
      raise ValueError(f'{name}={shown(given[name])}: objectives are compared at one strength, lam')
  names = settings['objectives'] or known()
  of_strength = {k: v for k, v in given.items() if k not in _OWN} | {'study': 'strength'}
  cases = {label: _case(of_strength | more, names, preset, len(settings['sets']) > 1,
                        settings['atoms'])
           for label, more in _sets(settings['sets']).items()}
  studies = [study for case in cases.values() for study in case.parts.values()]
  _refuse_unread(given, studies, names, preset)
  notes = tuple(dict.fromkeys(
      f'{label}: {said}' if label else said for label, case in cases.items()
      for said in case.unaligned.notes))
  return Plan(settings['name'], cases, {k: v for k, v in settings.items() if k not in strength.RUN},
              studies[0].run, notes)


def _sets(named: tuple[str, ...]) -> dict[str, dict[str, str]]:
  """{label: settings of the data}."""
  found = {}
  for one in named:
    data, _, sides = one.partition(':')
    views = [view.strip() for view in sides.split(',')] if sides else []
    if len(views) not in (0, 2) or not all(views):
      raise ValueError(f'sets={one!r}: give NAME, or NAME:x1,x2')
    lookup(DATASETS, data, 'set')
    found[f'{data} {" ".join(views)}'.strip()] = {'generator': 'pairs', 'data': data} | dict(
        zip(('x1', 'x2'), views))
  return found or {'': {}}


def _case(given: Mapping[str, Any], names: tuple[str, ...], preset: Collection[str],
          several: bool, atoms: int) -> Case:
  """The studies of one data set, read once."""
  free = {*preset, *_OF_LOSS, *filter(is_own, given), 'data_dir'}
  if given.get('data') == 'digits':  # comes with a library
    given = {k: v for k, v in given.items() if k != 'data_dir'}
  loaded, read = _loaded(given)
  if atoms and (read is None or count_sides(given['data'], given.get('x3', '')) > 2):
    raise ValueError(f'atoms={atoms}: information atoms are estimated of two sides from files, by '
                     "generator='pairs'")
  if loaded and several and given.get(_MANY):
    given = {**given, _MANY: _budgets(given, loaded)}
  build = lambda loss: strength.from_settings(
      {**_read_by(loss, given), 'loss': loss}, preset=free, loaded=loaded)
  whole = {loss: build(loss) for loss in names}
  first = whole[names[0]]
  lam = first.axes['lam']
  if not lam[0] == 0 < lam[-1]:
    raise ValueError(f'lam={shown(lam)} must hold 0, which all objectives share, and a strength '
                     'above it')
  one = {name: axis for name, axis in first.axes.items() if name not in ('guard', 'lam_mode')}
  base = dataclasses.replace(first, axes=one)
  zero = tuning.part(base, {**one, 'lam': (0.0,)}, spec=dataclasses.replace(first.spec, loss=''),
                     name='unaligned', settings=_without_loss(first.settings))
  zero = dataclasses.replace(
      zero, tuned=first.tuned, hypers=dataclasses.replace(zero.hypers, guard=None, lam_mode=None))
  parts = {loss: dataclasses.replace(
      tuning.part(study, {**study.axes, 'lam': lam[1:]}, name=loss,
                  settings=study.settings | {'lam': lam[1:]}), notes=())
           for loss, study in whole.items()}
  return Case(zero, parts, loaded if isinstance(loaded, Prepared) else None, atoms, read)


def _read_by(loss: str, given: Mapping[str, Any]) -> dict[str, Any]:
  """The settings without those that are other losses' own."""
  own = losses.loss_of(loss).settings
  return {name: value for name, value in given.items()
          if (name != 'learnable_bias' or 'bias' in own)
          and (not name.startswith('loss_') or name.removeprefix('loss_') in own)}


def _loaded(given: Mapping[str, Any]) -> tuple[files.Loaded | None, Callable[[], Pairs] | None]:
  """Data from files, which are read once for all objectives, and how pairs are read as they are
  there; None of a generator."""
  source = lookup(SOURCES, str(given.get('generator', Spec.generator)), 'generator')
  settings = checked(given, strength.defaults(), strength.rules(source))
  if settings['generator'] not in files.GENERATORS:
    return None, None
  loaded = files.load(settings)
  return loaded, functools.partial(files.read_pairs, settings) if isinstance(
      loaded, Prepared) else None


def _budgets(given: Mapping[str, Any], loaded: files.Loaded) -> tuple[int, ...]:
  """The budgets that these data have; all labels, where they have none of them."""
  asked = given[_MANY] if isinstance(given[_MANY], (tuple, list)) else (given[_MANY],)
  if not isinstance(loaded, Prepared):
    return tuple(asked)
  if not loaded.classes:
    note(f'{given["data"]}: a regression, so no budget of labels a class; all labels')
    return (0,)
  most = files.per_class(loaded)[0].min()
  left = tuple(b for b in asked if b <= most)
  if len(left) < len(asked):
    note(f'{given["data"]}: {most} labels of the rarest class, so no budget of '
         f'{" or ".join(str(b) for b in asked if b > most)}')
  return left or (0,)


def _without_loss(settings: Mapping[str, Any]) -> dict[str, Any]:
  """The record of what is not aligned: of any objectives it is the same."""
  return {k: v for k, v in settings.items()
          if k not in ('guard', 'lam_mode', *_OF_LOSS) and not k.startswith('loss')} | {
              'loss': '', 'lam': (0.0,)}


def _refuse_unread(given: Mapping[str, Any], studies: list[Study], names: tuple[str, ...],
                   preset: Collection[str]) -> None:
  """A setting of a loss that none of the objectives has."""
  for name, value in given.items():
    of_loss = name in _OF_LOSS or name.startswith('loss_')
    if of_loss and name not in preset and value != defaults()[name] and not any(
        name in study.settings for study in studies):
      raise ValueError(f'{name}={shown(value)} has no effect: objectives={shown(names)} do not '
                       'read it')
