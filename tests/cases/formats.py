"""Formats, sequences, and files that would do harm: read rightly, or refused in one line."""

import gzip
import io
import os
import pathlib
import pickle
import zipfile
import zlib

import h5py
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import scipy.io
import scipy.sparse

import written
from cases.table import Row
from mmalign_jax.data.files import features, opened
from mmalign_jax.data.files.reading import Reading
