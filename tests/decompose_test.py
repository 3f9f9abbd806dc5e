"""`mmalign decompose`: the same numbers as the functions, and one line for all that is wrong."""

import json
import pathlib

import h5py
import numpy as np
import pytest

from mmalign_jax import cli
from mmalign_jax.cli.decompose import report as decompose_report
from mmalign_jax.information import ATOMS, broja, estimate, quantise
from mmalign_jax.information.lattice import imin

SHARED = pathlib.Path(__file__).resolve().parents[1] / '../shared'
N = 240
KEYS = ['value', 'raw', 'null_mean', 'null_q95', 'p_value', 'interval', 'verdict']
EXACT = [*ATOMS, 'mi_1', 'mi_2', 'mi_joint', 'gap', 'units', 'method']
FAST = ('--null=20', '--bootstrap=20', '--no-check')


def gate(function) -> np.ndarray:
  p = np.zeros((2, 2, 2))
  for a in (0, 1):
    for b in (0, 1):
      p[a, b, function(a, b)] = 0.25
  return p


def features() -> dict[str, np.ndarray]:
  """x1 and x2 each hold a bit in the sign of the first column; y is x1's."""
  g = np.random.default_rng(0)
  bits = g.integers(0, 2, (2, N))
  x1, x2 = (np.c_[6.0 * bit, g.normal(size=(N, 2))] for bit in bits)
  return {'x1': x1, 'x2': x2, 'y': bits[0]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """A folder with and.npy and x1.npy, x2.npy, y.npy, in which the command runs."""
  monkeypatch.chdir(tmp_path)
  np.save('and.npy', gate(lambda a, b: a & b))
  for name, array in features().items():
    np.save(f'{name}.npy', array)
  return tmp_path


@pytest.fixture
def run(capsys):
  """run(*arguments) -> what is printed; the last messages are run.notes."""
  def call(*arguments, status=0):
    assert cli.main(['decompose', *map(str, arguments)]) == status, capsys.readouterr().err
    printed = capsys.readouterr()
    call.notes = printed.err
    return printed.out
  return call


@pytest.fixture
def found(run):
  return lambda *arguments: json.loads(run(*arguments, '--json'), parse_constant=pytest.fail)


SIDES = ('--x1=x1.npy', '--x2=x2.npy', '--y=y.npy')

# -- tables ----------------------------------------------------------------------------------------


def test_a_table_as_json(folder, found):
  made = found('--table=and.npy')
  assert list(made) == EXACT and (made['units'], made['method']) == ('nats', 'broja')
  exact = broja(np.load('and.npy'))
  for name in EXACT[:-2]:
    assert made[name] == pytest.approx(float(getattr(exact, name)), abs=1e-12)
  bits = found('--table=and.npy', '--units=bits')
  assert bits['units'] == 'bits' and bits['synergy'] == pytest.approx(0.5, abs=1e-6)
  assert found('--table=and.npy', '--method=imin')['redundancy'] == pytest.approx(
      float(imin(np.load('and.npy')).redundancy))


def test_tables_from_other_files(folder, found):
  p = np.load('and.npy')
  np.savez('and.npz', p=p, other=p[0])
  with h5py.File('and.h5', 'w') as file:
    file['p'] = p
  expected = found('--table=and.npy')
  assert found('--table=and.npz:p') == found('--table=and.h5:p') == expected


def test_a_rounded_table_is_normalised_with_a_note(folder, run, found):
  np.save('rounded.npy', np.load('and.npy') * 1.0005)
  made = found('--table=rounded.npy')
  assert made['synergy'] == pytest.approx(0.5 * np.log(2), abs=1e-6)
  run('--table=rounded.npy')
  assert 'note: p sums to 1.0005 and was divided by it' in run.notes


def test_a_table_as_text_and_picture(folder, run):
  text = run('--table=and.npy', '--figure=f.png', '--units=bits')
  assert 'and.npy: broja, bits, certain to' in text and 'redundancy  0.311278' in text
  assert 'what only both together tell' in text
  assert pathlib.Path('f.png').stat().st_size > 4000


# -- samples ---------------------------------------------------------------------------------------


def test_samples_as_json_are_those_of_the_functions(folder, found):
  made = found(*SIDES, *FAST, '--cells=3', '--seed=2')
  assert list(made)[:4] == list(ATOMS)
  assert {*EXACT, 'n', 'cells', 'cross_check'} <= set(made)
  assert all(list(made[name]) == KEYS for name in ATOMS)
  assert (made['n'], made['cells'], made['method']) == (N, [3, 3, 2], 'broja')
  data = features()
  codes = [quantise.quantise(data[name], 3, seed=2)[0] for name in ('x1', 'x2')]
  exact = estimate(*codes, data['y'], null=20, bootstrap=20, seed=2)
  for name in ATOMS:
    atom = exact.atoms[name]
    assert made[name]['value'] == pytest.approx(atom.value, abs=1e-9)
    assert made[name]['interval'] == pytest.approx(list(atom.interval), abs=1e-9)
    assert made[name]['p_value'] == atom.p_value and made[name]['verdict'] == atom.verdict
  assert made['unique_1']['value'] > 0.5 and made['cross_check'] is None


def test_units_scale_what_is_information(folder, found):
  nats = found(*SIDES, '--null=20', '--bootstrap=20', '--cells=3')
  bits = found(*SIDES, '--null=20', '--bootstrap=20', '--cells=3', '--units=bits')
  for key in ('value', 'raw', 'null_mean', 'null_q95'):
    assert bits['unique_1'][key] == pytest.approx(nats['unique_1'][key] / np.log(2))
  assert bits['unique_1']['p_value'] == nats['unique_1']['p_value']
  assert bits['mi_joint'] == pytest.approx(nats['mi_joint'] / np.log(2))
  checks = nats['cross_check']
  assert list(checks) == ['mi_1', 'mi_2', 'mi_joint']
  assert checks['mi_1']['classifier'] == pytest.approx(np.log(2), abs=0.05)
  assert bits['cross_check']['mi_1']['nearest'] == pytest.approx(
      checks['mi_1']['nearest'] / np.log(2))


def test_text_labels_and_csv_give_the_same(folder, found):
  data = features()
  for name in ('x1', 'x2'):
    np.savetxt(f'{name}.csv', data[name], delimiter=',', header='a,b,c', comments='')
  pathlib.Path('y.csv').write_text('label\n' + '\n'.join(
      'cat' if y else 'ant' for y in data['y']) + '\n')
  made = found('--x1=x1.csv', '--x2=x2.csv', '--y=y.csv', *FAST, '--cells=3')
  assert made['unique_1']['raw'] == pytest.approx(
      found(*SIDES, *FAST, '--cells=3')['unique_1']['raw'], abs=1e-6)


def test_continuous_labels_are_cut_at_quantiles(folder, run, found):
  np.save('y.npy', features()['x1'][:, 1])
  made = found(*SIDES, *FAST, '--cells=3', '--label_cells=3')
  assert made['cells'] == [3, 3, 3]
  run(*SIDES, *FAST, '--cells=3')
  assert 'note: the label is a number: cut at its quantiles' in run.notes
  assert 'into 4 classes' in run.notes


def test_three_sides_give_every_pair_and_each_against_the_rest(folder, found, run):
  arguments = (*SIDES, '--x3=x2.npy', '--cells=2', *FAST)
  made = found(*arguments)
  assert list(made['pairs']) == ['x1,x2', 'x1,x3', 'x2,x3'] and list(made['rest']) == [
      'x1', 'x2', 'x3']
  assert made['pairs']['x2,x3']['unique_1']['raw'] == pytest.approx(0, abs=1e-5)
  assert made['rest']['x1']['unique_1']['value'] > 0.5
  text = run(*arguments, '--figure=f.svg')
  assert text.count('X1 x1, X2 ') == 3 and text.count('what either side alone tells') == 1
  assert 'x1, rest' in pathlib.Path('f.svg').read_text()


def test_text_says_what_everything_means(folder, run):
  text = run(*SIDES, '--cells=3', '--null=20', '--bootstrap=20')
  lines = text.splitlines()
  assert max(map(len, lines)) <= 110
  assert lines[0] == 'X1 x1, X2 x2'
  assert lines[1] == 'n 240, 3 x 3 cells (kmeans, kmeans), 2 classes, H(Y) 0.689 nats'
  for said in ('95 % interval', 'plug-in', 'verdict', 'classifier, at least', 'I(X1,X2;Y)',
               'a lower bound', 'Holm'):
    assert said in ' '.join(text.split())
  assert 'note: --null=20: below 79 permutations no atom can be called present' in run.notes
  bare = run(*SIDES, '--cells=3', '--null=0', '--bootstrap=0', '--no-check')
  assert 'verdict' not in bare and 'interval' not in bare


def test_views_of_a_folder(found, run):
  path = SHARED / 'data/mosi_utterance'
  if not path.is_dir():
    pytest.skip(f'no real data at {path}')
  made = found(f'--data={path}', '--x1=text', '--x2=audio', '--null=99', '--bootstrap=20',
               '--no-check', '--cells=8')
  assert made['n'] == 1447 + 752
  assert made['unique_1']['verdict'] == 'present' and made['unique_1']['value'] > 0.3
  assert 'header' in run.notes


def test_help_lists_every_option(capsys):
  with pytest.raises(SystemExit) as info:
    cli.main(['decompose', '--help'])
  text = capsys.readouterr().out
  assert not info.value.code and 'every pair, and each side against the rest' in ' '.join(
      text.split())
  for option in ('table', 'data', 'x1', 'x2', 'y', 'method', 'units', 'tol', 'cells', 'quantise',
                 'label_cells', 'null', 'bootstrap', 'no-check', 'seed', 'json', 'figure'):
    assert f'--{option}' in text


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize('arguments, message', [
    ([], '--x1 and --x2 (and --y), or --table, must say what to decompose'),
    (['--x1=x1.npy', '--x2=x2.npy'], '--y: labels are needed'),
    (['--table=and.npy', '--y=y.npy'], '--table=and.npy: a table needs no --y'),
    (['--table=and.npy', '--null=20'], '--table=and.npy: a table needs no --null'),
    (['--table=and.npy', '--no-check'], '--table=and.npy: a table needs no --no-check'),
    (['--table=and.npy', '--cells=3'], '--table=and.npy: a table needs no --cells'),
    (['--table=and.npy', '--method=mmi', '--tol=1e-3'],
     '--tol=0.001 has no effect: --method=mmi does not read it'),
    ([*SIDES, '--tol=1e-3'], '--tol=0.001 needs --table; samples have a gap of their own'),
    (['--table=gone.npy'], "--table='gone.npy': no such file"),
    (['--table=negative.npy'], "--table='negative.npy': p has 1 entries negative or not finite, "
     'first -0.25 at [0, 0, 0]'),
    (['--table=nan.npy'], 'first nan at [1, 1, 0]'),
    (['--table=counts.npy'], "--table='counts.npy': p sums to 4"),
    (['--table=flat.npy'], 'p has shape (2, 4); a table is [x1, x2, y], three axes'),
    (['--table=four.npy'], 'p has shape (2, 2, 2, 2); a table is [x1, x2, y], three axes'),
    (['--table=two.npz'], "--table='two.npz': which array? add :KEY; it has 'a', 'b'"),
    (['--table=and.npy', '--method=ccs'], '--method=ccs is unknown; known: broja, imin, mmi'),
    (['--table=and.npy', '--tol=0'], '--tol=0 must be above 0'),
    (['--table=and.npy', '--units=bans'], "argument --units: invalid choice: 'bans'"),
    (['--table=and.npy', '--figure=f.gif'], '--figure=f.gif must end in .png, .pdf, .svg'),
    ([*SIDES, '--method=imin'], '--method=imin needs --table; samples are decomposed by broja'),
    (['--x1=x1.npy', '--x2=short.npy', '--y=y.npy'],
     "--x1='x1.npy' has N=240 samples, and --x2='short.npy' has N=239"),
    (['--x1=holes.npy', '--x2=x2.npy', '--y=y.npy'],
     "--x1='holes.npy': 1 values not finite, first nan at row 5, column 0"),
    (['--x1=x1.npy', '--x2=x2.npy', '--y=one.npy'], "--y='one.npy': one class only, '0'"),
    (['--x1=x1.npy', '--x2=x2.npy', '--y=empty.npy'], "--y='empty.npy': empty, shape (0,)"),
    (['--x1=x1.npy', '--x2=x2.npy', '--y=x1.npy'], "--y='x1.npy': shape (240, 3) is not one value"),
    (['--x1=x1.npy', '--x2=cube.npy', '--y=y.npy'], "--x2='cube.npy': three-dimensional, shape"),
    ([*SIDES, '--cells=60'], 'n=240 samples are too few for 60 x 60 cells and 2 classes: at least '
     '300 are needed'),
    ([*SIDES, '--cells=1'], '--cells=1 must be a whole number in 2..200, or 2 of them with commas'),
    ([*SIDES, '--cells=3,4,5'], '--cells=3,4,5 must be'),
    ([*SIDES, '--quantise=quantiles'], "how='quantiles' needs a single column, and there are 3"),
    ([*SIDES, '--null=-1'], '--null=-1 must be 0 or in 1..100000'),
    ([*SIDES, '--bootstrap=3'], '--bootstrap=3 must be 0 or in 20..100000'),
    ([*SIDES, '--label_cells=1'], '--label_cells=1 must be in 2..50'),
    ([*SIDES, '--seed=-1'], '--seed=-1 is not in 0..2**32-1'),
    ([*SIDES, '--nulls=3'], 'unrecognized arguments: --nulls=3'),
    (['--data=gone', '--x1=a', '--x2=b'], "'gone': no such file or folder")])
def test_mistakes_end_in_one_line(folder, run, arguments, message):
  data, p = features(), np.load('and.npy')
  holes, negative, nan = data['x1'].copy(), p.copy(), p.copy()
  holes[5, 0] = nan[1, 1, 0] = np.nan
  negative[0, 0, 0] = -0.25
  np.savez('two.npz', a=p, b=p)
  for name, array in dict(
      negative=negative, nan=nan, counts=4 * p, flat=p.reshape(2, 4), four=np.stack([p, p]),
      short=data['x2'][1:], holes=holes, one=np.zeros(N, int), empty=np.zeros(0, int),
      cube=np.zeros((N, 2, 2))).items():
    np.save(f'{name}.npy', array)
  assert run(*arguments, status=2) == ''
  assert message in run.notes and run.notes.startswith('error: ') and run.notes.count('\n') == 1


def test_a_gap_that_is_not_reached_is_an_error(folder, run, monkeypatch):
  import sys
  np.save('hard.npy', np.random.default_rng(0).dirichlet(np.ones(150)).reshape(5, 5, 6))
  monkeypatch.setattr(sys.modules['mmalign_jax.information.convex'], '_STEPS', 2)
  run('--table=hard.npy', status=2)
  assert "--table='hard.npy': p: the solver reached a gap of" in run.notes
  assert run.notes.count('\n') == 1 and 'tol=1e-06' in run.notes


def test_a_p_value_that_nothing_reached_says_so():
  entry = {name: {'value': 0.1, 'raw': 0.2, 'interval': None, 'null_mean': 0.0, 'null_q95': 0.1,
                  'p_value': 1 / 120, 'verdict': 'present'} for name in ATOMS}
  entry |= {'units': 'nats', 'permutations': 200}
  lines = lambda more: '\n'.join(decompose_report._atoms(entry | more))
  assert lines({'least_p': 1 / 120}).count('<= 0.0083') == 4  # five groups have 120 arrangements
  assert '<=' not in lines({}) and '0.0083' in lines({})      # of 201 it is no floor
