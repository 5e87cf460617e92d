"""Real programs that system tests start."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.broker import Mosquitto, find_mosquitto


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A mosquitto that is not started yet; it is stopped when the test ends."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    directory = tmp_path / "broker"
    directory.mkdir()
    broker = Mosquitto(directory)
    yield broker
    broker.stop()
