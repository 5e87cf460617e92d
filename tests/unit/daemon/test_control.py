"""Commands and what they do to a pipeline that really runs."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from appliance.core.errors import ConfigError, EdgecamError, UnsupportedError
from appliance.core.events import EventType
from appliance.daemon.chain import Chain
from appliance.daemon.control import Control, Powers
from appliance.diagnostics.picture import encode_jpeg
from appliance.messaging.commands import Outcome
from appliance.messaging.orders import Order
from tests.simulators.messaging_device import wait_until
from tests.unit.daemon.test_pipeline import Stage, frame

if TYPE_CHECKING:
    from appliance.core.message import Message

WALL = np.full((100, 200, 3), 7, np.uint8)


class Bench:
    """A camera whose frames come as long as the block runs, and what commands it."""

    def __init__(self, stage: Stage, powers: Powers) -> None:
        self.stage = stage
        self.published: list[Message] = []
        chain = Chain(cast("Any", None), stage.pipeline)
        self.control = Control({"door": chain}, publish=self.published.append, powers=powers, least_score=0.1)
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=stage.pipeline.run, args=(self.stop,))]
        self.threads.append(threading.Thread(target=self._feed))

    def _feed(self) -> None:
        number = 0
        while not self.stop.is_set():
            number += self.stage.slot.put_when_empty(replace(frame(number), image=WALL), timeout=0.2)

    def do(self, name: str, **fields: Any) -> Outcome:
        return self.control.perform(Order(name, "1", fields), threading.Event())

    def kinds(self) -> list[EventType]:
        return [event.type for event in list(self.stage.events)]


POWERS = Powers(
    replay=lambda _gen, first, last: last - first + 1, restart=None, check_model=lambda _: {}, fleet=None, encode=None
)


@pytest.fixture
def bench() -> Iterator[Bench]:
    yield from running(POWERS)


def running(powers: Powers) -> Iterator[Bench]:
    bench = Bench(Stage(), powers)
    for thread in bench.threads:
        thread.start()
    yield bench
    bench.stop.set()
    for thread in bench.threads:
        thread.join(10.0)


def test_a_camera_that_is_not_to_detect_ends_what_is_in_sight_and_begins_again(bench: Bench) -> None:
    wait_until(lambda: bench.kinds() == [EventType.START], "an object")
    assert bench.do("detect", camera="door", on=False).result == {"detect": False, "min_score": 0.5}
    wait_until(lambda: bench.kinds() == [EventType.START, EventType.END], "its end")
    assert bench.published[-1].topic == "door/settings"
    assert bench.published[-1].retain
    assert bench.do("detect", camera="door", on=True).result["detect"]
    wait_until(lambda: bench.kinds()[-1] is EventType.START, "another object")


def test_a_threshold_above_what_is_seen_hides_it(bench: Bench) -> None:
    wait_until(lambda: bench.kinds() == [EventType.START], "an object")
    assert bench.do("threshold", camera="door", min_score=0.95).result == {"detect": True, "min_score": 0.95}
    wait_until(lambda: not _told(bench), "nothing is published any more")
    with pytest.raises(ConfigError, match=r"looks for nothing below 0\.1"):
        bench.do("threshold", camera="door", min_score=0.05)


def _told(bench: Bench) -> Any:
    detections = [message for message in list(bench.stage.messages) if message.topic == "door/detections"]
    return detections[-1].body["detections"]


def test_a_picture_leaves_only_where_the_owner_allows_it(bench: Bench) -> None:
    with pytest.raises(ConfigError, match=r"its owner may set \[messaging\] pictures"):
        bench.do("snapshot", camera="door")


def test_a_snapshot_is_the_next_frame() -> None:
    for bench in running(replace(POWERS, encode=encode_jpeg)):
        outcome = bench.do("snapshot", camera="door")
        assert outcome.picture.startswith(b"\xff\xd8")
        assert outcome.result["bytes"] == len(outcome.picture)
        bench.do("detect", camera="door", on=False)
        assert bench.do("snapshot", camera="door").picture, "the picture is not what it looks for"


@pytest.mark.parametrize("name", ["fleet-check", "model-update", "model-rollback", "model-pin"])
def test_a_device_without_a_fleet_says_so_when_it_is_asked_for_models(name: str) -> None:
    bench = Bench(Stage(), POWERS)
    with pytest.raises(UnsupportedError, match=r"takes no models from a fleet; its owner may set \[fleet\] url"):
        bench.do(name, on=True)


@pytest.mark.parametrize("name", ["detect", "threshold", "snapshot"])
def test_a_camera_that_is_not_there_is_answered_by_those_that_are(name: str) -> None:
    bench = Bench(Stage(), replace(POWERS, encode=encode_jpeg))
    with pytest.raises(EdgecamError, match="no camera 'yard' is enabled; there are door"):
        bench.do(name, camera="yard", on=True, min_score=0.5)


def test_without_systemd_there_is_no_restart(bench: Bench) -> None:
    with pytest.raises(UnsupportedError, match="does not run under systemd"):
        bench.do("restart")


def test_a_restart_is_left_for_after_the_answer() -> None:
    ended: list[bool] = []
    for bench in running(replace(POWERS, restart=lambda: ended.append(True))):
        outcome = bench.do("restart")
        assert not ended
        assert outcome.then is not None
        outcome.then()
        assert ended


def test_a_replay_tells_how_many_come(bench: Bench) -> None:
    assert bench.do("replay", **{"from": 3, "to": 9}).result == {"messages": 7}


def test_what_can_be_commanded_is_announced(bench: Bench) -> None:
    bench.control.announce()
    assert bench.published[-1].body == {"detect": True, "min_score": 0.5}
