"""Units of encoders that share a compiled program, and its calls."""

from collections.abc import Sequence
import dataclasses
import threading

import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax.runs import devices
from mmalign_jax.studies.emergence.plan import Emergence
from mmalign_jax.studies.emergence.unit import Unit
from mmalign_jax.training import alone, compiling


def group_size(machine: devices.Plan, width: int) -> int:
  """Units in one call: one on a CPU, where they would only push each other out of the cache."""
  if machine.chunk == devices.CPU_CHUNK:
    return 1
  return machine.multiple * max(1, machine.chunk // width // machine.multiple)


def grouped(plan: Emergence, units: Sequence[Unit], size: int) -> list[list[Unit]]:
  """Units that share a program, `size` at a time, in the order of their first."""
  if size == 1:
    return [[u] for u in units]
  by_program: dict = {}
  for u in units:
    by_program.setdefault((plan.protocol(u), u.epochs), []).append(u)
  return [same[i:i + size] for same in by_program.values() for i in range(0, len(same), size)]


_PROGRAMS: dict = {}  # program: [lock, executable]: two threads at once would compile it twice
_FINDING = threading.Lock()  # two that miss a cache together would have two programs of one


def train_group(plan: Emergence, group: Sequence[Unit], size: int,
                machine: devices.Plan) -> list[alone.Trained]:
  """Trains units that share a program, and gives each by itself, on the host."""
  protocol, width = plan.protocol(group[0]), len(plan.axes['unique'])
  thorough = compiling.pays(protocol.spec, protocol.steps * width * plan.repeats)
  with _FINDING:
    run = alone.compiled(protocol, size > 1, thorough, size * width)
  hypers = [plan.hyper(u) for u in group]
  if size == 1:
    hyper = jax.tree.map(jnp.asarray, hypers[0])
  else:
    filled = [hypers[k % len(hypers)] for k in range(size)]
    hyper = machine.place(jax.tree.map(lambda *v: jnp.stack([jnp.asarray(x) for x in v]), *filled))
  leaves, structure = jax.tree.flatten(plan.tables)
  # `run` is another one where a row of a registry was defined anew under its old name
  known = (run, width, size, structure, *(v.shape for v in leaves))
  program = _PROGRAMS.setdefault(known, [threading.Lock(), None])
  with program[0]:
    epochs = np.int32(group[0].epochs)
    program[1] = program[1] or run.lower(hyper, plan.tables, epochs).compile()
  out = jax.device_get(program[1](hyper, plan.tables, epochs))
  out = dataclasses.replace(out, validation=out.validation[..., :group[0].epochs])
  return [out] if size == 1 else [
      jax.tree.map(lambda v, k=k: v[k], out) for k in range(len(group))]
