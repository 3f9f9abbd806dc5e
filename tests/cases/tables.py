"""Tables, labels, ids, missing values and the order of rows: right, or refused with the option."""

import contextlib
import gzip
import io
import json
import pathlib

import numpy as np
import pandas
import pytest

from cases.table import Row
from mmalign_jax import cli
from mmalign_jax.data.files import features as arrays, labels, opened, samples
from mmalign_jax.data.files.reading import Reading
from mmalign_jax.data.files.views import load_paired
