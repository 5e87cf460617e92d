"""What is known of devices follows from their messages alone, however late, often or oddly they come."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from appliance.core.clock import ClockQuality
from appliance.updates.permits import Permit
from appliance.updates.refusals import Code
from appliance.updates.state import Compared, Stage
from appliance.workbench.collecting import devices as module
from appliance.workbench.collecting.devices import FACTORY, Devices
from tests.simulators.reporting_fleet import Reporter

FIRST, SECOND = "a" * 64, "b" * 64
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def heard(reporter: Reporter, now: datetime | None = None, devices: Devices | None = None) -> Devices:
    """Take in all that a device has sent, each message when it was sent, or now."""
    found = Devices() if devices is None else devices
    for topic, payload, _ in reporter.sent:
        found.take(topic, payload, now or NOW + timedelta(days=1))
    reporter.sent.clear()
    return found


def test_an_update_is_under_way_and_then_ends_once_however_often_it_is_told() -> None:
    cam = Reporter("cam")
    cam.begin(FIRST, "r1")
    found = heard(cam)
    assert (found["cam"].candidate, found["cam"].rollout, found["cam"].ends) == (FIRST, "r1", {})
    cam.end(compared=Compared(frames=500, active=90, candidate=80, both=70))
    sent = list(cam.sent)
    after = heard(cam, devices=found)["cam"]
    assert (after.candidate, after.in_service) == (None, FIRST)
    assert (after.ends[FIRST].outcome, after.ends[FIRST].rollout, after.ends[FIRST].code) == ("committed", "r1", None)
    assert after.ends[FIRST].compared == Compared(frames=500, active=90, candidate=80, both=70)
    for topic, payload, _ in reversed(sent):
        found.take(topic, payload, NOW)
    assert found["cam"].ends == after.ends


def test_the_event_is_not_needed_as_model_tells_the_last_end() -> None:
    cam = Reporter("cam")
    cam.begin(FIRST, "r1")
    cam.end(Code.BLIND)
    cam.sent = [one for one in cam.sent if not one[0].endswith("/events")]
    assert heard(cam)["cam"].ends[FIRST].code == "E_BLIND"


def test_what_is_given_up_later_counts_for_the_rollout_that_brought_it() -> None:
    cam = Reporter("cam")
    cam.begin(FIRST, "r1")
    cam.end()
    cam.work(3600, 0, 0)
    cam.give_up(Code.STARTS)
    device = heard(cam)["cam"]
    assert (device.ends[FIRST].rollout, device.ends[FIRST].outcome, device.ends[FIRST].code) == (
        "r1", "rolled_back", "E_STARTS",
    )  # fmt: skip
    assert device.in_service == FACTORY


def test_an_event_that_comes_late_does_not_undo_what_came_after_it() -> None:
    cam = Reporter("cam")
    cam.begin(FIRST, "r1")
    cam.end()
    late = [one for one in cam.sent if one[0].endswith("/events")]
    cam.work(60, 0, 0)
    cam.give_up(Code.STARTS)
    found = heard(cam)
    for topic, payload, _ in late:
        found.take(topic, payload, NOW)
    assert found["cam"].ends[FIRST].code == "E_STARTS"


def test_figures_are_counted_between_two_readings_of_one_run_of_the_daemon_and_one_model() -> None:
    cam = Reporter("cam")
    cam.tell()
    cam.health()
    cam.work(60, 300, 2)
    cam.health(p50=10, p95=40, temperature=None)
    cam.work(60, 300, 4)
    cam.health(p50=30, p95=60, temperature=50.0)
    run = heard(cam)["cam"].runs[FACTORY]
    assert (run.seconds, run.frames, run.objects, run.readings) == (120.0, 600, 6, 2)
    assert (run.p50_ms, run.p95_ms, run.warm, run.temperature_c) == (40.0, 100.0, 1, 50.0)


@pytest.mark.parametrize("what", ["restart", "boot", "swap", "again"])
def test_nothing_is_counted_over_a_restart_a_boot_an_exchange_or_twice(what: str) -> None:
    cam = Reporter("cam")
    cam.tell()
    cam.work(600, 100, 7)
    cam.health()
    if what == "restart":
        cam.restart()
    elif what == "boot":
        cam.boot = "b1"
    elif what == "swap":
        cam.begin(FIRST, "r1")
        cam.end()
    if what == "again":
        cam.sent.append(cam.sent[-1])
    else:
        cam.work(60, 10, 1)
        cam.health()
    assert heard(cam)["cam"].runs == {}


def test_a_candidate_on_trial_is_what_is_in_service_and_one_that_is_withheld_is_not() -> None:
    cam = Reporter("cam")
    cam.begin(FIRST, "r1", Stage.TRIAL)
    assert heard(cam)["cam"].in_service == FIRST
    cam.end()
    cam.permit = Permit(Code.LICENCE, "its licence ended", "2026-11-22", -1)
    cam.tell()
    assert heard(cam)["cam"].in_service == FACTORY


def test_when_a_device_was_heard_is_its_own_word_where_its_clock_was_right() -> None:
    cam = Reporter("cam", now=NOW - timedelta(days=3))
    cam.tell()
    assert heard(cam, NOW)["cam"].heard == "2026-11-20T12:00:00Z"  # retained by the broker since


def test_a_clock_ahead_of_ours_does_not_make_a_device_heard_of_in_the_future() -> None:
    cam = Reporter("cam", now=NOW + timedelta(days=3000))
    cam.tell()
    assert heard(cam, NOW)["cam"].heard == "2026-11-23T12:00:00Z"


def test_a_device_without_a_clock_is_heard_of_when_it_counts_on_and_not_when_a_message_is_kept() -> None:
    cam = Reporter("cam", now=datetime(1970, 1, 2, tzinfo=UTC), quality=ClockQuality.UNSYNCED)
    cam.tell()
    cam.health()
    kept = list(cam.sent)
    found = heard(cam, NOW)
    for topic, payload, _ in kept:
        found.take(topic, payload, NOW + timedelta(hours=9))
    assert found["cam"].heard == "2026-11-23T12:00:00Z"
    cam.work(60, 10, 0)
    cam.health()
    assert heard(cam, NOW + timedelta(hours=10), found)["cam"].heard == "2026-11-23T22:00:00Z"


@pytest.mark.parametrize(
    ("topic", "change"),
    [
        ("edgecam/cam/model", {"active": 7}),
        ("edgecam/cam/model", {"candidate": {"sha256": "x"}}),
        ("edgecam/cam/model", {"time": "yesterday"}),
        ("edgecam/cam/model", {"rollout": "a b" * 100}),
        ("edgecam/" + "x" * 65 + "/model", {}),
        ("edgecam/c am/model", {}),
        ("edgecam/cam/model", {"padding": "x" * (200 << 10)}),
    ],
)
def test_what_is_not_as_documented_is_counted_and_changes_nothing(topic: str, change: dict[str, Any]) -> None:
    cam = Reporter("cam")
    cam.tell()
    payload = json.dumps(json.loads(cam.sent[0][1]) | change).encode()
    found = Devices()
    found.take(topic, payload, NOW)
    found.take(topic, b"\xff\x00 nonsense", NOW)
    found.take("edgecam/cam/health", b"[]", NOW)
    assert (len(found), found.unreadable, found.messages) == (0, 3, 0)


def test_other_topics_are_passed_over_and_new_fields_too() -> None:
    cam = Reporter("cam")
    cam.tell()
    found = Devices()
    for topic in ("edgecam/cam/door/events", "edgecam/cam/info", "other/cam/model", "edgecam/cam/model/more"):
        found.take(topic, cam.sent[0][1], NOW)
    assert (len(found), found.unreadable) == (0, 0)
    payload = json.dumps(json.loads(cam.sent[0][1]) | {"news": {"from": 2030}}).encode()
    found.take("edgecam/cam/model", payload, NOW)
    assert len(found) == 1


def test_no_more_devices_are_kept_than_are_bounded_and_the_others_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_DEVICES", 3)
    found = Devices()
    for number in range(5):
        cam = Reporter(f"cam-{number}")
        cam.tell()
        heard(cam, devices=found)
    assert (len(found), found.left_out) == (3, 2)


def test_of_a_device_the_newest_releases_are_kept() -> None:
    cam = Reporter("cam")
    for number in range(1, 30):
        cam.begin(f"{number:064x}", "r1", counter=number)
        cam.end(Code.GOLDEN)
        cam.work(60, 0, 0)
    ends = heard(cam)["cam"].ends
    assert list(ends) == [f"{number:064x}" for number in range(14, 30)]
