"""Broadcasting between different ranks is an error in every test; compiled code is let go of."""

import os

# Two test processes on two cores: threads of LAPACK that wait for each other take minutes.
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_numpy_rank_promotion', 'raise')

# Modules that compile for much longer than they compute: unoptimised code is there sooner.
PLAIN = {'alone_test', 'batch_test', 'cases_test', 'null_test'}


@pytest.fixture(autouse=True, scope='module')
def compilation(request):
  """Plain code where it pays, and no executables of one module in the memory of the next."""
  plain = request.module.__name__ in PLAIN
  jax.config.update('jax_disable_most_optimizations', plain)
  yield
  jax.config.update('jax_disable_most_optimizations', False)
  jax.clear_caches()
