"""Settings of training, work in folders, and the pictures of it."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cases.table import Row
from mmalign_jax import checks
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
