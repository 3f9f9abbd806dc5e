"""What a kind of study is: anything with these functions, a module or an object."""

from collections.abc import Collection, Mapping, Sequence
import os
import pathlib
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:  # slow to import
  import xarray as xr


class Plan(Protocol):
  """What was asked for, checked: notes are said to the user before work begins; run: the settings
  that say how it is run, and do not change its results."""

  @property
  def notes(self) -> Sequence[str]: ...

  @property
  def run(self) -> Mapping[str, Any]: ...


@runtime_checkable
class Study(Protocol):
  """A row of STUDIES. LAUNCHER: launch/NAME.py and `mmalign NAME` run it."""

  @property
  def LAUNCHER(self) -> str: ...

  def defaults(self) -> dict[str, Any]:
    """Every setting with its default, `study` and `name` among them."""
    ...

  def from_settings(self, given: Mapping[str, Any], *, preset: Collection[str] = ()) -> Plan:
    """A plan from settings; preset: names that nobody chose, which may be without effect.

    Raises:
      ValueError: one line that names the setting and its value, before any work.
    """
    ...

  def run(self, plan: Any, workdir: str | os.PathLike, /, *_: Any,
          **options: Any) -> 'xr.Dataset | Mapping[str, xr.Dataset] | None':
    """Does what `workdir` does not hold yet and writes workdir/results.zarr.

    Args:
      options: shard=(1, 1) and progress=True, of every study; where data lie, if it asks.

    Returns:
      the data set, or several by name, or None where other shards have work to do.
    """
    ...

  def answer(self, plan: Any, dataset: Any, folder: pathlib.Path, *,
             figures: bool) -> str:
    """Writes summary.json and, if asked, figures/ and report.html, into `folder`; the answer as
    text."""
    ...


@runtime_checkable
class Sharded(Study, Protocol):
  """A study whose parts can run apart and be merged. FOLDERS, FILES: finished work of a shard."""
  FOLDERS: tuple[str, ...]
  FILES: tuple[str, ...]

  def deciding(self) -> dict[str, Any]:
    """The settings that decide results, with their defaults."""
    ...

  def record(self, plan: Any) -> dict[str, Any]:
    """What config.json holds of a plan."""
    ...

  def wanted(self, plan: Any) -> list[str]:
    """Names of all its cells."""
    ...

  def held(self, plan: Any, workdir: str | os.PathLike) -> list[str]:
    """Names of the cells that a folder holds; nothing in it is touched."""
    ...


@runtime_checkable
class Reported(Study, Protocol):
  """A study whose report `mmalign report` can make from its folder alone."""

  def report(self, folder: pathlib.Path, figures: pathlib.Path, *, resamples: int) -> Any:
    """The `reports.document.Document` of finished results in `folder`, pictures drawn into
    `figures`.

    Raises:
      FileNotFoundError: there are none. ValueError: they cannot be read.
    """
    ...
