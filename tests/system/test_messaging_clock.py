"""UTC that is wrong, comes late and is set again and again: every message arrives, in order, at the right time."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance.core.message import Message
from appliance.messaging.payloads import nanoseconds, parse_utc, utc_text
from tests.simulators.broker import Mosquitto
from tests.simulators.messaging_device import Device, wait_until
from tests.simulators.subscriber import Subscriber
from tests.simulators.timing import SetClock

HOUR, YEAR = 3600.0, 365.25 * 86400.0
WITHIN_NS = 50_000_000
LASTED_NS = 2_000_000_000
NO_FLEET = {"start_spread": 0.0, "reconnect_spread": 0.0, "replay_spread": 0.0}  # a single device need not wait


@dataclass
class Life:
    """A device over restarts and boots, with the broker away until `deliver`."""

    directory: Path
    broker: Mosquitto
    clock: SetClock
    boot_id: str = "a" * 32
    sent: int = 0

    def __post_init__(self) -> None:
        self.device = self._start()

    def _start(self) -> Device:
        device = Device(self.directory, self.broker.url, clock=self.clock, boot_id=self.boot_id, **NO_FLEET)
        device.__enter__()
        return device

    def restart(self) -> None:
        """Stop the daemon and start it again in the same boot."""
        self.device.close()
        self.device = self._start()
        wait_until(lambda: self.device.messaging.clock()["quality"] != "unsynced", "what the run before knew")

    def reboot(self, clock: SetClock) -> None:
        self.device.close()
        self.clock, self.boot_id = clock, chr(ord(self.boot_id[0]) + 1) * 32
        self.device = self._start()

    def see(self, count: int = 4) -> None:
        """Send events as a pipeline does, and wait until they are on disk."""
        for _ in range(count):
            self.clock.seconds += 0.25
            now = self.clock.now()
            time_ns = nanoseconds(now.time)
            body = {"true_ns": self.clock.utc_ns, "start_time": utc_text(time_ns - LASTED_NS)}
            self.device.messaging.publish(
                Message("door/events", body, durable=True, camera="door", time_ns=time_ns, mono_ns=now.mono_ns)
            )
        self.sent += count
        wait_until(lambda: self.device.figure("rows") >= self.sent, "on disk")

    def set(self, *, wrong: float, synced: bool, after: float = 1.0) -> None:
        """Let time pass, then set UTC; wait until the device has noticed."""
        self.clock.seconds += after
        self.clock.wrong, self.clock.synced = wrong, synced
        quality = self.clock.quality().value
        wait_until(lambda: self.device.messaging.clock()["quality"] in {quality, "holdover"}, quality)
        if synced:
            wait_until(lambda: self.device.messaging.clock()["quality"] == "synced", "synced")

    def deliver(self) -> list[dict[str, Any]]:
        """Let the broker come; give all that a subscriber got, in its order."""
        self.broker.start()
        with Subscriber(self.broker.port) as subscriber:
            self.device.wait_drained(60.0)
            wait_until(lambda: len(subscriber.numbers()) >= self.sent, "all at the subscriber")
            return subscriber.payloads("door/events") + subscriber.payloads("gap")


def check_complete(messages: list[dict[str, Any]], count: int) -> None:
    assert [fields["seq"] for fields in messages] == list(range(1, count + 1)), "complete, in order, no gap"


def check_time(fields: dict[str, Any]) -> None:
    assert abs(parse_utc(fields["time"]) - fields["true_ns"]) <= WITHIN_NS, fields
    assert parse_utc(fields["time"]) - parse_utc(fields["start_time"]) == LASTED_NS


@pytest.mark.parametrize("years", [-56, 14], ids=["1970", "2040"])
def test_ntp_after_five_minutes_and_steps_while_it_runs_leave_order_and_times_right(
    mosquitto: Mosquitto, tmp_path: Path, years: int
) -> None:
    clock = SetClock(wrong=years * YEAR, synced=False)
    life = Life(tmp_path, mosquitto, clock)
    life.see()
    life.set(wrong=0.0, synced=True, after=300.0)
    life.see()
    for wrong in (HOUR, -HOUR, 10 * YEAR, -10 * YEAR):
        life.set(wrong=wrong, synced=False)
        life.see()
    life.restart()
    life.see()
    life.set(wrong=0.0, synced=True)
    life.see()
    messages = life.deliver()
    life.device.close()
    check_complete(messages, life.sent)
    for fields in messages:
        check_time(fields)
    told = [fields["clock"] for fields in messages]
    assert told == ["holdover"] * 4 + ["synced"] * 4 + ["holdover"] * 20 + ["synced"] * 4
    assert [fields.get("time_source") for fields in messages] == ["corrected"] * 4 + [None] * 28
    assert all("time_error_ms" in fields for fields in messages if fields["clock"] == "holdover")


def test_a_queue_from_a_boot_at_1970_neither_expires_nor_tells_a_wrong_age_after_the_next(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    life = Life(tmp_path, mosquitto, SetClock(wrong=-56 * YEAR, synced=False))
    life.see()
    life.set(wrong=0.0, synced=True)
    life.see()
    life.reboot(SetClock(life.clock.booted + timedelta(hours=1), wrong=-56 * YEAR, synced=False))
    life.see()
    life.reboot(SetClock(life.clock.booted + timedelta(hours=1), wrong=-56 * YEAR, synced=False))
    life.see()
    life.set(wrong=0.0, synced=True)
    messages = life.deliver()
    life.device.close()
    check_complete(messages, life.sent)
    for fields in messages[:8] + messages[12:]:
        check_time(fields)
    for fields in messages[8:12]:
        assert fields["clock"] == "unsynced"
        assert parse_utc(fields["time_after"]) < fields["true_ns"] < parse_utc(fields["time_before"])
        assert "queued_s" not in fields
    assert all(fields.get("queued_s", 0.0) < 3 * HOUR for fields in messages)


def test_retained_state_is_told_again_with_the_right_time_once_it_is_known(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    mosquitto.start()
    clock = SetClock(wrong=-56 * YEAR, synced=False)
    with Device(tmp_path, mosquitto.url, clock=clock) as device, Subscriber(mosquitto.port) as subscriber:
        device.messaging.publish(Message("door/status", {"state": "online"}, retain=True, qos=1, camera="door"))
        wait_until(lambda: subscriber.payloads("door/status"), "the state as it was told first")
        clock.wrong, clock.synced = 0.0, True
        wait_until(lambda: len(subscriber.payloads("door/status")) == 2, "the state with its time")
        first, second = subscriber.payloads("door/status")
    assert (first["clock"], second["clock"], second["time_source"]) == ("unsynced", "holdover", "corrected")
    assert parse_utc(second["time"]) == clock.utc_ns // 10**6 * 10**6
    assert second["state"] == "online"
