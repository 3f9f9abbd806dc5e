"""Time and memory of the exact tables and atoms of the `bits` generator for all nine redundancies.

  python benchmarks/generator.py

Prints seconds from a cold start (tables, compilation and all), seconds once compiled, the peak
memory of the process, and the largest difference from the published values; then the exact atoms,
in a thread for each core, compilation included, and the largest gap of their certificates.
"""

import resource
import time

import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax import Hyper, Spec, exact, synthetic
from mmalign_jax.generators import joint
from mmalign_jax.information import ATOMS
from mmalign_jax.runs.devices import cores

MI_1 = (.36687, .36687, .49350, .49350, .71508, .71508, .97171, .97171, 1.15884)
MI_2 = (.47334, .61882, .60760, .77167, .73337, .88669, .88055, 1.15884, 1.15884)


def main() -> None:
  bits = synthetic.GENERATORS['bits']

  @jax.jit
  def all_redundancies(tables):
    one = lambda r: exact.information(bits, tables, Hyper(redundancy=r))
    return jax.vmap(one)(jnp.arange(9))

  start = time.perf_counter()
  tables = bits.tables(Spec())
  found = jax.block_until_ready(all_redundancies(tables))
  cold = time.perf_counter() - start
  start = time.perf_counter()
  jax.block_until_ready(all_redundancies(tables))
  warm = time.perf_counter() - start
  error = max(np.abs(found.mi_1 - np.array(MI_1)).max(), np.abs(found.mi_2 - np.array(MI_2)).max())
  memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  print(f'nine redundancies: {cold:.2f} s cold, {1e3 * warm:.1f} ms warm, peak {memory:.0f} MB, '
        f'off the published values by {error:.1e} nats')
  start = time.perf_counter()
  atoms = joint.decompositions(bits, tables, [Hyper(redundancy=r) for r in range(9)], cores())
  seconds = time.perf_counter() - start
  gap = max(float(found.gap) for found in atoms)
  print(f'nine decompositions: {seconds:.1f} s cold, largest gap {gap:.1e} nats\n')
  print(f'| shared bits | {" | ".join(ATOMS)} |')
  print('|---' * 5 + '|')
  for r, found in enumerate(atoms):
    print(f'| {r} | ' + ' | '.join(f'{atom:.4f}' for atom in found.atoms()) + ' |')


if __name__ == '__main__':
  main()
