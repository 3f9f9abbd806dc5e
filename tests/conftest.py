"""Broadcasting between different ranks is an error in every test."""

import os

# Two test processes on two cores: threads of LAPACK that wait for each other take minutes.
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

import jax  # noqa: E402

jax.config.update('jax_numpy_rank_promotion', 'raise')
