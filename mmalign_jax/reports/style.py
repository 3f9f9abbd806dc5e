"""How pictures look: readable in print and without colour vision."""

import io
import os
import pathlib
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from mmalign_jax.runs import folder

STYLE: dict[Any, Any] = {
    'font.size': 9, 'axes.spines.top': False, 'axes.spines.right': False,
    'svg.fonttype': 'none', 'svg.hashsalt': 'mmalign_jax', 'figure.dpi': 100}
BLUE, ORANGE, GREEN, PURPLE = '#0072B2', '#D55E00', '#009E73', '#CC79A7'  # Okabe, Ito


def grid(width: float, height: float, **layout) -> tuple:
  """A figure (inches) and its axes [rows, columns]."""
  with matplotlib.rc_context(STYLE):
    figure = Figure(figsize=(width, height), layout='constrained')
    return figure, figure.subplots(squeeze=False, **layout)


def say(figure: Figure, text: str) -> None:
  """Writes a remark across a figure that has nothing else to show."""
  figure.text(0.5, 0.5, text, ha='center', va='center', fontsize=12, color='0.4')


def save(figure: Figure, path: str | os.PathLike) -> None:
  """Writes the figure whole or not at all; an SVG carries no date, so that equal pictures are equal
  files."""
  path = pathlib.Path(path)
  suffix = path.suffix.lower()
  content = io.BytesIO()
  with matplotlib.rc_context(STYLE):
    figure.savefig(content, dpi=150, format=suffix.removeprefix('.'),
                   metadata={'Date': None} if suffix == '.svg' else {})
  folder.write_whole(path, content.getvalue())
