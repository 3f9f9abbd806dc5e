"""Exact tables and atoms of the generators, against published values and exact information."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmalign_jax import Hyper, Spec, exact, synthetic
from mmalign_jax.generators import joint
from mmalign_jax.information import discrete

BITS, ATOMS = (synthetic.GENERATORS[name] for name in ('bits', 'atoms'))
IN_BITS = {  # of the default generator, by alternating minimisation, converged to 3e-4 to 1e-3
    0: (.3936, .1357, .2893, .8533), 1: (.4857, .0435, .4070, .7355),
    2: (.5241, .1879, .3525, .6074), 3: (.5539, .1581, .5594, .4005),
    4: (.6790, .3526, .3790, .2612)}


@pytest.fixture(scope='module')
def tables():
  return BITS.tables(Spec())


def test_atoms_of_bits_are_those_published(tables):
  found = joint.decompositions(BITS, tables, [Hyper(redundancy=r) for r in IN_BITS], workers=2)
  for (r, published), atoms in zip(IN_BITS.items(), found):
    assert atoms.gap <= 1e-6
    np.testing.assert_allclose(atoms.to_bits().atoms(), published, atol=1e-3, err_msg=str(r))


def test_seven_and_eight_shared_bits_leave_nothing_unique_to_side_1(tables):
  found = joint.decomposition(BITS, tables, Hyper(redundancy=7))
  assert float(found.unique_1) == pytest.approx(0, abs=1e-6)
  assert float(found.synergy) == pytest.approx(0, abs=1e-6)
  assert float(found.redundancy) == pytest.approx(0.97171, abs=1e-4)


@pytest.mark.parametrize('setting', [
    dict(redundancy=0), dict(redundancy=3, level=4), dict(redundancy=8),
    dict(redundancy=5, flipped=0.2), dict(redundancy=2, mismatched=0.3)])
def test_tables_have_the_exact_information(tables, setting):
  p = joint.joint(BITS, tables, Hyper(**setting))
  known = exact.information(BITS, tables, Hyper(**setting))
  assert p.sum() == pytest.approx(1, abs=1e-12) and (p >= 0).all()
  with jax.enable_x64(True):
    found = discrete.three(jnp.asarray(p))
  expected = (known.mi_1, known.mi_2, known.mi_joint)
  if setting.get('mismatched'):  # the joint term of `exact` also sees that a pair is genuine
    found, expected = found[:2], expected[:2]
  np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize('truth', [(.3, .1, .2, .4), (.6, 0, 0, .1), (0, .693, .2, 0)])
def test_atoms_are_what_they_are_set_to(truth):
  hyper = Hyper(**dict(zip(('redundancy', 'unique_1', 'unique_2', 'synergy'), truth)))
  found = joint.decomposition(ATOMS, ATOMS.tables(Spec()), hyper)
  np.testing.assert_allclose(found.atoms(), truth, atol=2e-4)


def test_mixed_task_bits_are_refused(tables):
  mixed = synthetic.Generator((), BITS.tables, lambda tables, hyper: (
      jnp.array([0x101], jnp.uint32), jnp.eye(2)))
  with pytest.raises(ValueError, match='shared and private bits'):
    joint.joint(mixed, tables, Hyper())
