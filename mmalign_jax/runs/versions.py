"""Which software made the numbers."""

import importlib.metadata

_PACKAGES = ('mmalign_jax', 'jax', 'jaxlib', 'flax', 'optax', 'numpy')


def versions() -> dict[str, str]:
  """Versions of the packages that decide the numbers."""
  found = {}
  for name in _PACKAGES:
    try:
      found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      found[name] = 'not installed'
  return found
