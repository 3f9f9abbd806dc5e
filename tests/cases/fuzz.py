"""What malformed inputs (benchmarks/fuzz.py) have found, each in its smallest form."""

import contextlib
import gzip
import io
import json
import os
import pathlib

import numpy as np
import pytest

from cases.table import Row
from mmalign_jax import cli
from mmalign_jax.data.files import features, opened
