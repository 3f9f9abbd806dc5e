"""What alignment erases: retention of every factor in every layer, in arrays, entries, tables."""

from collections.abc import Iterator, Mapping
import dataclasses
import itertools
from typing import Any

import numpy as np
import xarray as xr

from mmalign_jax.data.sources import SOURCES
from mmalign_jax.reports.document import Section, Table, Words
from mmalign_jax.reports.statistics import finite, half_width, mean_band
from mmalign_jax.studies.strength.curves import encoders, setting_dims, strength_axis
from mmalign_jax.studies.strength.plan import Study
from mmalign_jax.training import probes

READING = (
    'retention: balanced accuracy in percent of a linear probe of each bit of a factor (mean over '
    f'its bits), fitted to {probes.N_FIT} fresh samples and judged on all inputs; chance is 50 '
    'exactly. change: at the highest strength minus at the lowest one, in points, paired over '
    'seeds, with its 95 % t interval. falls from: the lowest strength from which on the interval '
    'of that change lies below 0 at every strength; each is of one strength alone. '
    'unique_other cannot be read by any probe: it is a control.')
MIN_SEEDS = 3  # below which there is no interval
SAID = 2       # layers from the last on that a command prints; the report has all


def variables(study: Study, values: Mapping[str, np.ndarray]) -> dict[str, xr.DataArray]:
  """`retention` [..., encoder, layer, factor] and `chance` [..., encoder, factor] of all cells.

  Encoders may differ in depth and in what they see: layers and factors are matched by name, NaN
  where one has none such.

  Args:
    study: of R cells, with probes.
    values: {'retention_I': [R, L, G], 'chance_I': [R, G]} of every encoder I.
  """
  source, dims = SOURCES[study.spec.generator], tuple(study.axes)
  sides = range(1, study.n_sides + 1)
  factors = {i: probes.factor_names(source, study.tables, i) for i in sides}
  layers = {i: probes.layer_names(values[f'retention_{i}'].shape[1]) for i in sides}
  every = tuple(dict.fromkeys(itertools.chain(*factors.values())))
  deepest = max(layers.values(), key=len)
  coords = {'encoder': list(sides), 'layer': list(deepest), 'factor': list(every)}
  found = np.full((study.n_cells, len(sides), len(deepest), len(every)), np.nan)
  chance = np.full((study.n_cells, len(sides), len(every)), np.nan)
  for k, i in enumerate(sides):
    at = [every.index(name) for name in factors[i]]
    depth = [deepest.index(name) for name in layers[i]]
    found[:, k, np.array(depth)[:, None], at] = values[f'retention_{i}']
    chance[:, k, at] = values[f'chance_{i}']
  words = '; '.join(f'{name}: {source.factor_words.get(name, name)}' for name in every)
  of = lambda value, names, long_name: xr.DataArray(
      value.reshape(study.shape + value.shape[1:]), dims=dims + names,
      coords={name: coords[name] for name in names},
      attrs={'long_name': long_name, 'units': '1', 'factors': words})
  return {'retention': of(found, ('encoder', 'layer', 'factor'),
                          'balanced accuracy of linear probes'),
          'chance': of(chance, ('encoder', 'factor'), 'balanced accuracy by chance')}


@dataclasses.dataclass(frozen=True)
class Kept:
  """One factor in one layer of one encoder: setting {dimension: value} of the data; axis: name of
  the strength that varies; lam [L]; values [L, S], in 0..1, NaN where a cell diverged."""
  setting: dict[str, Any]
  encoder: int
  factor: str
  layer: str
  axis: str
  lam: np.ndarray
  values: np.ndarray
  chance: float

  def change(self) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds [L] of the change since the lowest strength, and its t half width [L]; NaN
    where fewer than 3 seeds have both."""
    moved = self.values - self.values[:1]
    n = np.isfinite(moved).sum(axis=1)
    mean, _ = mean_band(moved)
    spread = np.sqrt(np.nansum((moved - mean[:, None]) ** 2, axis=1) / np.maximum(n - 1, 1))
    return mean, np.where(n >= MIN_SEEDS, half_width(spread, n), np.nan)

  def falls_from(self) -> float | None:
    """The lowest strength from which on the interval of the change lies below 0; None for none."""
    mean, half = self.change()
    not_below = ~(mean + half < 0)  # [L]: at the lowest strength, and where there is no interval
    first = np.flatnonzero(not_below)[-1] + 1
    return float(self.lam[first]) if first < len(self.lam) else None


def kept(dataset: xr.Dataset) -> Iterator[Kept]:
  """Every factor that a layer could hold, settings in order, encoder 1 first, then by factor."""
  for encoder in encoders(dataset):
    own, axis = setting_dims(dataset, encoder), strength_axis(dataset, encoder)
    for point in itertools.product(*(dataset[d].values.tolist() for d in own)):
      setting = dict(zip(own, point))
      cell = dataset[['retention', 'chance']].sel(setting | {'encoder': encoder})
      for factor, layer in itertools.product(cell['factor'].values, cell['layer'].values):
        one = cell.sel(factor=factor, layer=layer)
        values = one['retention'].transpose(axis, 'seed').values
        if np.isfinite(values).any():
          yield Kept(setting, encoder, str(factor), str(layer), axis, cell[axis].values, values,
                     float(np.nanmax(one['chance'].values)))


def entries(dataset: xr.Dataset, encoder: int, setting: Mapping[str, Any]) -> list[dict]:
  """What summary.json says of one encoder in one setting: a row for each factor and layer.

  Args:
    dataset: with `retention`; without, there are none.
    encoder: from 1. setting: {dimension: value} of the data.
  """
  if 'retention' not in dataset:
    return []
  found = []
  for one in kept(dataset.sel({d: [v] for d, v in setting.items()})):
    if one.encoder != encoder:
      continue
    mean, half = mean_band(one.values)
    half[np.isfinite(one.values).sum(axis=1) < MIN_SEEDS] = np.nan
    change, wide = one.change()
    found.append({
        'factor': one.factor, 'layer': one.layer, 'chance': one.chance, 'lam': one.lam.tolist(),
        'retention': _numbers(mean), 'half_width': _numbers(half),
        'change': _numbers(change), 'change_half_width': _numbers(wide),
        'falls_from': one.falls_from()})
  return found


def _numbers(values: np.ndarray) -> list[float | None]:
  return [finite(v) for v in values]


def sections(dataset: xr.Dataset, summary: list[dict], settings: list[str]) -> list[Section]:
  """The table of the last layers, which is printed, and that of all.

  Args:
    dataset: with `retention`; without, there are no sections.
    summary: entries of `report.summarise`. settings: names in them that vary.
  """
  if 'retention' not in dataset:
    return []
  layers = [str(name) for name in dataset['layer'].values]
  said = table(summary, settings, layers[-SAID:])
  return [Section('What alignment erases', [said]),
          Section('How to read that', [Words(READING)], said=False),
          *([Section('In every layer', [table(summary, settings, layers)], said=False)]
            if len(layers) > SAID else [])]


def table(summary: list[dict], settings: list[str], layers: list[str]) -> Table:
  """Retention at the lowest and the highest strength, in percent, and its change, in points.

  Args:
    summary: entries with `retention`. settings: names in them to show. layers: names, in order.
  """
  head = [*settings, 'encoder', 'factor', 'layer', 'at lowest', 'at highest', 'change', '95 %',
          'falls from']
  rows = [[*(f'{row[name]:g}' if isinstance(row[name], float) else str(row[name])
             for name in settings), str(row['encoder']), one['factor'], one['layer'],
           *_cells(one)]
          for row in summary for one in row['retention'] if one['layer'] in layers]
  return Table(head, rows, (len(settings) + 1, len(settings) + 2))


def _cells(one: dict) -> list[str]:
  percent = lambda v, form='{:.1f}': '-' if v is None else form.format(100 * v)
  change, wide = one['change'][-1], one['change_half_width'][-1]
  interval = '-' if change is None or wide is None else (
      f'[{100 * (change - wide):+.1f}, {100 * (change + wide):+.1f}]')
  return [percent(one['retention'][0]), percent(one['retention'][-1]), percent(change, '{:+.1f}'),
          interval, '-' if one['falls_from'] is None else f'{one["falls_from"]:g}']
