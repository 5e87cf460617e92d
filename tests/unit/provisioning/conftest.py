"""A device with such a setup file on its card."""

from pathlib import Path

import pytest

from tests.simulators.new_device import NewDevice
from tests.simulators.owner import new_device


@pytest.fixture
def device(tmp_path: Path) -> NewDevice:
    return new_device(tmp_path)
