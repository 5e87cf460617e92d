"""What the doctor makes of a daemon's status: an object as `/v1/status` gives it, with one thing changed."""

from typing import Any

import pytest

from appliance.cli.told_by_daemon import (
    broker_outcomes,
    camera_outcome,
    daemon_outcomes,
    outbox_outcome,
    releases_outcome,
    runtime_outcome,
)
from appliance.core.checkup import CheckState


def status(*findings: tuple[str, str, str, str], **changes: Any) -> dict[str, Any]:
    """Give the status of a daemon with one camera; findings are component, state, what and fix."""
    keys = ("component", "state", "what", "fix")
    camera = {"state": "online", "why": "", "fps": 10.0, "width": 1280, "height": 720}
    provider = {"name": "cpu", "nodes": 725}
    model = {"name": "nano", "version": "0.1", "file": "nano.onnx", "in_service": True, "providers": [provider]}
    messaging = {
        "broker": "mqtt://h:1883",
        "connected": True,
        "protocol": "5",
        "acknowledged": 7,
        "rows": 0,
        "bytes": 0,
    }
    return {
        "version": "0.1.0",
        "uptime_s": 7200.0,
        "state": "ok",
        "restarts": changes.get("restarts", {}),
        "findings": [dict(zip(keys, finding, strict=True)) for finding in findings],
        "cameras": {"door": camera | changes.get("camera", {})},
        "model": model | changes.get("model", {}),
        "messaging": messaging | changes.get("messaging", {}),
    }


def test_findings_that_no_other_check_tells_are_told_under_their_names() -> None:
    told = daemon_outcomes(
        status(
            ("model", "degraded", "x", ""), ("camera:door", "failed", "y", ""), ("homeassistant", "degraded", "z", "")
        )
    )
    assert [(each.id, each.state) for each in told] == [
        ("daemon", CheckState.OK),
        ("daemon.homeassistant", CheckState.WARNING),
    ]
    assert all(each.fix for each in told[1:])


def test_what_the_daemon_found_of_its_record_of_releases_is_a_check_of_its_own() -> None:
    found = status(("releases", "degraded", "it was damaged", "look at the disk"))
    told = releases_outcome(found)
    assert told is not None
    assert (told.id, told.state, told.seen) == ("releases", CheckState.WARNING, "it was damaged")
    assert [each.id for each in daemon_outcomes(found)] == ["daemon"]
    assert releases_outcome(status(("releases", "ok", "", ""))) is None


def test_parts_that_had_to_be_started_again_are_a_warning() -> None:
    told = daemon_outcomes(status(restarts={"camera:door": 3}))[0]
    assert told.state is CheckState.WARNING
    assert "camera:door 3" in told.seen


@pytest.mark.parametrize("state", ["offline", "stalled"])
def test_a_camera_without_frames_tells_why_and_what_to_do(state: str) -> None:
    camera = {"state": state, "why": "it is in use"}
    told = camera_outcome("door", status(("camera:door", "failed", "it is in use", "close the other"), camera=camera))
    assert (told.state, told.seen, told.fix) == (CheckState.FAILED, f"{state}: it is in use", "close the other")


def test_a_camera_that_the_daemon_does_not_know_was_added_after_its_start() -> None:
    told = camera_outcome("gate", status())
    assert told.state is CheckState.WARNING
    assert "reload" in told.fix


def test_a_camera_that_is_switched_off_is_no_fault() -> None:
    assert camera_outcome("door", status(camera={"state": "disabled"})).state is CheckState.SKIPPED


def test_what_really_runs_the_model_is_told_and_not_what_was_configured() -> None:
    told = runtime_outcome(status(("model", "degraded", "cuda is not there", "install it")))
    assert (told.state, told.fix) == (CheckState.WARNING, "install it")
    assert "725 nodes on cpu" in told.seen
    assert "cuda is not there" in told.seen


def test_a_model_that_is_not_in_service_has_failed() -> None:
    told = runtime_outcome(status(("model", "failed", "it crashed", ""), model={"in_service": False}))
    assert told.state is CheckState.FAILED
    assert "nothing of nano" in told.seen
    assert told.fix


@pytest.mark.parametrize(
    ("component", "stage"),
    [
        ("credentials", "broker.credentials"),
        ("identity", "broker.mqtt"),
        ("delivery", "broker.publish"),
        ("state", "broker.publish"),
        ("subscriptions", "broker.subscribe"),
    ],
)
def test_what_the_daemon_has_found_at_the_broker_is_told_at_its_stage(component: str, stage: str) -> None:
    told = {
        each.id: each for each in broker_outcomes(status((component, "degraded", "not allowed", "allow it")), ["a/#"])
    }
    assert {name for name, each in told.items() if each.state is not CheckState.OK} == {stage}
    assert (told[stage].seen, told[stage].fix) == ("not allowed", "allow it")


def test_a_daemon_without_a_connection_tells_nothing_of_the_broker() -> None:
    assert broker_outcomes(status(messaging={"connected": False}), []) == []


def test_messages_that_were_given_up_are_a_warning() -> None:
    told = outbox_outcome(status(messaging={"rows": 3, "oldest_age_s": 7200.0, "evicted": 2, "declared_lost": 1}))
    assert told.state is CheckState.WARNING
    assert "3 messages wait, the oldest for 2.0 h" in told.seen
    assert "3 were given up" in told.seen
    assert outbox_outcome(status()).state is CheckState.OK


def test_a_corrupt_outbox_is_told_with_its_fix() -> None:
    told = outbox_outcome(status(("outbox", "degraded", "the outbox was corrupt", "check the disk")))
    assert (told.state, told.fix) == (CheckState.WARNING, "check the disk")
