"""Real programs that system tests start."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.simulators.authority import Authority
from tests.simulators.broker import Mosquitto, find_mosquitto

if TYPE_CHECKING:
    from tests.simulators.fleet import Fleet, Web


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


@pytest.fixture
def broker(mosquitto: Mosquitto) -> Mosquitto:
    """The same, started."""
    mosquitto.start()
    return mosquitto


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Who signs certificates."""
    directory = tmp_path / "authority"
    directory.mkdir()
    return Authority(directory)


@pytest.fixture
def fleet(tmp_path: Path) -> "Fleet":
    """A fleet without releases."""
    simulator = pytest.importorskip("tests.simulators.fleet", reason="needs tuf: make setup")
    made: Fleet = simulator.Fleet(tmp_path / "fleet")
    return made


@pytest.fixture
def web(fleet: "Fleet") -> "Iterator[Web]":
    """Its web server."""
    from tests.simulators.fleet import served

    with served(fleet.folder) as web:
        yield web
