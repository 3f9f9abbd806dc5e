"""Commands begin at once: nothing slow is loaded before it is needed, and what was compiled is
kept."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import stat
import subprocess
import sys

from emitters import OLDER, WHOLE
from forked import Forked
import numpy as np
import pytest

from mmalign_jax import cache, names

ROOT = pathlib.Path(__file__).resolve().parent.parent
SLOW = ('jax', 'flax', 'scipy', 'sklearn', 'matplotlib', 'pandas', 'xarray')
SAYS = f"""
import os, sys
os._exit = sys.exit  # or nothing could be printed
from mmalign_jax import cli
try:
  status = cli.main(sys.argv[1:])
except SystemExit as stop:
  status = stop.code
print('LOADED', status, *[name for name in {SLOW} if name in sys.modules])
"""
COMPILES = """
import sys
from mmalign_jax import cache
rest = cache.taken(sys.argv[1:])
import jax
print(rest, jax.jit(lambda x: x * 3 + 1)(2.0))
"""


def ran(code: str, *arguments: str, **environment: str):
  """A process with JAX's own setting taken off, which would win over ours."""
  return subprocess.run([sys.executable, '-c', code, *arguments], capture_output=True, text=True,
                        cwd=ROOT, env=without_jax() | environment, timeout=120, check=False)


def without_jax() -> dict[str, str]:
  return {name: value for name, value in os.environ.items()
          if name not in (cache.OF_JAX, cache.VARIABLE)
          and not name.startswith('JAX_PERSISTENT_CACHE')}


@pytest.fixture(scope='module')
def forked(tmp_path_factory):
  """A command in a process of its own, which begins with `cli` and what that loads."""
  made = {cache.VARIABLE: str(tmp_path_factory.mktemp('cache') / 'made')}
  forked = Forked('from mmalign_jax import cli', without_jax() | made, ROOT)
  yield forked
  forked.close()


@pytest.mark.parametrize('line, status', [
    ('--help', 0), ('--version', 0), ('nonsense', 2), ('measure --help', 0),
    ('measure x.npy y.npy --nul=2', 2), ('measure x.npy y.npy --measures=none', 2),
    ('measure missing.npy y.npy', 2), ('decompose --help', 0), ('decompose --units=feet', 2),
    ('decompose --x1=missing.npy --x2=x.npy --y=y.npy', 2), ('zoo --help', 0),
    ('generator --help', 0), ('generator --redundancy=99', 2), ('generator --name=bit', 2),
    ('generator --name=atoms --level=1', 2),
    ('diagnose --help', 0), ('embed --help', 0), ('report --help', 0), ('merge missing', 2),
    ('advise data.npz --workdir=w --skip=lunch', 2),
    ('advise missing.npz --workdir=w', 2), ('sweep --help', 1), ('train --help', 1),
    ('sweep --config=missing --workdir=w', 2),
    ('sweep --config=strength --config.lam=-1 --workdir=w', 2),
    ('train --config=avmnist --config.batch_size=0 --workdir=w', 2)])
def test_help_and_what_is_refused_load_nothing_slow(line, status, forked):
  found = forked(SAYS, *line.split(), cwd=ROOT)
  assert found.stdout.splitlines()[-1] == f'LOADED {status}', found
  assert len(found.stderr.splitlines()) == (status == 2)


def test_the_package_itself_loads_no_jax():
  found = ran('import sys, mmalign_jax; dir(mmalign_jax); print("jax" in sys.modules); '
              'mmalign_jax.info_nce; print("jax" in sys.modules)')
  assert found.stdout.split() == ['False', 'True']


def test_python_runs_the_package():
  found = subprocess.run([sys.executable, '-m', 'mmalign_jax', '--version'], capture_output=True,
                         text=True, cwd=ROOT, timeout=120, check=True)
  assert found.stdout.startswith('mmalign ')


def test_names_are_those_of_the_registries():
  from mmalign_jax import similarity
  from mmalign_jax.cli.generator.known import described
  from mmalign_jax.information import lattice
  from mmalign_jax.studies.advise import clock, steps
  known = names._KNOWN
  assert known['similarity.MEASURES'] == tuple(similarity.MEASURES)
  assert known['information.lattice.METHODS'] == tuple(lattice.METHODS)
  assert known['studies.advise.steps.STEPS'] == tuple(steps.STEPS)
  assert names.EFFORTS == len(clock.LADDER)
  assert list(described().items()) == list(names.GENERATORS.items())
  assert [list(row.settings) for row in described().values()] == [
      list(row.settings) for row in names.GENERATORS.values()]


def test_a_row_of_ones_own_is_a_name(monkeypatch):
  from mmalign_jax import similarity
  monkeypatch.setitem(similarity.MEASURES, 'own', similarity.MEASURES['rsa'])
  names.check('similarity.MEASURES', 'own', 'measure')


# -- what is compiled ------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def compiled(tmp_path_factory):
  """A folder for the cache, and the process that has made it and what is in it."""
  base = tmp_path_factory.mktemp('first') / 'compiled'
  return base, ran(COMPILES, 'a', **{cache.VARIABLE: str(base)})


def test_the_cache_is_private_written_reused_and_of_this_version(compiled):
  base, first = compiled
  assert first.stdout == "['a'] 7.0\n" and not first.stderr
  inside = base / cache.version()
  assert [path.name for path in base.iterdir()] == [inside.name]
  assert stat.S_IMODE(base.stat().st_mode) == 0o700
  held = {path.name: path.stat().st_mtime_ns for path in inside.iterdir()}
  assert any(name.startswith('jit_') for name in held)
  again = ran(COMPILES, 'a', JAX_RAISE_PERSISTENT_CACHE_ERRORS='true',
              **{cache.VARIABLE: str(base)})
  assert again.stdout == first.stdout
  assert {path.name: path.stat().st_mtime_ns for path in inside.iterdir()} == held


def test_a_file_that_was_cut_short_is_compiled_anew(compiled, tmp_path):
  base = shutil.copytree(compiled[0], tmp_path / 'compiled')
  first = compiled[1]
  for path in (base / cache.version()).iterdir():
    path.write_bytes(path.read_bytes()[:40])
  again = ran(COMPILES, 'a', **{cache.VARIABLE: str(base)})
  assert again.stdout == first.stdout and not again.stderr


@pytest.mark.parametrize('arguments, variable', [(['--no-cache', 'a'], 'compiled'), (['a'], '')])
def test_no_cache(tmp_path, arguments, variable):
  found = ran(COMPILES, *arguments, XDG_CACHE_HOME=str(tmp_path),
              **{cache.VARIABLE: variable and str(tmp_path / variable)})
  assert found.stdout == "['a'] 7.0\n" and not list(tmp_path.iterdir())


def test_the_setting_of_jax_wins(tmp_path):
  theirs = tmp_path / 'theirs'
  ran(COMPILES, XDG_CACHE_HOME=str(tmp_path), **{
      cache.OF_JAX: str(theirs), 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
      'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1'})
  assert [path.name for path in tmp_path.iterdir()] == ['theirs'] and list(theirs.iterdir())


def test_after_two_dashes_nothing_is_an_option(monkeypatch):
  monkeypatch.setenv(cache.OF_JAX, 'theirs')
  assert cache.taken(['a', '--', '--no-cache']) == ['a', '--', '--no-cache']


@pytest.fixture(name='base')
def _base(tmp_path, monkeypatch):
  """A folder for the cache of this process, whose own settings come back."""
  for name in (cache.OF_JAX, 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS',
               'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES'):
    monkeypatch.setenv(name, os.environ.get(name, ''))
  monkeypatch.setenv(cache.VARIABLE, str(tmp_path / 'compiled'))
  return tmp_path / 'compiled'


@pytest.mark.parametrize('mode', [0o755, 0o770, 0o707])
def test_a_folder_that_others_can_enter_is_not_used(base, mode):
  base.mkdir()
  base.chmod(mode)
  assert cache.begin() is None and not list(base.iterdir())
  assert 'chmod 700' in cache.refused()


def test_a_link_is_not_followed(base, tmp_path):
  (tmp_path / 'elsewhere').mkdir(mode=0o700)
  base.symlink_to(tmp_path / 'elsewhere')
  assert cache.begin() is None and not list((tmp_path / 'elsewhere').iterdir())


def test_where_nothing_can_be_written_nothing_fails(base, tmp_path, monkeypatch):
  (tmp_path / 'file').write_text('')
  monkeypatch.setenv(cache.VARIABLE, str(tmp_path / 'file' / 'compiled'))
  assert cache.begin() is None and not cache.refused()
  monkeypatch.setenv(cache.VARIABLE, '/proc/compiled')
  assert cache.begin() is None and not cache.refused()


def test_it_stays_within_bounds_and_what_was_used_last_stays(tmp_path):
  for k in range(10):
    path = tmp_path / f'jaxlib-{k % 2}' / f'{k}-cache'
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(100))
    os.utime(path, (k, k))
  left = lambda: sorted(int(path.name[0]) for path in tmp_path.rglob('*-cache'))
  cache.trim(tmp_path, 1000, 10)
  assert left() == list(range(10))
  cache.trim(tmp_path, 800, 10)  # to three quarters
  assert left() == [4, 5, 6, 7, 8, 9]
  cache.trim(tmp_path, 800, 4)
  assert left() == [7, 8, 9]


def test_only_compiled_programs_are_removed(tmp_path):
  """A folder that someone named may hold other things: their own."""
  names = ('thesis-cache', 'work/a-cache', 'jaxlib-1/notes', 'jaxlib-1/deep/b-cache')
  for name in (*names, 'jaxlib-1/c-cache'):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(bytes(100))
  (tmp_path / 'jaxlib-2').symlink_to(tmp_path / 'work')
  cache.trim(tmp_path, 0, 0)
  assert not (tmp_path / 'jaxlib-1/c-cache').exists()
  assert all((tmp_path / name).exists() for name in names)


def test_folders_of_another_machine_are_others(base, monkeypatch):
  """What a machine hands on, as to the jobs it submits, is of its own processor."""
  here = cache.version()
  monkeypatch.setattr(cache, '_processor', lambda: ['another'])
  assert cache.version() != here and cache.version().startswith('jaxlib-')
  monkeypatch.setenv(cache.OF_JAX, str(base / here))
  assert cache.of_another_machine()
  monkeypatch.setenv(cache.OF_JAX, str(base / cache.version()))
  assert not cache.of_another_machine()
  for theirs in ('', str(base.parent / here)):
    monkeypatch.setenv(cache.OF_JAX, theirs)
    assert not cache.of_another_machine()


def test_jax_that_is_imported_already_is_told(tmp_path):
  """As by a file of --register."""
  base = tmp_path / 'compiled'
  again = ran('import jax\n' + COMPILES, **{cache.VARIABLE: str(base)})
  assert again.stdout and list((base / cache.version()).iterdir())
  none = tmp_path / 'none'
  ran('import jax\n' + COMPILES, '--no-cache', **{
      cache.OF_JAX: str(none), 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
      'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1'})
  assert not none.exists() or not list(none.iterdir())


def test_the_version_where_nothing_is_installed(monkeypatch, capsys):
  import importlib.metadata

  from mmalign_jax import cli
  def missing(name):
    raise importlib.metadata.PackageNotFoundError(name)
  monkeypatch.setattr(importlib.metadata, 'version', missing)
  assert cli.main(['--version']) == 0
  assert capsys.readouterr().out == 'mmalign (not installed)\n'


# -- several measures of one question --------------------------------------------------------------


def test_measures_together_are_those_alone():
  import jax

  from mmalign_jax.similarity import MEASURES, calibrate
  from mmalign_jax.similarity.null import calibrations
  rng = np.random.default_rng(0)
  x, y = (rng.normal(size=(24, 3)).astype(np.float32) for _ in range(2))
  asked = {name: MEASURES[name]
           for name in ('mutual_knn', 'lcs_knn', 'linear_cka', 'modality_gap')}
  given = dict(key=jax.random.key(1), permutations=5,
               groups=np.repeat(np.arange(5), [5, 5, 5, 5, 4]))
  refused: dict[str, str] = {}
  together = calibrations(asked | {'rsa': MEASURES['rsa']}, x, y, **given, refused=refused,
                          settings={'mutual_knn': {'k': 3}, 'rsa': {'comparison': 'none'}})
  assert list(refused) == ['rsa'] and list(together) == list(asked)
  for name in ('mutual_knn', 'linear_cka', 'modality_gap'):
    alone = calibrate(asked[name], x, y, **given, **({'k': 3} if name == 'mutual_knn' else {}))
    for one, other in zip(jax.tree.leaves(together[name]), jax.tree.leaves(alone)):
      np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_state_of_ones_own_is_not_that_of_what_it_wraps():
  import functools

  import jax

  from mmalign_jax.similarity import MEASURES, calibrate
  from mmalign_jax.similarity.null import calibrations
  base = MEASURES['linear_cka']

  @functools.wraps(base.prepare)
  def squared(z, **settings):
    return base.prepare(z * z, **settings)

  own = dataclasses.replace(base, prepare=squared)
  x, y = (np.random.default_rng(0).normal(size=(2, 24, 3)).astype(np.float32))
  together = calibrations({'base': base, 'own': own}, x, y, key=jax.random.key(1), permutations=5)
  alone = calibrate(own, x, y, key=jax.random.key(1), permutations=5)
  np.testing.assert_allclose(together['own'].score, alone.score, rtol=1e-5)
  assert abs(float(together['own'].score - together['base'].score)) > 1e-3


KEEPS = """
import pathlib, sys
from mmalign_jax import cache
cache.taken([])
import jax, numpy as np
from mmalign_jax.runs import programs
traced = []

x, key = np.arange(3, dtype=np.float32), jax.random.key(0)
kept = lambda: sorted(pathlib.Path(jax.config.jax_compilation_cache_dir).glob('*.mmalign-traced'))

def run(told='', x=x, **more):
  def double(x, key):  # another each time: JAX keeps what a process has traced of one
    traced.append(x.dtype)
    return {'a': [2 * x, jax.random.uniform(key)]}
  made = programs.lowered(double, (x, key), told, **more).compile()(x, key)['a']
  assert np.array_equal(made[0], 2 * x) and made[1] == jax.random.uniform(key), made
  return len(traced), len(kept())

print('not worth it', run(worth=lambda: False))
print('first', run(), 'again', run(), 'other words', run('b'), 'again', run('b'))
print('wider', run(x=np.arange(4, dtype=np.float32)))
with jax.enable_x64(True):
  print('finer', run(x=np.arange(3.0)), run(x=x))
for path in kept():
  path.write_bytes(path.read_bytes()[:99])
counts = [run(word, x=z) for word, z in (('', x), ('b', x), ('', np.arange(4, dtype='f')))]
print('cut short', counts[-1], run())
first = programs.source
programs.source = lambda: 'other'
print('other source', run())
cache.BEGUN, programs.source = 0, first
first.cache_clear()
print('changed since', run())
cache.BEGUN = float('inf')
first.cache_clear()
jax.config.update('jax_default_device', jax.devices()[0])
print('another device', run())
jax.config.update('jax_default_device', None)
def missing(self): raise ImportError
programs.export.Exported.serialize = missing
print('no flatbuffers', run('c'))
jax.config.update('jax_enable_compilation_cache', False)
print('no cache', run())
"""


def test_a_program_is_traced_once_for_all_that_it_depends_on(tmp_path):
  found = ran(KEEPS, **{cache.VARIABLE: str(tmp_path / 'made')})
  assert found.stdout.splitlines() == [
      'not worth it (1, 0)', 'first (2, 1) again (2, 1) other words (3, 2) again (3, 2)',
      'wider (4, 3)', 'finer (5, 4) (6, 5)', 'cut short (9, 5) (9, 5)', 'other source (10, 6)',
      'changed since (11, 6)', 'another device (12, 6)', 'no flatbuffers (13, 6)',
      'no cache (14, 6)'], found


def test_a_second_measure_says_the_same_and_is_kept_where_all_is_ours(tmp_path):
  g = np.random.default_rng(0)
  for name in 'xy':
    np.save(tmp_path / f'{name}.npy', g.normal(size=(30, 3)).astype(np.float32))
  (tmp_path / 'own_half.py').write_text(
      'import dataclasses\nfrom mmalign_jax.similarity import MEASURES\n'
      'cka = MEASURES["linear_cka"]\n'
      'MEASURES["half"] = dataclasses.replace(cka, compare=lambda x, y: cka.compare(x, y) / 2)\n')
  code = 'import sys; from mmalign_jax import cli; cli.main(sys.argv[1:])'
  forked = Forked('import mmalign_jax.cli.measure.answered', without_jax() | {
      'JAX_DISABLE_MOST_OPTIMIZATIONS': '1', 'XLA_FLAGS': f'{OLDER} {WHOLE}',
      cache.VARIABLE: str(tmp_path / 'made')}, ROOT)
  call = lambda of, *more: forked(
      code, *more, 'measure', tmp_path / 'x.npy', tmp_path / 'y.npy', '--json', '--null=9',
      f'--measures={of}', '--bootstrap=5', cwd=ROOT)
  kept = lambda: len(list((tmp_path / 'made').glob('*/*.mmalign-traced')))
  with contextlib.closing(forked):
    once = call('linear_cka,mutual_knn')
    assert kept() == 1 and once.stdout, once
    assert call('linear_cka,mutual_knn').stdout == once.stdout and kept() == 1
    own = call('half', f'--register={tmp_path / "own_half.py"}')
    assert own.stdout and kept() == 1, own
