"""Settings of training, work in folders, and the pictures of it."""

import json
import pathlib

import jax
import jax.numpy as jnp
from matplotlib.text import Text
import numpy as np
import pytest
import xarray as xr

from cases.table import Row
import emergence_report_test
from mmalign_jax import checks
from mmalign_jax.analysis import (
    emergence_figures, emergence_report, figures, published, report, train_report)
from mmalign_jax.training import emergence as emergence_plan, step
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
  batch = Batch(x[0], x[0] if same else x[1], np.arange(16) % 2)
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
    text = write(dataset(), folder, resamples=50, figures=False)
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
    paper = published.PROTOCOL | {'untransformed_depth': (1,)}
    assert published.applies(json.loads(json.dumps(paper)))
    assert published.applies(emergence_plan.from_settings({}).settings)
    assert not published.applies(json.loads(json.dumps(paper | settings)))
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
