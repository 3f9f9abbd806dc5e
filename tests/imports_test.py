"""Arrows between modules go one way, and the pure set needs neither files nor TensorFlow."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'mmalign_jax'
LAYERS = [  # a module may import only from layers above its own, or from its own
    {'struct', 'types', 'ranges', 'grouped', 'precision', 'start', 'cache', 'names'},
    {'named', 'settings', 'early'},
    {'rng', 'losses', 'encoders', 'similarity', 'information', 'diagnosis',
     'generators.synthetic'},
    {'zoo'},
    {'generators', 'objective', 'data.files.formats', 'data.files.stores', 'data.files.splits',
     'data.files.pooling', 'data.files.steps', 'data.files.reading', 'data.files.delimited',
     'data.files.parquet', 'data.files.columns', 'data.files.labels', 'data.files.rows',
     'data.files.gaps', 'data.avmnist.idx', 'data.avmnist.wav', 'data.avmnist.spectra',
     'data.avmnist.knobs', 'data.avmnist.originals'},
    {'data.sources', 'data.components', 'data.pair_source', 'data.pairs', 'data.prepared',
     'data.published', 'data.loading', 'checks', 'data.files', 'runs', 'cluster', 'training.step',
     'training.apart'},
    {'data.avmnist', 'training', 'advice'},
    {'reports'},
    {'studies.protocol', 'studies.reads', 'studies.files'},
    {'studies.strength', 'studies.emergence', 'studies.train', 'studies.zoo'},
    {'studies.objectives'},  # many studies of strength
    {'fitted'}, {'studies.advise'}, {'studies.registry'}, {'cli', '__main__'}]
PURE = ['types', 'ranges', 'named', 'grouped', 'rng', 'encoders', 'losses', 'objective',
        'similarity', 'information', 'information.neural', 'diagnosis', 'zoo', 'generators',
        'data.sources', 'data.pair_source', 'training', 'advice']
ROOMS = ('strength', 'emergence', 'train', 'zoo')  # of the studies: none knows another
FORBIDDEN = ('absl', 'ml_collections', 'logging', 'pathlib', 'os', 'xarray', 'matplotlib')


def modules():
  for path in sorted(PACKAGE.rglob('*.py')):
    name = '.'.join(path.relative_to(PACKAGE).with_suffix('').parts).removesuffix('.__init__')
    if name != '__init__' and (path.name != '__init__.py' or ast.parse(path.read_text()).body[1:]):
      yield name, path


def imported(path):
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


def layer(name):
  for i, names in enumerate(LAYERS):
    if any(name == n or name.startswith(n + '.') for n in names):
      return i
  return None


@pytest.mark.parametrize('name, path', [pytest.param(*m, id=m[0]) for m in modules()])
def test_arrows_go_down(name, path):
  assert layer(name) is not None, f'give {name} a layer'
  for target in imported(path):
    if target.startswith('mmalign_jax.') and layer(target.removeprefix('mmalign_jax.')) is not None:
      assert layer(target.removeprefix('mmalign_jax.')) <= layer(name), f'{name} -> {target}'


@pytest.mark.parametrize('name', PURE)
def test_the_pure_set_has_no_flags_files_or_devices(name):
  module = PACKAGE / (name.replace('.', '/') + '.py')
  for path in [module] if module.exists() else (PACKAGE / name).glob('*.py'):
    roots = {target.split('.')[0] for target in imported(path)}
    assert not roots & set(FORBIDDEN), path
    assert 'jax.devices' not in path.read_text() and 'local_devices' not in path.read_text()


@pytest.mark.parametrize('name, path', [pytest.param(*m, id=m[0]) for m in modules()
                                        if m[0].startswith('studies.')])
def test_no_study_knows_another(name, path):
  own = name.split('.')[1]
  others = [f'mmalign_jax.studies.{room}' for room in ROOMS if room != own]
  if own in ROOMS:
    assert not [target for target in imported(path) if target.startswith(tuple(others))]


def test_the_package_imports_without_tensorflow_and_orbax():
  code = ('import sys\nfor name in ("tensorflow", "tensorflow_datasets", "torch", "orbax"):\n'
          '  sys.modules[name] = None\nimport mmalign_jax.runs.checkpoints.checkpoints\n'
          'print(mmalign_jax.info_nce)')
  found = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True,
                         timeout=120, check=False)
  assert found.returncode == 0, found.stderr


def test_commands_load_only_what_they_need():
  code = ('import sys\nfrom mmalign_jax.cli import diagnose, generator, measure\n'
          'slow = ("matplotlib", "xarray", "h5py", "scipy", "sklearn")\n'
          'sys.exit(", ".join(name for name in slow if name in sys.modules) or 0)')
  found = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True,
                         timeout=120, check=False)
  assert found.returncode == 0, found.stderr


def test_only_devices_asks_for_devices():
  for name, path in modules():
    if name != 'runs.devices':
      assert 'local_devices' not in path.read_text() and 'jax.devices' not in path.read_text(), name
