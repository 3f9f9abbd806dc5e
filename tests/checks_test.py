"""Every setting out of range is one ValueError that names the field and the value."""

import re

import numpy as np
import pytest

from mmalign_jax import named
from mmalign_jax.checks import check
from mmalign_jax.data import pair_source, sources
from mmalign_jax.fitted import chosen
from mmalign_jax.training import sweep
from mmalign_jax.types import Hyper, Spec

BITS = Spec(batch_size=32, max_train=64, n_align=64)
ATOMS = Spec(generator='atoms', batch_size=32, max_train=64, n_align=64)
FINE = dict(n_train=64, redundancy=0)


def refused(spec: Spec, name: str, value: float) -> None:
  """A grid of a fine value and `value` is one line that names the field and the wrong value."""
  fine = FINE.get(name, vars(Hyper()).get(name)) or 0
  hypers = sweep.grid({name: (fine, value)}, **{k: v for k, v in FINE.items() if k != name})
  with pytest.raises(ValueError, match=rf'^{name}={re.escape(f"{value:g}")} ') as info:
    check(spec, hypers)
  assert '\n' not in str(info.value)


@pytest.mark.parametrize('name, value', [
    ('lam', -0.5), ('lam', np.nan), ('lam_1', -1), ('lam_1', np.nan), ('lam_2', -1),
    ('schedule', 3), ('schedule', -1), ('schedule', 0.5), ('temperature', 0), ('temperature', -1),
    ('temperature', np.nan), ('learning_rate', 0), ('learning_rate', -1e-3), ('weight_decay', -1),
    ('n_train', 0), ('n_train', 40.5), ('redundancy', 9), ('redundancy', -1), ('redundancy', 2.5),
    ('level', 10), ('level', -1), ('level', 1.5), ('transform_depth', 11), ('transform_depth', -1),
    ('mismatched', 1.5), ('mismatched', -0.1), ('flipped', 2), ('flipped', -1)])
def test_a_value_out_of_range_is_named(name, value):
  refused(BITS, name, value)


@pytest.mark.parametrize('name', ['lam', 'lam_1', 'temperature', 'learning_rate', 'weight_decay'])
def test_an_infinite_value_is_refused(name):
  refused(BITS, name, np.inf)


@pytest.mark.filterwarnings('ignore:invalid value')
@pytest.mark.parametrize('seed', [-1, 1.5, 2**32])
def test_a_seed_that_is_no_unsigned_integer_is_refused_and_not_wrapped(seed):
  with pytest.raises(ValueError, match='seed'):
    check(BITS, sweep.grid({'seed': (0, seed)}, **FINE))


@pytest.mark.parametrize('name', ['redundancy', 'unique_1', 'unique_2', 'synergy'])
@pytest.mark.parametrize('value', [-0.1, 0.7, 4, np.nan])
def test_an_atom_outside_0_to_ln_2_is_refused(name, value):
  refused(ATOMS, name, value)


def test_atoms_at_both_ends_are_fine():
  ends = dict.fromkeys(('redundancy', 'unique_1', 'unique_2', 'synergy'), (0, np.log(2)))
  check(ATOMS, sweep.grid(ends, n_train=64))


@pytest.mark.parametrize('field, known', [
    ('generator', 'atoms, bits, few_bits, paired'), ('encoder', 'audio_cnn1d, .*mlp'),
    ('encoder_1', 'audio_cnn1d, .*mlp'), ('compute_dtype', 'bfloat16, float32'),
    ('loss', 'barlow_twins, .*info_nce'), ('task', 'cross_entropy, l1'),
    ('projection', 'linear, mlp, none'),
    ('transform', 'both, one')])
def test_an_unknown_name_lists_the_known_ones(field, known):
  spec = named.spec(**{field: 'nonsense'})
  with pytest.raises(ValueError, match=f"{field} 'nonsense' is unknown; known: {known}"):
    check(spec, Hyper())
  with pytest.raises(ValueError, match=f"{field} 'nonsense' is unknown; known: {known}"):
    sweep.run_sweep(spec, Hyper(), tables=None if field == 'generator' else 'unused')


@pytest.mark.parametrize('field', ['depth', 'width', 'projection_width', 'batch_size', 'steps',
                                   'max_train', 'neighbors'])
@pytest.mark.parametrize('value', [0, -3])
def test_a_size_below_one_is_refused(field, value):
  with pytest.raises(ValueError, match=f'{field}={value} '):
    check(Spec(**{**vars(BITS), field: value}), Hyper(**FINE))


@pytest.mark.parametrize('field', ['depth_1', 'depth_2', 'width_1', 'width_2'])
def test_a_size_of_one_side_may_be_zero_to_follow_but_not_less(field):
  check(named.spec(**{**vars(BITS), field: 0}), Hyper(**FINE))
  with pytest.raises(ValueError, match=f'{field}=-1 must be at least 0'):
    check(named.spec(**{**vars(BITS), field: -1}), Hyper(**FINE))


def test_fewer_samples_than_a_batch_are_refused():
  with pytest.raises(ValueError, match='n_train=31 .*batch_size=32'):
    check(BITS, sweep.grid({'n_train': (64, 31)}, redundancy=0))


def test_more_samples_than_are_drawn_are_refused():
  with pytest.raises(ValueError, match='n_train=65 .*max_train=64'):
    check(BITS, sweep.grid({'n_train': (64, 65)}, redundancy=0))


def test_as_many_neighbours_as_pairs_are_refused():
  with pytest.raises(ValueError, match='neighbors=64 .*n_align=64'):
    check(Spec(**{**vars(BITS), 'neighbors': 64}), Hyper(**FINE))


def test_a_sweep_checks_before_it_trains():
  with pytest.raises(ValueError, match='redundancy=9'):
    sweep.run_sweep(BITS, Hyper(redundancy=9, n_train=64))
  with pytest.raises(ValueError, match='lam=-1'):
    sweep.run_sweep(BITS, sweep.grid({'lam': (0, -1)}, n_train=64))


def test_the_defaults_are_fine():
  check(Spec(), Hyper())


@pytest.mark.parametrize('mode, name', [(1, 'share'), (2, 'auto')])
def test_strengths_of_pairs_have_no_part_in_one_length(mode, name):
  pairs = {'lam_1_2': (0, 1), 'lam_1_3': (1,)}
  with pytest.raises(ValueError, match=f"^lam_1_2 is no length under lam_mode='{name}'.*") as info:
    check(BITS, sweep.grid(pairs | {'lam_mode': (0, mode)}, **FINE))
  assert '\n' not in str(info.value)
  check(BITS, sweep.grid(pairs | {'lam_mode': (0,), 'guard': (1,)}, **FINE))
  check(BITS, sweep.grid({'lam_1': (0, 1), 'lam_mode': (mode,)}, **FINE))


def test_steps_beyond_those_of_the_program_are_refused():
  pairs = Spec(generator='pairs', n_align=64, steps=600)
  with pytest.raises(ValueError, match='^train_steps=2000 is above steps=600: raise steps$'):
    check(pairs, sweep.grid({'train_steps': (0, 100, 2000)}))
  check(pairs, sweep.grid({'train_steps': (0, 600)}))
  with pytest.raises(ValueError, match='train_steps=2000 is above steps=600'):
    chosen.built(chosen.judged({'train_steps': 2000, 'task': 'cross_entropy'}), 2, n_train=40,
                 n_labelled=40)
  chosen.built(chosen.judged({'train_steps': 2000, 'task': 'cross_entropy'}), 2, n_train=40,
               n_labelled=40, to_train=False)  # of encoders that a version before has trained


def test_more_samples_than_the_tables_have_are_refused():
  x, y = np.zeros((40, 3), np.float32), np.zeros(40, np.int32)
  arrays = sources.ArrayTables((x, x), y, (x, x), y, y, 1, 2)
  with pytest.raises(ValueError, match='^n_train=64 is above the 40 training rows of the tables$'):
    sweep.run_sweep(Spec(**{**vars(BITS), 'generator': 'paired'}), Hyper(n_train=64), tables=arrays)
  none = ((x[:0], y[:0], y[:0]),) * 2
  tables = pair_source.PairTables(
      (x, x), (y == 0,) * 2, y, y == 0, (np.ones(3, np.float32),) * 2, none, none, (x[:0],) * 2,
      y[:0], y[:0], 1, 1, 2)
  with pytest.raises(ValueError, match='^max_train=39 is below the 40 .*: give max_train=40$'):
    sweep.run_sweep(Spec(generator='pairs', max_train=39, n_align=64), Hyper(), tables=tables)
