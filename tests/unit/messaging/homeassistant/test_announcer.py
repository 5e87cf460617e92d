import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.core.health import HealthBoard, HealthState
from appliance.core.message import Message
from appliance.core.worker import Worker
from appliance.messaging.homeassistant.announcer import Announcer, Withdrawal
from appliance.messaging.homeassistant.discovery import DeviceFacts
from appliance.messaging.homeassistant.memory import FILE, MOST_SEEN, Memory, keep, recall
from appliance.messaging.homeassistant.subjects import CameraFacts, Subject
from appliance.messaging.inbox import Received
from appliance.messaging.payloads import counts_message
from tests.simulators.messaging_device import wait_until

TOPIC = "/homeassistant/device/edgecam-gate-1/config"


class Desk:
    """A device's announcer, and what it has published."""

    def __init__(self, state_dir: Path, *cameras: str, prefix: str = "homeassistant", spread: float = 0.0) -> None:
        self.board, self.published = HealthBoard(), list[Message]()
        self.asked, self._spread = 0, spread
        facts = [CameraFacts(name, "detect", {}, (), frozenset()) for name in cameras]
        self.worker = Announcer(
            facts=DeviceFacts("gate-1", "a box", "0.1.0", facts, 60.0),
            prefix=prefix,
            state_dir=state_dir,
            publish=self.published.append,
            board=self.board,
            spread=self._wait,
        )

    def _wait(self) -> float:
        self.asked += 1
        return self._spread

    def hear(self, payload: bytes) -> None:
        self.worker.inbox.put(Received("homeassistant/status", payload))

    def last(self) -> dict[str, Any]:
        body: dict[str, Any] = dict(self.published[-1].body)
        return body


@contextmanager
def running(worker: Worker) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def counts(camera: str, *labels: str) -> Message:
    return counts_message(camera, dict.fromkeys(labels, 1), {}, {}, {})


def wait_for(is_so: Callable[[], Any], what: str) -> None:
    wait_until(is_so, what, 10.0)


def test_it_tells_once_at_the_start_retained_and_in_home_assistant_s_own_format(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "door")
    with running(desk.worker):
        wait_for(lambda: desk.published, "discovery")
    (message,) = desk.published
    assert (message.topic, message.retain, message.qos, message.durable) == (TOPIC, True, 1, False)
    assert message.body["device"]["identifiers"] == ["edgecam.gate-1"]
    assert recall(tmp_path).topic == TOPIC[1:]


def test_what_is_seen_for_the_first_time_is_told_and_stays_over_a_restart(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "door")
    with running(desk.worker):
        wait_for(lambda: desk.published, "discovery")
        assert desk.worker.notice(counts("door", "person")) == ()
        desk.worker.notice(counts("door", "person", "dog"))
        wait_for(lambda: len(desk.published) == 2, "the new ones together")
        desk.worker.notice(counts("door", "dog"))
    assert {"door._.label.person.count", "door._.label.dog.count"} <= desk.last()["components"].keys()
    again = Desk(tmp_path, "door")
    with running(again.worker):
        wait_for(lambda: again.published, "discovery")
    assert again.last() == desk.last()


def test_it_is_told_again_some_time_after_home_assistant_is_born(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "door", spread=0.3)
    with running(desk.worker):
        wait_for(lambda: desk.published, "discovery")
        desk.hear(b"offline")
        desk.hear(b"onlinely" * 1000)
        begin = time.monotonic()
        desk.hear(b"online")
        desk.hear(b"online")
        wait_for(lambda: len(desk.published) == 2, "discovery again")
        assert time.monotonic() - begin >= 0.3
        desk.hear(b"online")
        desk.worker.notice(counts("door", "person"))
        wait_for(lambda: len(desk.published) == 3, "what is new")
    assert desk.published[0].body == desk.published[1].body
    assert desk.asked == 1, "who says it all the time is not heard all the time"


def test_what_is_no_more_home_assistant_is_told_to_forget(tmp_path: Path) -> None:
    for cameras in (("door", "yard"), ("door",)):
        desk = Desk(tmp_path, *cameras)
        with running(desk.worker):
            wait_for(lambda found=desk: found.published, "discovery")
    assert desk.last()["components"]["yard.fps"] == {"platform": "sensor"}
    assert len(desk.last()["components"]["door.fps"]) > 1
    back = Desk(tmp_path, "door", "yard")
    with running(back.worker):
        wait_for(lambda: back.published, "discovery")
    assert len(back.last()["components"]["yard.fps"]) > 1, "it is there again"


def test_under_another_prefix_the_old_message_is_taken_away_first(tmp_path: Path) -> None:
    keep(tmp_path, Memory("old/device/edgecam-gate-1/config", {"x": "sensor"}))
    desk = Desk(tmp_path, "door")
    with running(desk.worker):
        wait_for(lambda: len(desk.published) == 2, "both")
    first, second = desk.published
    assert (first.topic, dict(first.body), first.retain) == ("/old/device/edgecam-gate-1/config", {}, True)
    assert "x" not in second.body["components"]


def test_too_much_to_tell_is_a_finding_and_memory_stays_bounded(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "door")
    desk.worker.notice(counts("door", *(f"label {at}" for at in range(MOST_SEEN + 9))))
    with running(desk.worker):
        wait_for(lambda: desk.published, "discovery")
    (finding,) = desk.board.findings()
    assert (finding.component, finding.state) == ("homeassistant", HealthState.DEGRADED)
    assert "found no room" in finding.what
    assert len(recall(tmp_path).seen) == MOST_SEEN


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"topic":1}', b'{"topic":"x","platforms":3,"seen":[]}', b"9" * (300 << 10)]
)
def test_a_damaged_memory_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert recall(tmp_path) == Memory()
    desk = Desk(tmp_path, "door")
    with running(desk.worker):
        wait_for(lambda: desk.published, "discovery")
    assert recall(tmp_path).topic == TOPIC[1:]


def test_memory_is_written_only_when_it_changes(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "door")
    with running(desk.worker):
        wait_for(lambda: desk.published, "discovery")
        written = (tmp_path / FILE).stat().st_ino
        desk.hear(b"online")
        wait_for(lambda: len(desk.published) == 2, "discovery again")
    assert (tmp_path / FILE).stat().st_ino == written
    assert json.loads((tmp_path / FILE).read_bytes())["v"] == 1


def test_a_state_that_cannot_be_written_is_told_and_discovery_goes_on(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "nowhere", "door")
    with running(desk.worker):
        wait_for(lambda: desk.published, "discovery")
    (finding,) = desk.board.findings()
    assert "cannot write" in finding.what


def test_what_could_not_be_written_is_tried_again_and_told_until_it_is(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "later", "door")
    with running(desk.worker):
        wait_for(lambda: desk.published, "discovery")
        (tmp_path / "later").mkdir()
        desk.hear(b"online")
        wait_for(lambda: len(desk.published) == 2, "discovery again")
        wait_for(lambda: desk.board.state() is HealthState.OK, "the end of the finding")
    assert recall(tmp_path / "later").topic == TOPIC[1:]


def test_labels_without_room_are_counted_once_though_they_are_seen_again_and_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "door")
    labels = [f"label {at:04}" for at in range(MOST_SEEN + 9)]
    desk.worker.notice(counts("door", *labels))
    with running(desk.worker):
        wait_for(lambda: desk.published, "discovery")
        wait_for(desk.board.findings, "the finding")
        (before,) = desk.board.findings()
        for _ in range(100):
            desk.worker.notice(counts("door", *labels))
        desk.hear(b"online")
        wait_for(lambda: len(desk.published) == 2, "discovery again")
    assert [finding.what for finding in desk.board.findings()] == [before.what]


def test_when_it_is_switched_off_the_message_is_taken_away_and_then_forgotten(tmp_path: Path) -> None:
    keep(tmp_path, Memory(TOPIC[1:], {"x": "sensor"}, frozenset({Subject("door", "", "label", "person")})))
    published: list[Message] = []
    is_connected = threading.Event()
    worker = Withdrawal(state_dir=tmp_path, publish=published.append, is_connected=is_connected.is_set, settle=0.05)
    with running(worker):
        wait_for(lambda: published, "the empty message")
        assert (tmp_path / FILE).exists(), "nobody has it yet"
        is_connected.set()
        wait_for(lambda: not (tmp_path / FILE).exists(), "the end of it")
    (message,) = published
    assert (message.topic, dict(message.body), message.retain) == (TOPIC, {}, True)


def test_a_memory_that_cannot_be_deleted_does_not_end_the_worker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).mkdir()
    worker = Withdrawal(state_dir=tmp_path, publish=list[Message]().append, is_connected=lambda: True, settle=0.05)
    with running(worker):
        wait_for(lambda: "cannot delete" in caplog.text, "the warning")
    assert worker.pulse.age < 10.0
