"""Columns of a .parquet file, read by pyarrow, typed as they are."""

import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from mmalign_jax.data.files.formats import guard
