"""Commands, checked and answered, with a performer that notes what it is asked."""

import json
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from appliance.core.errors import UnavailableError
from appliance.core.message import Message
from appliance.messaging.commands import BURST, MOST_REMEMBERED, Commands, Outcome
from appliance.messaging.inbox import Inbox, Received
from appliance.messaging.orders import Order
from appliance.messaging.parcels import Parcel
from tests.simulators.messaging_device import wait_until

ROOT = "edgecam/gate-1"
OFF = b'{"camera":"door","on":false}'


@dataclass
class Noting:
    """Does what is commanded by noting it; refuses cameras called `gone`."""

    done: list[Order] = field(default_factory=list)
    outcome: Outcome = field(default_factory=lambda: Outcome({"detect": False}))

    def perform(self, order: Order, stop: threading.Event) -> Outcome:
        assert not stop.is_set()
        if order.fields.get("camera") == "gone":
            raise UnavailableError("no camera 'gone' is enabled")
        self.done.append(order)
        return self.outcome


@dataclass
class Out:
    """Keeps what goes out."""

    published: list[Message] = field(default_factory=list)
    posted: list[Parcel] = field(default_factory=list)

    def publish(self, message: Message) -> None:
        self.published.append(message)

    def post(self, parcel: Parcel) -> None:
        self.posted.append(parcel)

    def render(self, message: Message) -> bytes:
        return json.dumps(dict(message.body)).encode()

    def answers(self) -> list[dict[str, Any]]:
        return [json.loads(parcel.payload) for parcel in self.posted if parcel.content_type == "application/json"]


class Bench:
    """The worker in a thread, on a clock that is turned by hand."""

    def __init__(self) -> None:
        self.performer, self.out, self.inbox = Noting(), Out(), Inbox(most=1000)
        self.seconds = self.pace = 0.0
        self.commands = Commands(
            device_id="gate-1",
            inbox=self.inbox,
            performer=self.performer,
            post=self.out,
            reserved=("ha/",),
            clock=self.clock,
        )
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.commands.run, args=(self.stop,))
        self.thread.start()

    def clock(self) -> float:
        self.seconds += self.pace
        return self.seconds

    def send(self, topic: str, payload: bytes = b"", **more: Any) -> dict[str, Any]:
        """Send a command and give its answer."""
        before = len(self.out.answers())
        self.inbox.put(Received(f"{ROOT}/cmd/{topic}", payload, **more))
        wait_until(lambda: len(self.out.answers()) > before, f"an answer to {topic}")
        return self.out.answers()[-1]


@pytest.fixture
def bench() -> Any:
    bench = Bench()
    yield bench
    bench.stop.set()
    bench.thread.join(10.0)


def test_a_command_is_performed_answered_below_itself_and_recorded(bench: Bench) -> None:
    answer = bench.send("detect/7", OFF)
    expected = {"command": "detect", "command_id": "7", "ok": True, "why": "", "result": {"detect": False}}
    assert answer == expected
    (parcel,) = bench.out.posted
    assert (parcel.topic, parcel.qos, parcel.retain) == ("cmd/detect/7/result", 1, False)
    assert bench.performer.done == [Order("detect", "7", {"camera": "door", "on": False})]
    (record,) = bench.out.published
    assert (record.topic, record.durable) == ("audit", True)
    assert record.body["fields"] == {"camera": "door", "on": False}
    assert record.body["ok"]


def test_an_answer_goes_where_its_sender_wants_it_with_what_it_knows_it_by(bench: Bench) -> None:
    bench.send("restart/1", response_topic="replies/panel", correlation=b"\x00\x01")
    (parcel,) = bench.out.posted
    assert (parcel.topic, parcel.is_whole_topic, parcel.correlation) == ("replies/panel", True, b"\x00\x01")


@pytest.mark.parametrize(
    "topic", [f"{ROOT}/availability", "edgecam/gate-2/cmd/restart/1", "$SYS/x", "r" * 300, "ha/event/x"]
)
def test_an_answer_never_looks_like_a_message_of_another(bench: Bench, topic: str) -> None:
    bench.send("restart/1", response_topic=topic)
    (parcel,) = bench.out.posted
    assert (parcel.topic, parcel.is_whole_topic) == ("cmd/restart/1/result", False)


def test_the_same_id_is_performed_once_and_gets_the_same_answer(bench: Bench) -> None:
    first, second = bench.send("detect/7", OFF), bench.send("detect/7", OFF)
    assert second == first | {"repeated": True}
    assert len(bench.performer.done) == len(bench.out.published) == 1
    bench.send("snapshot/7", b'{"camera":"door"}')
    assert len(bench.performer.done) == 2, "the id is the sender's own for each command"


def test_without_an_id_each_one_is_new(bench: Bench) -> None:
    assert "repeated" not in [*bench.send("detect/-", OFF), *bench.send("detect/-", OFF)]
    assert len(bench.performer.done) == 2


def test_a_retained_command_is_refused_and_answered(bench: Bench) -> None:
    answer = bench.send("restart/1", is_retained=True)
    assert not answer["ok"]
    assert "it is retained" in answer["why"]
    assert bench.performer.done == []
    assert bench.out.published == [], "a broker that keeps it would write a record at every connection"
    assert bench.send("restart/1")["ok"], "and can be given again as it should"


def test_what_cannot_be_read_or_done_is_answered_with_the_reason(bench: Bench) -> None:
    assert "needs on" in bench.send("detect/1", b'{"camera":"door"}')["why"]
    assert "no command 'dance'" in bench.send("dance/1")["why"]
    assert bench.out.published == []
    answer = bench.send("detect/2", b'{"camera":"gone","on":true}')
    assert (answer["ok"], answer["why"]) == (False, "no camera 'gone' is enabled")
    assert [record.body["why"] for record in bench.out.published] == ["no camera 'gone' is enabled"]
    assert bench.commands.figures()["refused"] == 3


def test_what_is_no_command_is_counted_and_not_answered(bench: Bench) -> None:
    for topic in ("restart", "restart/a b", "restart/1/result"):
        bench.inbox.put(Received(f"{ROOT}/cmd/{topic}", b""))
    wait_until(lambda: bench.commands.figures()["unreadable"] == 3, "counted")
    assert bench.out.posted == []


def test_too_many_are_refused_until_some_time_has_passed(bench: Bench) -> None:
    answers = [bench.send("detect/-", OFF) for _ in range(BURST + 3)]
    assert [answer["ok"] for answer in answers] == [True] * BURST + [False] * 3
    assert "too many commands" in answers[-1]["why"]
    assert len(bench.out.published) == BURST, "what is refused for its number costs no flash"
    bench.seconds += 2.0
    assert [bench.send("detect/-", OFF)["ok"] for _ in range(3)] == [True, True, False]
    assert bench.commands.figures()["over_rate"] == 4


def test_what_is_remembered_is_bounded(bench: Bench) -> None:
    bench.pace = 1.0
    for number in range(MOST_REMEMBERED + 1):
        bench.inbox.put(Received(f"{ROOT}/cmd/restart/{number}", b""))
    wait_until(lambda: len(bench.performer.done) == MOST_REMEMBERED + 1, "all performed")
    assert "repeated" in bench.send("restart/1")
    assert "repeated" not in bench.send("restart/0")


def test_a_picture_goes_to_its_camera_and_the_restart_comes_after_the_answer(bench: Bench) -> None:
    answered: list[int] = []
    bench.performer.outcome = Outcome({}, b"\xff\xd8", then=lambda: answered.append(len(bench.out.answers())))
    bench.send("snapshot/1", b'{"camera":"door"}')
    picture = bench.out.posted[0]
    assert (picture.topic, picture.payload, picture.content_type) == ("door/snapshot", b"\xff\xd8", "image/jpeg")
    assert not picture.retain
    wait_until(lambda: answered == [1], "done when the answer is on its way")
