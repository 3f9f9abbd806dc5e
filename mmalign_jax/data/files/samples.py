"""All sides of a comparison, and what belongs to their rows, read together.

Features, label, groups and items are joined by ids where that is asked; one selection of rows then
serves all. What was assumed is said in notes.
"""

import dataclasses
import pathlib

import numpy as np

from mmalign_jax.data.files import features, gaps, rows, stores
from mmalign_jax.data.files.features import Features
from mmalign_jax.data.files.opened import Opened
from mmalign_jax.data.files.reading import Reading
