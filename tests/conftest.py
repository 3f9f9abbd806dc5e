"""Broadcasting between different ranks is an error in every test; compiled code is let go of."""

import os
import tempfile

# One program is compiled by several tests, and by processes that they start: once is enough.
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:  # a worker has it from the process of all
  _COMPILED = tempfile.TemporaryDirectory(prefix='mmalign-tests-', ignore_cleanup_errors=True)
  os.environ |= {'JAX_COMPILATION_CACHE_DIR': _COMPILED.name,
                 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.1',
                 'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1'}
# Two test processes on two cores: threads of LAPACK, or k-means, that wait for each other take
# minutes.
for _threads in ('OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS'):
  os.environ.setdefault(_threads, '1')

from emitters import OLDER, WHOLE  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

# Quickly made code, in one piece; commands that a test starts have what their users have.
_GIVEN = os.environ.get('XLA_FLAGS')
os.environ['XLA_FLAGS'] = f'{_GIVEN or ""} {OLDER} {WHOLE}'
jax.devices()  # reads it
if _GIVEN is None:
  del os.environ['XLA_FLAGS']
else:
  os.environ['XLA_FLAGS'] = _GIVEN

jax.config.update('jax_numpy_rank_promotion', 'raise')

# Modules that compile for much longer than they compute: unoptimised code is there sooner.
PLAIN = {'advise_test', 'agreement_test', 'alone_test', 'apart_test', 'batch_test', 'cases_test',
         'cli_test', 'configs_test', 'convex_test', 'decompose_test', 'emergence_real_test',
         'emergence_test', 'encoders_test', 'estimator_test', 'evaluate_test', 'examples_test',
         'fitted_test', 'fusion_test', 'gaussians_test', 'joint_test', 'lattice_test',
         'linear_test', 'loop_test', 'losses_test', 'measure_test', 'multibench_test', 'null_test',
         'objective_study_test', 'objective_test', 'objectives_test', 'pairs_test',
         'perception_test', 'probes_test', 'registries_test', 'rng_test', 'sides_test',
         'similarity_test', 'similarity_values_test', 'start_test', 'streaming_test', 'sweep_test',
         'train_pairs_test', 'trainer_test', 'zoo_circle_test', 'zoo_test'}


@pytest.fixture(autouse=True, scope='module')
def compilation(request):
  """Plain code where it pays, and no executables of one module in the memory of the next."""
  plain = request.module.__name__ in PLAIN
  jax.config.update('jax_disable_most_optimizations', plain)
  yield
  jax.config.update('jax_disable_most_optimizations', False)
  jax.clear_caches()
