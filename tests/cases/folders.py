"""Settings of training, work in folders, and the pictures of it."""

import contextlib
import errno
import inspect
import io
import json
import os
import pathlib
import resource
import subprocess
import sys

import digit_files
import emergence_report_test
import jax
import jax.numpy as jnp
from matplotlib.text import Text
import numpy as np
import pytest
import xarray as xr

from cases.table import Row
from mmalign_jax import checks
from mmalign_jax.cli import sweep
from mmalign_jax.data.avmnist import load as avmnist
from mmalign_jax.runs import damage, folder as files_of
from mmalign_jax.runs.dataset import write_dataset
from mmalign_jax.studies import registry
from mmalign_jax.studies.emergence import (
  dataset as emergence_data,
  figures as emergence_figures,
  paper,
  plan as emergence_plan,
  report as emergence_report,
)
from mmalign_jax.studies.strength import figures, plan, report, run as loop
from mmalign_jax.studies.train import log, report as train_report
from mmalign_jax.training import step
from mmalign_jax.types import Batch, Hyper, Spec

# -- a learnable temperature -----------------------------------------------------------------------

LEARNT = Spec(learnable_temperature=True, encoder='mlp', depth=1, width=4, projection_width=4,
              batch_size=16, steps=300)
LEARN = jax.jit(lambda h, b: jax.lax.scan(
    lambda s, _: (step.train_step(s, h, b, spec=LEARNT, n_outputs=2)[0],
                  jnp.exp(s.params['log_temperature'])),
    step.init_state(jax.random.key(0), h, 4, 4, spec=LEARNT, n_outputs=2), length=300)[1])


def temperatures(start, lam, weight_decay=1e-2, same=True) -> np.ndarray:
  """[300] over training; `same`: both sides see the same, else they share nothing."""
  x = np.random.default_rng(0).standard_normal((2, 16, 4)).astype(np.float32)
  batch = Batch((x[0], x[0] if same else x[1]), np.arange(16) % 2)
  return np.asarray(LEARN(Hyper(lam=lam, temperature=start, weight_decay=weight_decay,
                                learning_rate=5e-2), batch))


def stays(start, weight_decay):
  def check(folder: pathlib.Path):
    found = temperatures(start, 0.0, weight_decay)
    assert (found == found[0]).all() and found[0] == pytest.approx(start, rel=1e-6)
  return check


def moves(start, same, down):
  def check(folder: pathlib.Path):
    found = temperatures(start, 1.0, 0.0, same)
    assert found.min() < 0.9 * start if down else found.max() > 1.1 * start
    assert (0.01 <= found * (1 + 1e-6)).all() and (found <= 1 + 1e-6).all()
  return check


def refused(start, **bounds):
  def check(folder: pathlib.Path):
    spec = Spec(learnable_temperature=True, **bounds)
    with pytest.raises(ValueError, match=f'temperature={start:g} is outside'):
      checks.check(spec, Hyper(temperature=np.float32(start)))
    checks.check(spec, Hyper(temperature=np.float32(spec.min_temperature)))
    checks.check(spec, Hyper(temperature=np.float32(spec.max_temperature)))
    checks.check(Spec(), Hyper(temperature=np.float32(start)))  # a fixed one knows no bounds
  return check


ROWS = [
    Row('3', 'temperature at lam 0, decay 0.01: 0.10 stays', stays(0.1, 1e-2)),
    Row('3', 'temperature at lam 0, decay 0.5: 0.18 stays', stays(0.18, 0.5)),
    Row('3', 'temperature at lam 0 on its lower bound stays', stays(0.01, 1e-1)),
    Row('3', 'temperature at lam 0 on its upper bound stays', stays(1.0, 1e-1)),
    Row('3', 'temperature on its lower bound moves', moves(0.01, same=False, down=False)),
    Row('3', 'temperature on its upper bound moves', moves(1.0, same=True, down=True)),
    Row('3', 'temperature pressed to its lower bound, never beyond', moves(0.1, True, True)),
    Row('3', 'temperature that starts below its bound', refused(0.001)),
    Row('3', 'temperature that starts above its bound', refused(1.5)),
    Row('3', 'temperature outside bounds of its own',
        refused(0.1, min_temperature=0.2, max_temperature=0.5)),
]


# -- pictures and reports of what diverged ---------------------------------------------------------

SEEDS, LAMS, EVERY = tuple(range(5)), (0.0, 0.5, 1.0), lambda d: d['diverged'] | True


def strength(axes, bad=lambda d: d['diverged']) -> xr.Dataset:
  """Results of a strength study over `axes`, of which the cells `bad` diverged."""
  dims, shape = tuple(axes), tuple(map(len, axes.values()))
  draw = np.random.default_rng(0).random
  numbers = ('accuracy_1', 'accuracy_2', 'cka', 'mutual_knn')
  made = xr.Dataset(
      {**{name: (dims, 0.5 + 0.2 * draw(shape)) for name in numbers},
       'ceiling_1': (dims, np.full(shape, 0.9)), 'ceiling_2': (dims, np.full(shape, 0.9)),
       'diverged': (dims, np.zeros(shape, bool))},
      {name: list(axis) for name, axis in axes.items()}, {'name': 'made'})
  lost = bad(made)
  return made.assign({'diverged': lost, **{n: made[n].where(~lost) for n in numbers}})


def answered(dataset, write, *words):
  """The study is answered, its files are JSON, and `words` are in what the user reads."""
  def check(folder: pathlib.Path):
    resampled = 'resamples' in inspect.signature(write).parameters
    text = write(dataset(), folder, figures=False, **({'resamples': 50} if resampled else {}))
    assert all(word in text for word in words) and 'nan' not in text, text
    json.loads((folder / 'summary.json').read_text(), parse_constant=pytest.fail)
  return check


def drawn(dataset):
  """Every picture of a strength study is drawn; what there is of it is said in words too."""
  def check(folder: pathlib.Path):
    made = dataset()
    summary, groups = report.summarise(made, resamples=50), figures.grouped(made)
    for figure in (figures.accuracy_figure(groups, made), figures.gain_figure(groups, made),
                   figures.best_figure(summary, made), figures.cka_figure(groups)):
      assert 'nan' not in ' '.join(text.get_text() for text in figure.findobj(Text))
  return check


def all_diverged(folder: pathlib.Path):
  text = report.write(strength(dict(redundancy=(0, 8), lam=LAMS, seed=SEEDS), EVERY), folder,
                      resamples=50)
  assert '30 of 30 cells diverged' in text and 'all diverged at the lowest lam' in text
  for name in ('accuracy', 'gain', 'cka', 'best_lam'):
    assert 'every cell diverged' in (folder / 'figures' / f'{name}.svg').read_text()


def emergence(**where):
  """Results of an emergence study; those at `where` ({}: all) diverged from the start."""
  def make():
    made = emergence_report_test.study(seeds=2, n_train=2048)
    made = made.isel(depth=[0, 2], transform_depth=[0])
    lost = xr.ones_like(made['diverged_2'])
    for name, value in where.items():
      lost = lost & (made[name] == value)
    fill = {name: made[name].where(~lost) for name in made.data_vars
            if name.partition('_')[0] in ('debiased', 'accuracy', 'validation')}
    return made.assign(**fill, **{f'{name}_{i}': value for i in (1, 2) for name, value in (
        ('diverged', lost), ('best_epoch', made[f'best_epoch_{i}'].where(~lost, 0)))})
  return make


def emergence_drawn(where):
  def check(folder: pathlib.Path):
    made = emergence(**where)()
    summary = emergence_report.summarise(made, resamples=20)
    for draw in (emergence_figures.unique_figure, emergence_figures.performance_figure,
                 emergence_figures.correlation_figure, emergence_figures.transform_figure):
      text = ' '.join(text.get_text() for text in draw(made, summary).findobj(Text))
      assert 'nan' not in text
  return check


def trained(bad, lam=(0.0, 1.0), seeds=2):
  """Results of a training of which the runs `bad` diverged."""
  def make():
    draw = np.random.default_rng(0).random
    shape, dims = (len(lam), seeds), ('lam', 'seed')
    names = ('accuracy_1', 'accuracy_2', 'cka', 'mutual_knn', 'recall_12', 'recall_21')
    made = xr.Dataset(
        {**{name: (dims, draw(shape)) for name in names},
         **{f'accuracy_by_fold_{i}': ((*dims, 'fold'), draw((*shape, 4))) for i in (1, 2)}},
        {'lam': list(lam), 'seed': list(range(seeds))})
    return made.where(~bad(made))
  return make


def own_strengths(lam_1, lam_2):
  """Every row of gain and place of best is labelled by the strength of the *other* encoder."""
  def check(folder: pathlib.Path):
    made = strength(dict(redundancy=(7,), lam_1=lam_1, lam_2=lam_2, seed=SEEDS))
    gain = figures.gain_figure(figures.grouped(made), made).axes
    best = figures.best_figure(report.summarise(made, resamples=50), made).axes
    for i, other in ((0, lam_2), (1, lam_1)):
      wanted = [f'{v:g}' for v in other]
      assert [label.get_text() for label in gain[i].get_yticklabels()] == wanted
      assert [label.get_text() for label in best[i].get_xticklabels()] == wanted
      assert gain[i].images[0].get_array().shape == (len(other), len((lam_1, lam_2)[i]))
  return check


def one_without_a_best(folder: pathlib.Path):
  """A setting that diverged keeps its place: the marks after it stay under their own labels."""
  made = strength(dict(redundancy=(0, 4, 8), lam=LAMS, seed=SEEDS),
                  lambda d: d['diverged'] | (d['redundancy'] == 4))
  axis = figures.best_figure(report.summarise(made, resamples=50), made).axes[0]
  assert [label.get_text() for label in axis.get_xticklabels()] == ['0', '4', '8']
  for line in axis.get_lines()[:1]:
    np.testing.assert_array_equal(np.isfinite(line.get_ydata()), [True, False, True])


def others_beside_the_paper(**settings):
  def check(folder: pathlib.Path):
    told = paper.PROTOCOL | {'untransformed_depth': (1,)}
    assert paper.applies(json.loads(json.dumps(told)))
    assert paper.applies(emergence_plan.from_settings({}).settings)
    assert not paper.applies(json.loads(json.dumps(told | settings)))
  return check


TINY = dict(n_train=2048, n_validation=512, batch_size=128, epochs_1=2, epochs_2=2, depth=(1, 2))


def words(side, depth, transform, seed, expected):
  def check(folder: pathlib.Path):
    assert emergence_plan.Unit(side, depth, transform, seed, 1, 0.1, 0.0).words == expected
  return check


ROWS += [
    Row(20, 'all cells diverged: figures and report of strength', all_diverged),
    Row(20, 'one seed, all diverged', drawn(lambda: strength(
        dict(redundancy=(0, 8), lam=LAMS, seed=(0,)), EVERY))),
    Row(20, 'one lam, all diverged', drawn(lambda: strength(
        dict(redundancy=(0, 8), lam=(1.0,), seed=SEEDS), EVERY))),
    Row(20, 'lowest lam diverged', drawn(lambda: strength(
        dict(redundancy=(0, 8), lam=LAMS, seed=SEEDS), lambda d: d['diverged'] | (d.lam == 0)))),
    Row(20, 'pairs of strengths, some diverged', answered(lambda: strength(
        dict(redundancy=(7,), lam_1=(0.0, 1.0), lam_2=LAMS, seed=SEEDS),
        lambda d: d['diverged'] | (d.lam_2 == 0.5)), report.write, 'of it, or of the lowest, div')),
    Row(20, 'emergence, all diverged: report', answered(
        emergence(), emergence_report.write, 'diverged', 'the untrained state')),
    Row(20, 'emergence, all diverged: figures', emergence_drawn({})),
    Row(20, 'emergence, one uniqueness diverged', emergence_drawn(dict(unique=4))),
    Row(20, 'train, every run diverged', answered(
        trained(lambda d: d.lam >= 0), train_report.write, 'at 2 of 2 strengths a run diverged')),
    Row(20, 'train, one strength of one seed diverged', answered(
        trained(lambda d: d.lam == 1, seeds=1), train_report.write, 'at 1 of 2 strengths')),
    Row('3', 'labels of gain and best: lam_1 (0, 1), lam_2 (0, 0.5)',
        own_strengths((0.0, 1.0), (0.0, 0.5))),
    Row('3', 'labels of gain and best: two and three strengths',
        own_strengths((0.0, 1.0), (0.0, 0.5, 2.0))),
    Row('3', 'labels of gain and best: three and two strengths',
        own_strengths((0.1, 0.2, 0.3), (0.0, 5.0))),
    Row('3', 'labels of best where a setting diverged', one_without_a_best),
    Row('3', 'published values beside emergence:tiny', others_beside_the_paper(**TINY)),
    Row('3', 'published values beside fewer samples', others_beside_the_paper(n_train=2048)),
    Row('3', 'published values beside fewer epochs', others_beside_the_paper(epochs_2=100)),
    Row('3', 'published values beside other depths', others_beside_the_paper(depth=(1, 4, 8))),
]
ROWS += [Row('3', f'Unit.words: {text}', words(*unit, text)) for unit, text in (
    ((2, 1, 3, 0), 'side 2, depth 1, transform 3, seed 0'),
    ((1, 10, 0, 10), 'side 1, depth 10, transform 0, seed 10'),
    ((2, 2, 10, 100), 'side 2, depth 2, transform 10, seed 100'),
    ((1, 10, 0, 0), 'side 1, depth 10, transform 0, seed 0'))]


# -- files that cannot be read now, that are damaged, or of another version ------------------------

STUDY = dict(redundancy=(0, 8), lam=(0.0,), seed=(0, 1), steps=2, depth=1, width=4, batch_size=8,
             n_train=(16,), n_align=16, chunk=1, workers=1)
TRAINED: dict[str, xr.Dataset] = {}  # the undisturbed results: made once


def run(folder: pathlib.Path, **rest) -> xr.Dataset | None:
  return loop.run_study(plan.from_settings(STUDY), folder, progress=False, **rest)


def begun(folder: pathlib.Path) -> tuple[pathlib.Path, list[pathlib.Path], xr.Dataset]:
  """A finished study in a folder, its files of cells, and its results."""
  place = folder / 'study'
  if 'whole' not in TRAINED:
    TRAINED['whole'] = run(place)
    TRAINED['files'] = {path.name: path.read_bytes() for path in (place / 'chunks').glob('*.npz')}
    TRAINED['config'] = (place / 'config.json').read_bytes()
  else:
    (place / 'chunks').mkdir(parents=True)
    (place / 'config.json').write_bytes(TRAINED['config'])
    for name, content in TRAINED['files'].items():
      (place / 'chunks' / name).write_bytes(content)
  return place, sorted((place / 'chunks').glob('*.npz')), TRAINED['whole']


def said(function) -> str:
  """What it says on standard error."""
  out = io.StringIO()
  with contextlib.redirect_stderr(out):
    function()
  return out.getvalue()


def unreadable(number):
  """A chunk that cannot be opened, now: an error, the chunk stays; after that all goes on."""
  def check(folder: pathlib.Path):
    place, files, whole = begun(folder)
    before, real = files[0].stat().st_mtime_ns, pathlib.Path.read_bytes
    def refuse(path):
      if path == files[0]:
        raise OSError(number, os.strerror(number), str(path))
      return real(path)
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(pathlib.Path, 'read_bytes', refuse)
      with pytest.raises(OSError, match='cannot be read now .*nothing was changed') as caught:
        run(place)
    assert '\n' not in str(caught.value) and os.strerror(number) in str(caught.value)
    xr.testing.assert_identical(run(place), whole)
    assert files[0].stat().st_mtime_ns == before
  return check


def no_descriptors(folder: pathlib.Path):
  """Not one file more can be opened: the same, with the limit of the system itself."""
  place, files, whole = begun(folder)
  limits = resource.getrlimit(resource.RLIMIT_NOFILE)
  taken = os.open(os.devnull, os.O_RDONLY)  # the lowest free number
  try:
    os.close(taken)
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken, limits[1]))
    with pytest.raises(OSError):
      run(place)
    with pytest.raises(OSError, match='cannot be read now .Too many open files'):
      files_of.load(files[0])
  finally:
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
  assert all(path.exists() for path in files)
  xr.testing.assert_identical(run(place), whole)


def damaged(spoil, twice=False):
  """It is set aside, not deleted, and made again; the others stay."""
  def check(folder: pathlib.Path):
    place, files, whole = begun(folder)
    spoilt = spoil(files[1].read_bytes())
    for name in ('.damaged', '.damaged.2')[:1 + twice]:
      files[1].write_bytes(spoilt)
      assert 'is damaged' in said(lambda: xr.testing.assert_identical(run(place), whole))
      assert files[1].with_name(files[1].name + name).read_bytes() == spoilt
    assert len(list(files[0].parent.glob('*.damaged*'))) == 1 + twice
  return check


def rewritten(path: pathlib.Path, **change) -> None:
  """A chunk as a version would have written it that had no name that is None, and some others."""
  with np.load(path) as found:
    arrays = {**found, **change}
  files_of.save(path, {name: value for name, value in arrays.items() if value is not None})


def lacks(name, both):
  """A variable of today that an older file does not hold: NaN for its cells, and said."""
  def check(folder: pathlib.Path):
    place, files, whole = begun(folder)
    for path in files if both else files[:1]:
      rewritten(path, **{name: None})
    found = {}
    assert f"without '{name}': NaN" in said(lambda: found.update(run(place)))
    lost = np.isnan(found[name]).values
    assert lost.all() if both else lost.sum() == 1
    for other in set(whole.data_vars) - {name, name.rpartition('_')[0]}:
      np.testing.assert_array_equal(found[other], whole[other])
    assert not list(place.rglob('*.damaged'))
  return check


def merged_from_older(change_config):
  """Shards of an older version: the merge goes on, says what was missing, and only reads them."""
  def check(folder: pathlib.Path):
    _, files, whole = begun(folder)
    for i in (1, 2):
      shard = folder / str(i)
      (shard / 'chunks').mkdir(parents=True)
      config = json.loads(TRAINED['config'])
      for name in change_config:
        del config[name]
      (shard / 'config.json').write_text(json.dumps(config))
      for path in files[i - 1::2]:
        (shard / 'chunks' / path.name).write_bytes(path.read_bytes())
        if not change_config:
          rewritten(shard / 'chunks' / path.name, mi_1=None)
    before = contents(folder / '1'), contents(folder / '2')
    text = said(lambda: registry.merge([folder / '1', folder / '2'], folder / 'out', figures=False))
    assert 'of another version, without' in text
    assert (contents(folder / '1'), contents(folder / '2')) == before
    found = xr.open_zarr(folder / 'out' / 'results.zarr').load()
    np.testing.assert_array_equal(found['accuracy_1'], whole['accuracy_1'])
  return check


def contents(folder: pathlib.Path) -> dict[str, tuple[bytes, int]]:
  return {str(path): (path.read_bytes(), path.stat().st_mtime_ns)
          for path in folder.rglob('*') if path.is_file()}


def merge_of_damaged(folder: pathlib.Path):
  """A source of which a file is damaged: its cells are missing, by name, and nothing is touched."""
  place, files, _ = begun(folder)
  files[0].write_bytes(files[0].read_bytes()[:-40])
  before = contents(place)
  with pytest.raises(ValueError, match='1 of 4 cells are missing .*redundancy=0, lam=0, seed=0'):
    said(lambda: registry.merge([place], folder / 'out', figures=False))
  assert contents(place) == before and not (folder / 'out').exists()


def merge_killed(at):
  """Ended as it was about to write file `at`: the same merge comes to the same end."""
  def check(folder: pathlib.Path):
    place, files, whole = begun(folder)
    real, calls = files_of.write_whole, []
    def write(path, content):
      calls.append(path)
      if len(calls) == at:
        path.with_name(f'{path.name}.1.part').write_bytes(content[:len(content) // 2])
        raise KeyboardInterrupt
      real(path, content)
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(files_of, 'write_whole', write)
      with pytest.raises(KeyboardInterrupt):
        registry.merge([place], folder / 'out', figures=False)
    registry.merge([place], folder / 'out', figures=False)
    xr.testing.assert_identical(xr.open_zarr(folder / 'out' / 'results.zarr').load(), whole)
  return check


def no_configuration(folder: pathlib.Path):
  """Cells of it is not known what are not taken for those of this study."""
  place, files, _ = begun(folder)
  (place / 'config.json').unlink()
  with pytest.raises(ValueError, match='holds results but no config.json'):
    run(place)
  assert not (place / 'config.json').exists() and all(path.exists() for path in files)


def unknown_chunk(folder: pathlib.Path):
  """A file without the cells it is of is refused by name, and stays."""
  place, files, _ = begun(folder)
  rewritten(files[0], cell=None)
  before = files[0].read_bytes()
  with pytest.raises(ValueError, match=f"{files[0].name} holds no 'cell', being of another"):
    run(place)
  assert files[0].read_bytes() == before


def encoder_of_another_tuning(folder: pathlib.Path):
  unit = emergence_plan.Unit(2, 1, 3, 0, 1, 0.1, 0.0)
  held = {name: np.zeros(2) for name in ('accuracy', 'best_epoch', 'diverged', 'validation')}
  files_of.save(folder / 'a.npz', held | {'learning_rate': np.float32(0.5),
                                          'weight_decay': np.float32(0)})
  with pytest.raises(ValueError, match='trained with learning_rate=0.5, and tuning.json says 0.1'):
    emergence_data.load(folder / 'a.npz', unit)
  assert (folder / 'a.npz').exists()


def results_between_two_moves(folder: pathlib.Path):
  """Killed after the old results had been moved away: they come back where new ones fail."""
  data, path = xr.Dataset({'a': ('x', [1.0, 2.0])}), folder / 'results.zarr'
  write_dataset(data, path)
  path.rename(folder / 'results.zarr.old')
  with pytest.MonkeyPatch.context() as patch:
    def full(*_, **__):
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    patch.setattr(xr.Dataset, 'to_zarr', full)
    with pytest.raises(OSError, match='No space left on device; what it is made of is safe'):
      write_dataset(data + 1, path)
  xr.testing.assert_identical(xr.open_zarr(path).load(), data)
  write_dataset(data + 1, path)
  xr.testing.assert_identical(xr.open_zarr(path).load(), data + 1)
  assert [p.name for p in folder.iterdir()] == ['results.zarr']


def log_with_a_damaged_line(folder: pathlib.Path):
  """The lines after it are kept too, and the file as it was."""
  path = folder / 'metrics.jsonl'
  path.write_bytes(b'{"step": 1}\n{"st\xff": 2}\n{"step": 3}\n{"step": 4')
  before = path.read_bytes()
  assert 'line 2' in said(lambda: log.TrainLog(folder, ['a'], 3, tensorboard=False).close())
  assert [json.loads(line)['step'] for line in path.read_text().splitlines()] == [1, 3]
  assert (folder / 'metrics.jsonl.damaged').read_bytes() == before


def tensorstore_errors(folder: pathlib.Path):
  """What TensorStore says of the machine proves no damage; what it says of the file does."""
  assert damage.proves_nothing(ValueError('Error opening "x" [OS error 24: Too many open files]'))
  assert damage.proves_nothing(ValueError('UNKNOWN: [OS error 13: EACCES Permission denied]'))
  assert damage.proves_nothing(OSError(errno.EIO, 'x')) and damage.proves_nothing(MemoryError())
  assert damage.proves_nothing(PermissionError(errno.EACCES, 'x'))
  assert not damage.proves_nothing(ValueError('NOT_FOUND [OS error 2: ENOENT No such file]'))
  assert not damage.proves_nothing(ValueError('Zlib decompression failed'))
  assert not damage.proves_nothing(FileNotFoundError(errno.ENOENT, 'x'))


def prepared_set(folder: pathlib.Path):
  """A prepared set of digits of which a file cannot be opened now is not said to be bad."""
  digit_files.write_sources(folder / 'source')
  load = lambda: avmnist.load_avmnist(
      folder / 'source', prepared_dir=folder / 'prepared', train_size=8, test_size=6)
  def refuse(path):
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))
  with contextlib.redirect_stderr(io.StringIO()):
    before = load()
    with pytest.MonkeyPatch.context() as patch:
      from mmalign_jax.data.avmnist import builder  # slow to import
      patch.setattr(builder, 'read_back', refuse)
      with pytest.raises(OSError, match='cannot be read now .Too many open files.; nothing was ch'):
        load()
    np.testing.assert_array_equal(load().image_train, before.image_train)


def flipped(at):
  return lambda content: content[:at] + bytes([content[at] ^ 4]) + content[at + 1:]


ROWS += [
    *(Row(15, f'a chunk, and {os.strerror(number)}', unreadable(number)) for number in (
        errno.EMFILE, errno.EACCES, errno.EIO)),
    Row(15, 'no file descriptor is left', no_descriptors),
    Row(15, 'a chunk cut short, twice', damaged(lambda content: content[:100], twice=True)),
    Row(15, 'an empty chunk', damaged(lambda content: b'')),
    Row(15, 'a bit flipped in an array', damaged(flipped(200))),
    Row(15, 'a bit flipped in the directory of the zip', damaged(flipped(-60))),
    Row(15, 'a bit flipped in the checksum', damaged(flipped(-1))),
    Row(15, 'a variable that one older file does not hold', lacks('mutual_knn', both=False)),
    Row(15, 'a variable that no file holds', lacks('mi_2', both=True)),
    Row(15, 'an older folder merged: a variable added', merged_from_older(())),
    Row(15, 'an older folder merged: a setting added',
        merged_from_older(('flipped', 'projection_width'))),
    Row(15, 'a damaged file in a folder to merge', merge_of_damaged),
    *(Row(15, f'a merge killed at file {at}', merge_killed(at)) for at in (1, 3, 6)),
    Row(15, 'results without config.json', no_configuration),
    Row(15, 'a file of cells without their numbers', unknown_chunk),
    Row(15, 'encoders trained at other rates than tuning.json says', encoder_of_another_tuning),
    Row(15, 'results.zarr between two moves, then a full disk', results_between_two_moves),
    Row(15, 'a log with a damaged line', log_with_a_damaged_line),
    Row(15, 'errors of TensorStore', tensorstore_errors),
    Row(15, 'a prepared set of digits, and Too many open files', prepared_set),
]


# -- code of the folder that one stands in ---------------------------------------------------------

STRANGE = 'raise SystemExit("code of the folder one stands in was run")\n'


def foreign(*names):
  """Files of these names in the working directory are not what is run."""
  def check(folder: pathlib.Path):
    for name in names:
      (folder / name).parent.mkdir(exist_ok=True)
      (folder / name).write_text(STRANGE)
    with pytest.MonkeyPatch.context() as patch:
      patch.chdir(folder)
      ran = []
      patch.setattr(sweep.runpy, 'run_path', lambda path, **_: ran.append(path))
      patch.setattr(sys, 'argv', sys.argv)
      sweep.run([])
      assert not pathlib.Path(ran[0]).resolve().is_relative_to(folder)
      for name in names:
        if name.startswith('configs/'):
          found = {}
          text = said(lambda: found.update(a=sweep.with_known_configs([f'--config={name}:tiny'])))
          path = found['a'][0].removeprefix('--config=').removesuffix(':tiny')
          assert not pathlib.Path(path).resolve().is_relative_to(folder)
          assert f'./{name} is the one in this folder' in text
          # what is named as one's own is one's own
          for own in (f'./{name}', str(folder / name)):
            assert pathlib.Path(sweep.config(own)).resolve() == folder / name
  return check


def own_config(folder: pathlib.Path):
  """A file that the package does not have is the user's, by any path."""
  (folder / 'configs').mkdir()
  (folder / 'configs' / 'mine.py').write_text('')
  (folder / 'sweep.py').write_text('')
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    assert sweep.config('configs/mine.py').resolve() == folder / 'configs' / 'mine.py'
    assert sweep.config('sweep.py').resolve() == folder / 'sweep.py'
    with pytest.raises(FileNotFoundError, match='--config=launch/sweep.py: no such file'):
      sweep.config('launch/sweep.py')


def foreign_modules(folder: pathlib.Path):
  """python -m mmalign_jax.cli in a folder with modules of names that it will import itself."""
  root = pathlib.Path(sweep.__file__).resolve().parents[2]
  for name in ('matplotlib', 'xarray', 'safetensors'):
    (folder / f'{name}.py').write_text(STRANGE)
  code = ('import runpy, sys, os; sys.path[0] = os.getcwd();'  # as -m does
          'import mmalign_jax.cli; from mmalign_jax import start;'
          'start.entry = lambda: print(__import__("matplotlib").__file__);'
          'runpy.run_module("mmalign_jax.cli", run_name="__main__", alter_sys=False)')
  found = subprocess.run([sys.executable, '-c', code], cwd=folder, capture_output=True, text=True,
                         env=os.environ | {'PYTHONPATH': str(root)}, timeout=120, check=False)
  assert found.returncode == 0 and 'site-packages' in found.stdout, found.stderr


ROWS += [
    Row(21, 'launch/sweep.py in the working directory', foreign('launch/sweep.py')),
    Row(21, 'launch/train.py beside it', foreign('launch/sweep.py', 'launch/train.py')),
    Row(21, 'configs/strength.py in the working directory', foreign('configs/strength.py')),
    Row(21, 'every configuration in the working directory', foreign(
        *(f'configs/{name}.py' for name in ('strength', 'emergence', 'paired', 'avmnist')))),
    Row(21, 'a configuration of the user', own_config),
    Row(21, 'modules in the working directory', foreign_modules),
]
