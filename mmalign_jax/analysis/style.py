"""How pictures look: readable in print and without colour vision."""

import matplotlib
from matplotlib.figure import Figure

STYLE = {'font.size': 9, 'axes.spines.top': False, 'axes.spines.right': False,
         'svg.fonttype': 'none', 'svg.hashsalt': 'mmalign_jax', 'figure.dpi': 100}
BLUE, ORANGE = '#0072B2', '#D55E00'  # Okabe, Ito


def grid(width: float, height: float, **layout) -> tuple:
  """A figure (inches) and its axes [rows, columns]."""
  with matplotlib.rc_context(STYLE):
    figure = Figure(figsize=(width, height), layout='constrained')
    return figure, figure.subplots(squeeze=False, **layout)


def save(figure: Figure, path) -> None:
  """Writes the figure; an SVG carries no date, so that equal pictures are equal files."""
  metadata = {'Date': None} if str(path).lower().endswith('.svg') else {}
  with matplotlib.rc_context(STYLE):
    figure.savefig(path, dpi=150, metadata=metadata)
