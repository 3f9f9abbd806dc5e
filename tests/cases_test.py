"""Inputs of other people that once gave a wrong answer, or a poor one, with the right one.

A row is an input and a check of its answer; rows of one kind share a number. The modules in cases/
hold them by area; here they become one table.
"""

import importlib
import pathlib
import pkgutil

import cases
import pytest

AREAS = [name for _, name, _ in pkgutil.iter_modules(cases.__path__) if name != 'table']
ROWS = [(area, row) for area in AREAS
        for row in importlib.import_module(f'cases.{area}').ROWS]


@pytest.mark.parametrize('row', [
    pytest.param(row, id=f'{row.number}: {row.name}') for _, row in ROWS])
def test_case(row, tmp_path: pathlib.Path):
  row.check(tmp_path)


def test_names_are_unique():
  names = [(row.number, row.name) for _, row in ROWS]
  assert len(set(names)) == len(names)
