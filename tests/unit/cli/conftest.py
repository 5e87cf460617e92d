"""A device to set up, for commands that do so."""

from pathlib import Path

import pytest

from tests.simulators.new_device import NewDevice


@pytest.fixture
def device(tmp_path: Path) -> NewDevice:
    return NewDevice(tmp_path)


@pytest.fixture(autouse=True)
def _nobody_called_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
