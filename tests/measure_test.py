"""`mmalign measure`: the same numbers as the functions, and one line for all that is wrong."""

import json
import pathlib

import jax
import numpy as np
import pytest

from mmalign_jax import cli, similarity
from mmalign_jax.cli.measure import request

CLIP = pathlib.Path(__file__).resolve().parents[1] / '../shared/data/clip_features'
N = 24


def views(dtype=np.float32) -> tuple[np.ndarray, np.ndarray]:
  """x [24, 4], y [24, 4] of two shared factors."""
  g = np.random.default_rng(0)
  z = g.normal(size=(N, 2))
  return tuple((z @ g.normal(size=(2, 4)) + g.normal(size=(N, 4))).astype(dtype) for _ in 'xy')


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """A folder with x.npy and y.npy, in which the command runs."""
  monkeypatch.chdir(tmp_path)
  for name, z in zip('xy', views()):
    np.save(f'{name}.npy', z)
  return tmp_path


@pytest.fixture
def run(capsys):
  """run(*arguments) -> what is printed; the last messages are run.notes."""
  def call(*arguments, status=0):
    assert cli.main(['measure', *map(str, arguments)]) == status, capsys.readouterr().err
    printed = capsys.readouterr()
    call.notes = printed.err
    return printed.out
  return call


@pytest.fixture
def scores(run):
  return lambda *arguments: json.loads(run(*arguments, '--json'), parse_constant=pytest.fail)


def calibrated(name, x, y, permutations, seed=0, **settings):
  return jax.jit(lambda x, y: similarity.calibrate(
      similarity.MEASURES[name], x, y, key=jax.random.key(seed), permutations=permutations,
      **settings))(x, y)


# -- numbers ---------------------------------------------------------------------------------------


def test_numbers_are_those_of_the_functions(folder, scores):
  names = ('linear_cka', 'mutual_knn', 'modality_gap')
  found = scores('x.npy', 'y.npy', f'--measures={",".join(names)}', '--k=5', '--null=20',
                 '--seed=3', '--normalize')
  assert tuple(found) == names
  x, y = map(similarity.normalize, views())
  for name in names:
    made = calibrated(name, x, y, 20, seed=3, **({'k': 5} if name == 'mutual_knn' else {}))
    assert found[name].pop('null', 'pairs') == similarity.MEASURES[name].null
    assert list(found[name]) == ['value', 'null_mean', 'null_q95', 'calibrated', 'p_value']
    expected = [made.score, made.null_mean, made.null_quantiles[2], made.calibrated, made.p_value]
    np.testing.assert_allclose(list(found[name].values()), expected, rtol=1e-4, atol=1e-6)


def test_without_null_the_value_alone(folder, scores):
  x, y = views()
  found = scores('x.npy', 'y.npy', '--null=0', '--measures=rbf_cka,linear_cka', '--sigma=1.5')
  for name, value in (('rbf_cka', similarity.rbf_cka(x, y, sigma=1.5)),
                      ('linear_cka', similarity.linear_cka(x, y))):
    assert found[name].pop('value') == pytest.approx(float(value), abs=1e-6)
    assert found[name] == dict.fromkeys(('null_mean', 'null_q95', 'calibrated', 'p_value'))


def test_float64_is_computed_in_float64(folder, scores):
  x, y = views(np.float64)
  np.save('x.npy', x)  # y.npy is float32
  found = scores('x.npy', 'y.npy', '--null=0', '--measures=linear_cka')['linear_cka']['value']
  x, y = x - x.mean(0), (y := np.float64(np.float32(y))) - y.mean(0)
  cka = (np.linalg.norm(x.T @ y) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y))
  assert found == pytest.approx(cka, abs=1e-13)
  assert not jax.config.jax_enable_x64


def test_preprocessing_is_clip_then_standardize_then_normalize(folder, scores):
  found = scores('x.npy', 'y.npy', '--null=0', '--measures=linear_cka', '--normalize', '--clip=0.5',
                 '--standardize')
  x, y = (similarity.normalize(similarity.standardize(similarity.clip(z, quantile=0.5)))
          for z in views())
  assert found['linear_cka']['value'] == pytest.approx(float(similarity.linear_cka(x, y)), abs=1e-6)


def test_seeds_and_intervals(folder, scores):
  arguments = ('x.npy', 'y.npy', '--measures=linear_cka', '--null=20', '--bootstrap=10')
  one, again, other = (scores(*arguments, f'--seed={seed}')['linear_cka'] for seed in (1, 1, 2))
  assert one == again and one['value'] == other['value']
  assert one['null_mean'] != other['null_mean'] and one['interval'] != other['interval']
  low, high = one['interval']
  assert low < high and list(one)[-1] == 'interval'


def test_default_measures_and_what_is_left_out(folder, run, scores, monkeypatch):
  assert set(request.DEFAULT) <= set(similarity.MEASURES)
  monkeypatch.setattr(request, 'DEFAULT', ('linear_cka', 'mutual_knn', 'modality_gap'))
  np.save('y.npy', views()[1][:, :3])
  assert list(scores('x.npy', 'y.npy', '--null=0')) == ['linear_cka', 'mutual_knn']
  run('x.npy', 'y.npy', '--null=0', '--at=2')
  assert run.notes == (
      'note: modality_gap left out: needs sides of equal width, and they have 3 and 4 features\n'
      'note: --at: read by none of these measures\n')
  for name in 'xy':
    np.save(f'{name}.npy', np.load(f'{name}.npy')[:10])
  assert list(scores('x.npy', 'y.npy', '--null=0')) == ['linear_cka']  # k is 10


@pytest.mark.parametrize('name, recall, least', [
    ('features_clip.npy', .552, 0), ('features_clip_random.npy', .002, .1)])
def test_real_pairs(scores, name, recall, least):
  path = CLIP / name
  if not path.is_file():
    pytest.skip(f'no real data at {path}')
  found = scores(f'{path}:0', f'{path}:1', '--measures=recall_xy', '--null=50')['recall_xy']
  assert found['value'] == pytest.approx(recall, abs=1e-6)
  assert (found['p_value'] > least) if least else found['p_value'] == pytest.approx(1 / 51)


# -- layers ----------------------------------------------------------------------------------------


@pytest.fixture
def layers(folder):
  """layers.npz: layer0 .. layer10, of which layer9 is most like y."""
  x, y = views()
  noise = np.random.default_rng(1).normal(size=(11, *y.shape)).astype(np.float32)
  made = [noise[i] if i != 9 else y + 0.1 * noise[i] for i in range(11)]
  np.savez('layers.npz', **{f'layer{i}': z for i, z in enumerate(made)})
  return made


def test_the_best_layer_and_its_null(layers, run, scores):
  arguments = ('layers.npz:layer*', 'y.npy', '--measures=linear_cka,procrustes', '--null=20')
  found = scores(*arguments)
  assert all((entry['layer_x'], entry['layer_y']) == (9, 0) for entry in found.values())
  made = calibrated('procrustes', layers, [views()[1]], 20)
  assert found['procrustes']['value'] == pytest.approx(float(made.score), abs=1e-5)
  assert found['procrustes']['null_mean'] == pytest.approx(float(made.null_mean), abs=1e-5)
  text = run(*arguments, '--figure=f.png')
  assert 'X  layers.npz:layer*: 11 layers of 4 features' in text and 'layer of X' in text
  assert 'layer9\n' in text and 'the best of 11 x 1 pairs of layers' in text
  assert pathlib.Path('f.png').stat().st_size > 5000


# -- text and pictures -----------------------------------------------------------------------------


def test_table_says_what_everything_means(folder, run):
  text = run('x.npy', 'y.npy', '--measures=linear_cka,lcs_knn,procrustes,modality_gap,hsic',
             '--null=30', '--standardize', '--bootstrap=4', '--figure=f.svg', '--k=3')
  lines = text.splitlines()
  assert max(map(len, lines)) <= 120
  assert lines[:2] == ['X  x.npy: 4 features', 'Y  y.npy: 4 features']
  assert lines[2].startswith('N  24 samples in float64, standardised; k 3, metric cosine')
  assert 'samples of Y permuted, 30 times, seed 0 (modality_gap: x_i and y_i exchanged' in text
  head = next(line for line in lines if line.startswith('measure'))
  assert head.split('  ')[0] == 'measure' and '5 to 95 % of chance' in head
  rows = {line.split()[0]: line for line in reversed(lines) if line and not line[0].isspace()}
  assert '<= 0.032' in rows['linear_cka']  # 1 / 31
  flowing = ' '.join(text.split())
  for said in ('0 at chance, 1 for equal sides; value - chance for modality_gap, hsic',
               '(1 + permutations at least as similar) / (1 + 30)', 'never below 0.032',
               'modality_gap: p asks whether the value is larger', '95 % interval', '0..k',
               'R S T', 'S scale', 'C one rotation', 'cosine of the centred Gram matrices'):
    assert said in flowing
  assert {line.split()[2] for line in lines if line.startswith('  lcs_knn')} == {'higher'}
  assert {line.split()[2] for line in lines if line.startswith('  procrustes')} == {'lower'}
  picture = pathlib.Path('f.svg').read_text()
  assert all(name in picture for name in ('linear_cka', 'lcs_knn', 'lower is more similar'))


def test_table_without_null_says_so(folder, run):
  text = run('x.npy', 'y.npy', '--measures=linear_cka', '--null=0')
  assert 'calibrated' not in text and 'give --null' in text


def test_wide_features_come_with_a_remark(folder, run):
  for name, z in zip('xy', np.random.default_rng(0).normal(size=(2, N, N)).astype(np.float32)):
    np.save(f'{name}.npy', z)
  text = run('x.npy', 'y.npy', '--measures=cca,linear_cka', '--null=20')
  assert '24 features for 24 samples: cca can fit anything perfectly' in text


@pytest.mark.parametrize('suffix', ['png', 'pdf', 'svg'])
def test_matrix_of_layers_is_drawn(layers, run, suffix):
  run('layers.npz:layer*', 'layers.npz:layer?', '--measures=linear_cka', '--null=0',
      f'--figure=f.{suffix}')
  assert pathlib.Path(f'f.{suffix}').stat().st_size > 5000


def test_help_lists_every_option(capsys):
  with pytest.raises(SystemExit) as info:
    cli.main(['measure', '--help'])
  text = capsys.readouterr().out
  assert not info.value.code and 'standardised, then normalised' in text
  for option in ('measures', 'k', 'sigma', 'metric', 'at', 'clip', 'standardize', 'normalize',
                 'null', 'bootstrap', 'seed', 'json', 'figure'):
    assert f'--{option}' in text


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize('arguments, message', [
    (['x.npy'], 'the following arguments are required: Y'),
    (['gone.npy', 'y.npy'], "X='gone.npy': no such file"),
    (['x.npy', 'gone.npz:z'], "Y='gone.npz:z': no such file"),
    (['x.npy', 'two.npz:c'], "Y='two.npz:c': no key 'c'; it has 'a', 'b'"),
    (['x.npy', 'two.npz'], "Y='two.npz': which array? add :KEY; it has 'a', 'b'"),
    (['x.npy', 'flat.npy'], "Y='flat.npy': one-dimensional, shape (24,)"),
    (['nan.npy', 'y.npy'], "X='nan.npy': 1 values not finite, first nan at row 5, column 2"),
    (['x.npy', 'short.npy'], "X='x.npy' has N=24 samples, and Y='short.npy' has N=23"),
    (['same.npy', 'y.npy'], "X='same.npy': constant features: all 24 samples are equal"),
    (['x.npy', 'up.npy', '--normalize'], "Y='up.npy': constant features after preprocessing"),
    (['single.npy', 'single.npy'], "X='single.npy' has N=1 sample"),
    (['x.npy', 'y.npy', '--measures=cka'], "measure 'cka' is unknown; known: "),
    (['x.npy', 'y.npy', '--measures=linear_cka,linear_cka'], "'linear_cka' occurs twice"),
    (['x.npy', 'y.npy', '--measures='], "measure '' is unknown"),
    (['x.npy', 'narrow.npy', '--measures=modality_gap'], "measure 'modality_gap': needs sides of"),
    (['three.npy', 'three.npy', '--measures=hsic'], 'needs at least 4 samples, and N=3'),
    (['huge.npy', 'y.npy', '--measures=hsic'], "measure 'hsic': not finite"),
    (['x.npy', 'y.npy', '--k=0'], '--k=0 must be at least 1'),
    (['x.npy', 'y.npy', '--k=24'], '--k=24 neighbours need k < N, and N=24'),
    (['x.npy', 'y.npy', '--k=x'], "argument --k: invalid int value: 'x'"),
    (['x.npy', 'y.npy', '--k=12', '--bootstrap=9'], 'and N=24, of which a half is drawn: 12'),
    (['x.npy', 'y.npy', '--sigma=0'], '--sigma=0 is neither a number above 0 nor median'),
    (['x.npy', 'y.npy', '--sigma=mean'], '--sigma=mean is neither'),
    (['x.npy', 'y.npy', '--clip=2'], '--clip=2.0 is not in (0, 1]'),
    (['x.npy', 'y.npy', '--metric=l1'], "argument --metric: invalid choice: 'l1'"),
    (['x.npy', 'y.npy', '--at=25', '--measures=recall_xy'], 'at=25'),
    (['x.npy', 'y.npy', '--null=-1'], '--null=-1 must be at least 0'),
    (['x.npy', 'y.npy', '--bootstrap=1'], '--bootstrap=1 must be 0 or at least 2'),
    (['x.npy', 'y.npy', '--seed=4294967296'], '--seed=4294967296 is not in 0..2**32-1'),
    (['x.npy', 'y.npy', '--figure=f.gif'], '--figure=f.gif must end in .png, .pdf, .svg'),
    (['x.npy', 'y.npy', '--figure=gone/f.png'], "--figure=gone/f.png: no folder 'gone'"),
    (['x.npy', 'y.npy', '--figure=f.png', '--null=0'], 'nothing to draw'),
    (['x.npy', 'y.npy', '--sigmas=1'], 'unrecognized arguments: --sigmas=1')])
def test_mistakes_end_in_one_line(folder, run, arguments, message):
  x, _ = views()
  np.savez('two.npz', a=x, b=x)
  bad = x.copy()
  bad[5, 2] = np.nan
  for name, z in dict(flat=x[:, 0], nan=bad, short=x[1:], same=np.ones_like(x), single=x[:1],
                      up=np.abs(x[:, :1]) + 1, narrow=x[:, 1:], huge=1e200 * x.astype(float),
                      three=x[:3]).items():
    np.save(f'{name}.npy', z)
  assert run(*arguments, status=2) == ''
  assert message in run.notes and run.notes.startswith('error: ') and run.notes.count('\n') == 1
