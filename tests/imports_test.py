"""Arrows between modules go one way, and the pure set needs neither files nor TensorFlow."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'mmalign_jax'
LAYERS = [  # a module may import only from layers above its own, or from its own
    {'types', 'grouped', 'precision'}, {'settings'},
    {'rng', 'losses', 'encoders', 'similarity', 'information', 'generators.synthetic'},
    {'generators', 'objective', 'data.files.formats', 'data.files.stores', 'data.files.splits',
     'data.files.pooling', 'data.files.steps', 'data.files.reading', 'data.files.delimited',
     'data.files.parquet', 'data.files.columns', 'data.files.labels', 'data.files.rows',
     'data.files.gaps', 'data.avmnist.idx', 'data.avmnist.wav', 'data.avmnist.spectra',
     'data.avmnist.knobs'},
    {'data.sources', 'checks', 'data.files', 'runs', 'training.step'},
    {'data.avmnist', 'training'},
    {'reports'},
    {'studies.protocol', 'studies.reads'},
    {'studies.strength', 'studies.emergence', 'studies.train'}, {'studies.registry'}, {'cli'}]
PURE = ['types', 'grouped', 'rng', 'encoders', 'losses', 'objective', 'similarity', 'information',
        'information.neural', 'generators', 'data.sources', 'training']
ROOMS = ('strength', 'emergence', 'train')  # of the studies: none knows another
