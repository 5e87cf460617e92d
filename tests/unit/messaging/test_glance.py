"""The outbox seen from outside: right figures, and nothing of it is touched."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.checkup import CheckState
from appliance.core.errors import StorageError
from appliance.messaging.glance import Glance, check_outbox, glance, judge_outbox
from tests.unit.messaging.outbox_stage import draft, make

WELL = Glance(file_bytes=40_000, waiting=7, oldest_s=60.0, gaps=0, missing=0)


def filled(directory: Path, *, rows: int, acknowledged: int, lost: int) -> Path:
    """Write an outbox, close it, and give its file."""
    outbox = make(directory)
    outbox.open()
    with outbox.transaction():
        outbox.append([draft() for _ in range(rows)], set())
        if lost:
            outbox.declare_lost(lost, "inlet")
    with outbox.transaction():
        outbox.acknowledge({outbox.last_key - outbox.last_seq + seq for seq in range(1, acknowledged + 1)})
    outbox.close()
    return directory / "outbox.db"


def test_it_counts_what_the_broker_does_not_have_and_what_was_given_up(tmp_path: Path) -> None:
    seen = glance(filled(tmp_path, rows=9, acknowledged=4, lost=3))
    assert seen is not None
    assert (seen.waiting, seen.gaps, seen.missing) == (9 - 4 + 1, 1, 3)  # the gap record waits as well
    assert seen.oldest_s is not None


def test_looking_changes_no_byte_and_makes_no_file(tmp_path: Path) -> None:
    path = filled(tmp_path, rows=9, acknowledged=4, lost=0)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    path.chmod(0o400)
    glance(path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_daemon_that_has_it_open_is_not_disturbed(tmp_path: Path) -> None:
    outbox = make(tmp_path)
    outbox.open()
    assert glance(tmp_path / "outbox.db") is not None
    with outbox.transaction():
        outbox.append([draft()], set())
    assert outbox.rows == 1
    outbox.close()


def test_what_is_no_outbox_is_told_with_what_becomes_of_it(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(os.urandom(8192))
    with pytest.raises(StorageError, match="cannot be read"):
        glance(tmp_path / "outbox.db")
    told = check_outbox(tmp_path)
    assert told.state is CheckState.FAILED
    assert "start the daemon" in told.fix


def test_where_there_is_none_it_is_skipped(tmp_path: Path) -> None:
    assert check_outbox(tmp_path).state is CheckState.SKIPPED


def test_one_that_was_put_aside_is_named_with_its_file(tmp_path: Path) -> None:
    filled(tmp_path, rows=2, acknowledged=0, lost=0)
    (tmp_path / "outbox.db.corrupt-2").touch()
    (tmp_path / "outbox.db.corrupt-10").touch()
    told = check_outbox(tmp_path)
    assert told.state is CheckState.WARNING
    assert "outbox.db.corrupt-10" in told.seen
    assert str(tmp_path / "outbox.db.corrupt-10") in told.fix


def test_messages_that_wait_for_hours_are_a_warning_and_others_are_not() -> None:
    assert judge_outbox(WELL, []).state is CheckState.OK
    told = judge_outbox(replace(WELL, oldest_s=7200.0), [])
    assert told.state is CheckState.WARNING
    assert "2.0 h" in told.seen
    assert "broker" in told.fix
