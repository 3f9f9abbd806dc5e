"""What is exactly known of a generator's setting, its atoms included."""

import jax

from mmalign_jax import checks
from mmalign_jax.generators import exact, joint, synthetic
from mmalign_jax.information import ATOMS
from mmalign_jax.named import hyper as hyper_of, traced_fields
from mmalign_jax.names import Described, Setting
from mmalign_jax.types import Hyper, Spec

_NOT_ASKED = ('transform_depth', 'n_train')  # of samples: they change nothing that is known
_WORDS = {'mismatched': 'share of pairs whose x2 is unrelated', 'level': 'difficulty',
          'flipped': 'probability that a shared bit of x2 is flipped'}


def known(name: str, given: dict[str, float]) -> dict[str, float]:
  """Information and atoms in nats, task bits, Bayes accuracies, by name."""
  made = synthetic.GENERATORS[name]
  hyper, tables = hyper_of(**given), made.tables(Spec(generator=name))
  compiled = jax.jit(lambda hyper: exact.information(made, tables, hyper))  # or each step alone
  found = {k: v.item() for k, v in vars(compiled(hyper)).items()}
  atoms = joint.decomposition(made, tables, hyper).atoms()
  return found | {f'pid_{atom}': value.item() for atom, value in zip(ATOMS, atoms)}


def described() -> dict[str, Described]:
  """Every row of the registry, as `mmalign generator` asks for its settings."""
  return {name: _described(row) for name, row in synthetic.GENERATORS.items()}


def _described(row: synthetic.Generator) -> Described:
  asked = {}
  for field in traced_fields():
    if field in row.settings and field not in _NOT_ASKED:
      words, units = row.words.get(field, (_WORDS.get(field, ''), ''))
      asked[field] = Setting(checks.range_of(field, row.ranges), words, units)
  first = {'redundancy': float(Hyper().redundancy)} if 'redundancy' in row.settings else {}
  return Described(row.settings, asked, first | dict(row.start))
