import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.core.errors import UnavailableError
from appliance.diagnostics.journal import journal_command, parse_entry
from tests.simulators.programs import put_program

# as journalctl 252 writes an entry of python3-systemd's
OWN = {
    "__REALTIME_TIMESTAMP": "1795392000000000",
    "_SYSTEMD_UNIT": "edgecam.service",
    "PRIORITY": "4",
    "SYSLOG_IDENTIFIER": "edgecam",
    "LOGGER": "appliance.daemon.camera",
    "CODE_FILE": "/usr/lib/edgecam/app/appliance/daemon/logs.py",
    "CODE_LINE": "66",
    "SYSLOG_PID": "7",
    "CAMERA": "door",
    "MESSAGE": "the camera gives no frames",
}


def line(**changes: object) -> bytes:
    return json.dumps(OWN | changes).encode() + b"\n"


def test_an_entry_of_the_daemon_has_time_level_text_and_fields() -> None:
    entry = parse_entry(line())
    assert entry is not None
    assert entry.time == datetime(2026, 11, 23, 0, 0, tzinfo=UTC)
    assert str(entry).endswith(" warning the camera gives no frames  camera=door")


@pytest.mark.parametrize(
    ("priority", "level"), [("2", "error"), ("3", "error"), ("5", "info"), ("6", "info"), ("7", "debug")]
)
def test_each_priority_has_a_level(priority: str, level: str) -> None:
    assert f" {level:<7} " in str(parse_entry(line(PRIORITY=priority)))


def test_systemds_own_words_are_told_as_systemds_without_its_fields() -> None:
    entry = parse_entry(line(SYSLOG_IDENTIFIER="systemd", JOB_ID="7", MESSAGE="Started."))
    assert str(entry).endswith("systemd: Started.")


def test_lines_by_standard_error_are_the_daemons() -> None:
    assert " python3" not in str(parse_entry(line(SYSLOG_IDENTIFIER="python3")))


def test_nothing_in_an_entry_is_obeyed_by_a_terminal() -> None:
    assert "\x1b" not in str(parse_entry(line(MESSAGE="\x1b[31mred", CAMERA="\x1b]0;title\x07")))
    assert str(parse_entry(line(MESSAGE=[104, 105, 27, 255]))).split("  camera")[0].endswith("hi?\ufffd")


def test_what_is_no_entry_is_passed_over() -> None:
    for odd in (
        b"",
        b"\n",
        b"[]\n",
        b"{}\n",
        b'{"__REALTIME_TIMESTAMP": "x"}\n',
        b'{"__REALTIME_TIMESTAMP": null}\n',
        b"1\n",
    ):
        assert parse_entry(odd) is None


def test_without_systemd_it_is_said_where_the_logs_are(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="standard error of whoever started it"):
        journal_command(lines=1, booted=tmp_path / "none")


def test_what_is_asked_for_is_asked_of_journalctl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_program(monkeypatch, tmp_path, "journalctl", "")
    command = journal_command(lines=5, since="2h ago", level="warning", is_followed=True, booted=tmp_path)
    assert command[1:] == [
        "--unit=edgecam.service",
        "--output=json",
        "--no-pager",
        "--quiet",
        "--priority=4",
        "--since=2h ago",
        "--lines=5",
        "--follow",
    ]
    assert "--lines=all" in journal_command(lines=None, booted=tmp_path)
