"""Every public function shows an example, and it does what it shows."""

import doctest
import importlib
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mmalign_jax
from mmalign_jax import diagnosis, information, similarity
from mmalign_jax.generators import factors
from mmalign_jax.similarity import probe
from mmalign_jax.training import probes

MODULES = (mmalign_jax, similarity, diagnosis, information, information.counts,
           information.discrete, factors, probe, probes)
INTERNAL = {'xlogx', 'three', 'shuffled'}  # of counts and discrete: parts of others


def public() -> dict[str, object]:
  """Public functions by where they are written."""
  found = {}
  for module in MODULES:
    for name in getattr(module, '__all__', [n for n in vars(module) if not n.startswith('_')]):
      value = getattr(module, name)
      if inspect.isfunction(value) and name not in INTERNAL and (
          hasattr(module, '__all__') or value.__module__ == module.__name__):
        found[f'{value.__module__}.{name}'] = value
  return found


@pytest.mark.parametrize('where', sorted(public()))
def test_an_example_does_what_it_shows(where):
  function = public()[where]
  names = {**vars(importlib.import_module(function.__module__)), 'np': np, 'jnp': jnp, 'jax': jax,
           'ATOMS': information.ATOMS}
  found = doctest.DocTestFinder(recurse=False).find(function, where, globs=names)
  assert found and found[0].examples, f'{where} shows no example'
  said = []
  runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
  runner.run(found[0], out=said.append)
  assert not runner.failures, ''.join(said)


@pytest.mark.parametrize('where', sorted(public()))
def test_arguments_are_described(where):
  """Every argument is named in the docstring, those of similarity by the whole package's rule."""
  function = public()[where]
  said = inspect.getdoc(function) or ''
  of_all = {'x', 'y', 'z', 'k', 'metric', 'items'} if 'similarity' in where else set()
  missing = [name for name, p in inspect.signature(function).parameters.items()
             if name not in of_all and p.kind is not p.VAR_KEYWORD and name not in said]
  assert not missing, f'{where} says nothing of {", ".join(missing)}'
