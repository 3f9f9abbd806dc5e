"""Arrows between modules go one way, and the pure set needs neither files nor TensorFlow."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'mmalign_jax'
LAYERS = [  # a module may import only from layers above its own, or from its own
    {'types', 'streaming', 'grouped', 'digits'}, {'settings'},
    {'rng', 'losses', 'perception', 'encoders', 'similarity', 'information', 'data.synthetic'},
    {'data.exact', 'data.joint', 'objective', 'data.files', 'data.formats', 'data.splits',
     'data.pooling', 'data.sequences', 'data.reading', 'data.delimited', 'data.parquet',
     'data.columns', 'data.labels', 'data.rows', 'data.gaps',
     'data.idx', 'data.audio', 'data.spectra', 'data.pairing'},
    {'data.sources', 'checks', 'reads', 'data.tables', 'data.folders', 'data.opened',
     'training.step', 'training.agreement',
     'training.folder', 'training.damage', 'training.versions', 'training.leaves',
     'training.processes'},
    {'data.arrays', 'data.paired', 'training.evaluate', 'data.avmnist', 'data.avmnist_sources',
     'data.avmnist_builder'},
    {'data.samples', 'training.sweep', 'training.alone'},
    {'training.parallel', 'training.study', 'training.emergence', 'training.shards',
     'training.train_plan', 'training.pipeline', 'training.train_log', 'training.judge'},
    {'training.writers', 'training.checkpoint', 'training.steps', 'training.emergence_data'},
    {'training.loop', 'training.emergence_run', 'training.trainer', 'analysis'},
    {'studies'}, {'cli'}]
PURE = ['types', 'grouped', 'rng', 'perception', 'encoders', 'streaming', 'losses', 'objective',
        'similarity', 'information', 'data.synthetic', 'data.exact', 'data.joint', 'data.sources',
        'training.step', 'training.evaluate', 'training.sweep', 'training.alone',
        'training.agreement']
FORBIDDEN = ('absl', 'ml_collections', 'logging', 'pathlib', 'os', 'xarray', 'matplotlib')


def modules():
  for path in sorted(PACKAGE.rglob('*.py')):
    name = '.'.join(path.relative_to(PACKAGE).with_suffix('').parts).removesuffix('.__init__')
    if name not in ('__init__', 'data', 'training', 'analysis'):
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


def test_the_package_imports_without_tensorflow_and_orbax():
  code = ('import sys\nfor name in ("tensorflow", "tensorflow_datasets", "torch", "orbax"):\n'
          '  sys.modules[name] = None\nimport mmalign_jax.training.checkpoint\n'
          'print(mmalign_jax.info_nce)')
  found = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True,
                         timeout=120, check=False)
  assert found.returncode == 0, found.stderr


def test_commands_load_only_what_they_need():
  code = ('import sys\nfrom mmalign_jax.cli import generator, measure\n'
          'slow = ("matplotlib", "xarray", "h5py", "scipy", "sklearn")\n'
          'sys.exit(", ".join(name for name in slow if name in sys.modules) or 0)')
  found = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True,
                         timeout=120, check=False)
  assert found.returncode == 0, found.stderr


def test_only_parallel_asks_for_devices():
  for name, path in modules():
    if name != 'training.parallel':
      assert 'local_devices' not in path.read_text() and 'jax.devices' not in path.read_text(), name
