"""`edgecam logs` with a journalctl that answers as a test says, and with none."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from appliance.cli.logs import NEWEST, _lines, _show, _since, logs
from appliance.core.errors import UnavailableError
from tests.simulators.programs import put_program

ENTRY = {"__REALTIME_TIMESTAMP": "1795392000000000", "PRIORITY": "3", "SYSLOG_IDENTIFIER": "edgecam"}


@click.command()
@click.argument("program")
def shown(program: str) -> int:
    return _show([program])


def journal(monkeypatch: pytest.MonkeyPatch, directory: Path, answer: str, complaint: str = "", status: int = 0) -> str:
    put_program(monkeypatch, directory, "journalctl", answer, complaint=complaint, status=status)
    return str(directory / "programs" / "journalctl")


def test_entries_are_shown_in_their_order_and_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer = "".join(json.dumps(ENTRY | {"MESSAGE": text}) + "\n" for text in ("first", "second"))
    done = CliRunner().invoke(
        shown, [journal(monkeypatch, tmp_path, answer)], catch_exceptions=False, standalone_mode=False
    )
    assert done.return_value == 2
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["first", "second"]
    assert all(" error " in line for line in done.stdout.splitlines())


def test_what_journalctl_complains_of_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = journal(monkeypatch, tmp_path, "", "Failed to parse timestamp: nonsense", 1)
    with pytest.raises(UnavailableError, match="Failed to parse timestamp: nonsense"):
        CliRunner().invoke(shown, [program], catch_exceptions=False, standalone_mode=False)


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd runs this machine")
def test_without_systemd_it_says_where_the_logs_are() -> None:
    with pytest.raises(UnavailableError, match="there is no journal here"):
        CliRunner().invoke(logs, [], catch_exceptions=False, standalone_mode=False)


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (None, None),
        ("10min", "10min ago"),
        (" 2 h ", "2 h ago"),
        ("yesterday", "yesterday"),
        ("2026-11-22", "2026-11-22"),
    ],
)
def test_a_span_of_time_is_one_that_has_just_passed(given: str | None, asked: str | None) -> None:
    assert _since(given) == asked


@pytest.mark.parametrize(
    ("given", "since", "asked"), [(None, None, NEWEST), (None, "2h", None), (5, "2h", 5), (5, None, 5)]
)
def test_of_a_time_all_is_shown_unless_a_number_is_asked_for(
    given: int | None, since: str | None, asked: int | None
) -> None:
    assert _lines(given, since) == asked
