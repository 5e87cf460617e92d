import json
import os
from pathlib import Path
from typing import Any

import pytest

from appliance.daemon.failures import (
    MOST_BYTES,
    MOST_CHARACTERS,
    MOST_RECORDS,
    SAME_WITHIN_NS,
    STATE,
    Attempt,
    attempt_of,
    failure_record,
    read_tail,
    took_the_memory,
    with_record,
)
from appliance.updates import stages
from appliance.updates.state import Held, Stage, State, Update
from appliance.updates.store import Store

BOOT, OTHER_BOOT = "b" * 32, "c" * 32
RELEASE = Held(sha256="2" * 64, name="persons", version="2", counter=2)


ATTEMPT = Attempt(RELEASE.sha256, 1)


def _record(how: str = "watchdog:killed:ABRT", **changed: Any) -> dict[str, Any]:
    return {**failure_record(how, "3\n", "one\ntwo", "b" * 32), **changed}


def test_a_record_says_how_it_ended_and_what_the_daemon_said_last() -> None:
    record = _record()
    assert [record[key] for key in ("result", "code", "status", "restarts")] == ["watchdog", "killed", "ABRT", 3]
    assert record["said"] == ["one", "two"]


def test_a_kill_for_want_of_memory_is_called_so_and_no_other_end() -> None:
    results = [
        failure_record(how, "1", "", "b" * 32, is_out_of_memory=True)["result"]
        for how in ("signal:killed:KILL", "watchdog:killed:ABRT")
    ]
    assert results == ["oom-kill", "watchdog"]


def test_what_cannot_be_known_is_left_out_and_lines_are_cut() -> None:
    record = failure_record("resources", "", "x" * 5000, "b" * 32)
    assert [record[key] for key in ("result", "code", "status", "restarts")] == ["resources", "", "", None]
    assert len(record["said"][0]) == MOST_CHARACTERS


def test_records_are_kept_in_order_and_bounded() -> None:
    content = b""
    for number in range(MOST_RECORDS + 5):
        content = with_record(content, _record(status=str(number))) or b""
    kept = [json.loads(line)["status"] for line in content.splitlines()]
    assert kept == [str(number) for number in range(5, MOST_RECORDS + 5)]


def test_a_loop_of_the_same_failure_is_written_once_an_hour() -> None:
    first = _record(mono_ns=0)
    content = with_record(b"", first)
    assert content is not None
    assert with_record(content, _record(mono_ns=SAME_WITHIN_NS - 1)) is None
    assert with_record(content, _record(mono_ns=SAME_WITHIN_NS)) is not None
    assert with_record(content, _record(mono_ns=1, status="1")) is not None
    assert with_record(content, _record(mono_ns=1, boot_id="c" * 32)) is not None


def test_the_same_failure_in_another_attempt_is_written_at_once() -> None:
    content = with_record(b"", _record(mono_ns=0))
    assert content is not None
    content = with_record(content, _record(mono_ns=1, candidate=RELEASE.sha256))
    assert content is not None
    assert with_record(content, _record(mono_ns=2, candidate=RELEASE.sha256)) is None
    assert with_record(content, _record(mono_ns=2, candidate=RELEASE.sha256, crashes=1)) is not None


def test_a_record_names_the_attempt_that_was_under_way_in_this_boot(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def attempt(state: State) -> Attempt | None:
        store.write(state)
        return attempt_of(read_tail(tmp_path / STATE), BOOT)

    trial = State(update=Update(release=RELEASE, rollout="r", stage=Stage.TRIAL))
    again = trial.update.model_copy(update={"crashes": 1}) if trial.update else None
    assert attempt(stages.attempt(trial, BOOT)) == Attempt(RELEASE.sha256, 0)
    assert attempt(stages.attempt(State(update=again), BOOT)) == Attempt(RELEASE.sha256, 1)
    assert attempt(stages.attempt(trial, OTHER_BOOT)) is None
    assert attempt(stages.released(stages.attempt(trial, BOOT))) is None
    assert attempt(State(active=RELEASE)) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"update": 1}', b'{"update": {"boot": "%s"}}' % BOOT.encode()])
def test_a_damaged_state_costs_no_record(content: bytes) -> None:
    assert attempt_of(content, BOOT) is None


def test_the_newest_record_alone_says_what_took_the_memory_and_only_of_this_attempt(tmp_path: Path) -> None:
    path, killed = tmp_path / "failures.jsonl", "signal:killed:KILL"
    told = failure_record(killed, "1", "", BOOT, is_out_of_memory=True, attempt=ATTEMPT)

    def says(*records: dict[str, Any]) -> bool:
        path.write_bytes(b"".join(json.dumps(one).encode() + b"\n" for one in records))
        return took_the_memory(path, BOOT, *ATTEMPT)

    assert not took_the_memory(path, BOOT, *ATTEMPT)
    assert says(told)
    assert says(_record(), told)
    assert not says(told, _record())
    assert not says(told, _record(candidate=RELEASE.sha256))
    assert not says(told | {"boot_id": OTHER_BOOT})
    assert not says(told | {"candidate": "3" * 64})
    assert not says(told | {"candidate": None})
    assert not says(told | {"crashes": 0})
    older = {key: value for key, value in told.items() if key != "crashes"}
    assert not says(older)
    assert not says({key: value for key, value in older.items() if key != "candidate"})
    path.write_bytes(json.dumps(told).encode() + b'\n{"stat')
    assert not took_the_memory(path, BOOT, *ATTEMPT)


def test_of_a_file_that_has_grown_without_bound_only_the_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "failures.jsonl"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of nothing, which takes no room
        file.seek(0, 2)
        file.write(b'\n{"status": "1"}\n')
    content = read_tail(path)
    assert len(content) == MOST_BYTES
    kept = with_record(content, _record())
    assert kept is not None
    assert [json.loads(line)["status"] for line in kept.splitlines()] == ["1", "ABRT"]


def test_what_is_no_file_is_neither_read_nor_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "failures.jsonl"
    os.mkfifo(pipe)
    assert [read_tail(path) for path in (pipe, tmp_path, tmp_path / "none")] == [b"", b"", b""]


def test_half_a_line_costs_only_itself() -> None:
    content = with_record(b'{"status": "1"}\n{"stat', _record())
    assert content is not None
    assert [json.loads(line)["status"] for line in content.splitlines()] == ["1", "ABRT"]
