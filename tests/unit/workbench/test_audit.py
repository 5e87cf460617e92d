"""`edgecam-workbench audit` on recordings: every form of line, the verdict, the exit status, the order."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from appliance.core.errors import ConfigError, UnavailableError
from appliance.workbench.main import workbench
from tests.simulators.deliveries import DELIVERIES, GEN, Delivery, gap, message


def recorded(directory: Path, *lines: bytes) -> Path:
    file = directory / "messages.jsonl"
    file.write_bytes(b"\n".join(lines) + b"\n")
    return file


def audited(*arguments: object, given: bytes = b"") -> Result:
    return CliRunner().invoke(workbench, ["audit", *map(str, arguments)], input=given)


def told(*arguments: object) -> tuple[int, dict[str, Any]]:
    result = audited(*arguments, "--json")
    return result.exit_code, json.loads(result.stdout)


@pytest.mark.parametrize("delivery", DELIVERIES, ids=lambda delivery: delivery.name)
def test_the_verdict_on_a_recording_is_in_words_in_json_and_in_the_exit_status(
    delivery: Delivery, tmp_path: Path
) -> None:
    file = recorded(tmp_path, *(payload for _, payload in delivery.messages))
    status, answer = told(file)
    assert answer["complete"] is (not delivery.missing)
    assert status == (65 if delivery.missing else 0)
    (account,) = answer["accounts"]
    assert account["missing"] == [list(run) for run in delivery.missing]
    words = audited(file).stdout.splitlines()[-1].partition("; ")[0]
    shown = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in delivery.missing)
    assert words == f"dev {GEN}: " + (f"missing {shown}" if shown else "complete")


def test_payloads_lines_of_mosquitto_sub_and_saved_lines_are_all_read(tmp_path: Path) -> None:
    bare, shown, saved, nested = (message(seq)[1] for seq in (1, 2, 3, 4))
    file = recorded(
        tmp_path,
        bare,
        b"edgecam/dev/availability online",
        b"edgecam/dev/door/events " + shown,
        json.dumps({"topic": "edgecam/dev/door/events", "payload": saved.decode()}).encode(),
        json.dumps({"topic": "edgecam/dev/door/events", "payload": json.loads(nested)}).encode(),
        b"edgecam/dev/health " + json.dumps({"messaging": {"gen": GEN, "last_seq": 6}}).encode(),
    )
    status, answer = told(file)
    assert (status, answer["messages"], answer["unreadable"]) == (75, 4, 0)
    assert answer["accounts"][0]["awaited"] == [[5, 6]]
    assert audited("-", given=file.read_bytes()).exit_code == 75


def test_messages_are_written_once_each_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    numbers = (3, 1, 3, 12, 2)
    file, ordered = recorded(tmp_path, *(message(seq)[1] for seq in numbers)), tmp_path / "ordered.jsonl"
    assert audited(file, "--ordered", ordered).exit_code == 65
    assert [json.loads(line)["seq"] for line in ordered.read_text().splitlines()] == [1, 2, 3, 12]


def test_with_whole_the_first_numbers_are_expected_too(tmp_path: Path) -> None:
    file = recorded(tmp_path, gap(6, (2, 3))[1], message(4)[1])
    assert told(file, "--whole")[1]["accounts"][0]["missing"] == [[1, 1], [5, 5]]


def test_a_recording_of_nothing_numbered_is_no_proof_of_anything(tmp_path: Path) -> None:
    result = audited(recorded(tmp_path, b"edgecam/dev/availability online", b'{"seq":'))
    assert isinstance(result.exception, UnavailableError)
    assert "1 messages were not as documented" in str(result.exception)


def test_mistakes_of_the_user_are_named(tmp_path: Path) -> None:
    missing = audited(tmp_path / "none.jsonl").exception
    assert isinstance(missing, ConfigError)
    assert "none.jsonl" in str(missing)
    wrong = audited("--broker", "http://broker").exception
    assert isinstance(wrong, ConfigError)
    assert "mqtt://HOST" in str(wrong)
    nobody = audited("--broker", "mqtt://127.0.0.1:1").exception
    assert isinstance(nobody, UnavailableError)
    assert "--broker" in str(nobody)
