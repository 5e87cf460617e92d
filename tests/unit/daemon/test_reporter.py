import threading
from pathlib import Path
from typing import Any

import pytest

from appliance.core import machine
from appliance.core.health import HealthBoard, HealthState
from appliance.core.message import Message
from appliance.daemon.reporter import Reporter
from appliance.daemon.status import Status
from appliance.daemon.systemd import Notifier
from appliance.inference.tuning import Tuned


class Told(Notifier):
    def __init__(self) -> None:
        super().__init__(address="", watchdog_us="")
        self.states: list[str] = []

    def tell(self, *states: str) -> None:
        self.states += states


def report_once(board: HealthBoard, directory: Path) -> tuple[list[Message], list[str]]:
    messages: list[Message] = []
    notifier = Told()
    figures: dict[str, Any] = {"connected": True, "rows": 3, "broker": "mqtt://127.0.0.1:1883"}
    status = Status(
        device_id="test",
        chains={},
        model=lambda: {"name": "m"},
        info=lambda: {"name": "m"},
        messaging=lambda: figures,
        restarts=dict,
        board=board,
        clock=lambda: {"quality": "synced", "error_ms": 25, "steps": 0},
        state_dir=directory,
        tuning=Tuned("none").facts,
    )
    stop = threading.Event()
    stop.set()
    Reporter(status=status, board=board, publish=messages.append, notifier=notifier, interval=60.0).run(stop)
    return messages, notifier.states


def zone(directory: Path, millidegrees: str) -> None:
    (directory / "thermal_zone0").mkdir(exist_ok=True)
    (directory / "thermal_zone0" / "temp").write_text(millidegrees)


def test_health_is_published_and_systemd_gets_a_line(tmp_path: Path) -> None:
    messages, states = report_once(HealthBoard(), tmp_path)
    assert [message.topic for message in messages] == ["health"]
    assert messages[0].body["messaging"]["rows"] == 3
    assert messages[0].retain
    assert states == ["STATUS=; broker connected; outbox 3 messages"]


def test_heat_and_throttling_are_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "THERMAL", tmp_path)
    monkeypatch.setattr(machine, "THROTTLED", tmp_path / "get_throttled")
    board = HealthBoard()
    zone(tmp_path, "85400\n")
    (tmp_path / "get_throttled").write_text("50005\n")  # under-voltage and throttled now, both seen before
    report_once(board, tmp_path)
    found = {finding.component: finding for finding in board.findings()}
    assert found["temperature"].state is HealthState.DEGRADED
    assert "cooling" in found["temperature"].fix
    assert found["power"].what == "under-voltage, throttled"
    zone(tmp_path, "50000\n")
    (tmp_path / "get_throttled").write_text("50000\n")
    report_once(board, tmp_path)
    assert board.state() is HealthState.OK


def test_a_machine_that_tells_nothing_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "THERMAL", tmp_path / "none")
    monkeypatch.setattr(machine, "THROTTLED", tmp_path / "none")
    readings = machine.read_machine(tmp_path)
    assert readings.temperature_c is None
    assert readings.throttled is None
    assert readings.memory_mb is not None
    assert 1 < readings.memory_mb < 10_000
    assert readings.disk_free_mb is not None
