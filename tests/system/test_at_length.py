"""What only the targets for nights run can at least be collected: a change elsewhere that breaks it shows by day."""

import importlib
from pathlib import Path

import pytest

LONG = sorted(path.stem for path in Path(__file__).parent.glob("*_at_length.py"))


@pytest.mark.parametrize("name", LONG)
def test_what_takes_minutes_finds_all_that_it_needs(name: str) -> None:
    module = importlib.import_module(f"tests.system.{name}")
    assert [test for test in dir(module) if test.startswith("test_")]
