"""Features of one side from a file: `FILE`, `FILE:KEY`, `FILE:PATTERN*` or `FILE:INDEX`.

One array [N, D], or several layers of the same N samples: an array [L, N, D], or the keys that fit
a pattern. Of a table, KEY is a column, and a pattern several. Nothing in a file is ever executed:
pickled objects are refused.
"""

import contextlib
import dataclasses
import fnmatch
import pathlib
import re
from collections.abc import Collection

import numpy as np

from mmalign_jax.data.files import columns, stores, steps as sequences
from mmalign_jax.data.files.formats import guard
from mmalign_jax.data.files.opened import Opened
from mmalign_jax.data.files.reading import Reading
from mmalign_jax.precision import beyond_float64, needs_float64

