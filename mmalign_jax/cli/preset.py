"""Which settings a configuration of the package chose, and which the user."""

import pathlib

from ml_collections import config_flags

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]


def names(flag) -> tuple[str, ...]:
  """Names of the settings that nobody chose for this very run: those of a configuration in the
  package that no flag overrides; none of a configuration of the user's own.

  Args:
    flag: of `config_flags.DEFINE_config_file`, parsed.
  """
  path = pathlib.Path(config_flags.get_config_filename(flag)).resolve()
  if path.parent not in (_PACKAGE / 'configs', _PACKAGE.parent / 'configs'):
    return ()
  chosen = config_flags.get_override_values(flag)
  return tuple(name for name in flag.value if name not in chosen)
