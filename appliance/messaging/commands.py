"""The worker that takes commands from the broker: checks, has them performed, answers, and leaves a record."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final, Protocol

from appliance.core.errors import EdgecamError
from appliance.core.message import Message, Priority
from appliance.core.worker import Pulse
from appliance.messaging import orders, topics
from appliance.messaging.inbox import Inbox, Received
from appliance.messaging.orders import NO_ID, Order
from appliance.messaging.parcels import Parcel

MOST_REMEMBERED: Final = 256  # answers that are given again to who asks again
BURST: Final = 20  # commands that may come at once
PER_SECOND: Final = 1.0  # beyond those, in the long run
MOST_TOPIC: Final = 256  # characters of the topic that an answer is wanted at
TICK: Final = 0.5  # seconds between two looks at whether to stop
SLOWEST: Final = 300.0  # seconds that a command may take

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command that was performed.

    Attributes:
        result: For the answer: JSON types only.
        picture: A JPEG for the camera's `snapshot` topic; empty: none.
        then: Done when the answer is on its way.
    """

    result: Mapping[str, Any] = field(default_factory=dict)
    picture: bytes = b""
    then: Callable[[], None] | None = None


class Performer(Protocol):
    """Who does what is commanded."""

    def perform(self, order: Order, stop: threading.Event) -> Outcome:
        """Do it, within `SLOWEST` seconds; end early when `stop` is set.

        Raises:
            EdgecamError: It is refused or has failed; the message says why, and what to do.
        """


class Post(Protocol):
    """The two ways out (`messaging.worker` has both)."""

    def publish(self, message: Message) -> None:
        """Take a message; never blocks."""

    def post(self, parcel: Parcel) -> None:
        """Send one that is not numbered; never blocks."""

    def render(self, message: Message) -> bytes:
        """Give a message's payload, with its envelope of this moment."""


class Commands:
    """The worker named `commands`. Each command is performed once, one after the other.

    A command that came before under the same name and id gets the same answer and is not performed again. One that the
    broker kept is refused, for it would be performed again at every connection.

    Args:
        device_id: The device's name.
        inbox: Where commands come in.
        performer: Who does them.
        post: The way out.
        reserved: What other systems' topics begin with: no answer goes there.
        clock: Monotonic seconds.
    """

    name = "commands"

    def __init__(
        self,
        *,
        device_id: str,
        inbox: Inbox,
        performer: Performer,
        post: Post,
        reserved: Sequence[str] = (),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.pulse = Pulse(limit=SLOWEST + 60.0)
        self._root = topics.root(device_id)
        self._reserved = ("edgecam/", "$", "homeassistant/", *reserved)
        self._inbox, self._performer, self._post, self._clock = inbox, performer, post, clock
        self._remembered: OrderedDict[tuple[str, str], dict[str, Any]] = OrderedDict()
        self._tokens, self._filled_at = float(BURST), clock()
        self._counts = dict.fromkeys(("performed", "refused", "repeated", "over_rate", "unreadable"), 0)

    @property
    def pattern(self) -> str:
        """What is to be subscribed to."""
        return f"{self._root}/cmd/+/+"

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set."""
        while not stop.is_set():
            received = self._inbox.take(TICK)
            if received is not None:
                self._take(received, stop)
            self.pulse.beat()

    def figures(self) -> dict[str, int]:
        """Give figures for status and health."""
        return {**self._counts, "dropped": self._inbox.dropped}

    def _take(self, received: Received, stop: threading.Event) -> None:
        called = orders.address(received.topic, self._root)
        if called is None:
            self._counts["unreadable"] += 1
            return
        name, identity = called
        if not self._is_within_rate():
            self._counts["over_rate"] += 1
            self._answer(received, name, identity, _refusal("too many commands; wait some seconds"))
            return
        if (before := self._remembered.get(called)) is not None and identity != NO_ID:
            self._counts["repeated"] += 1
            self._answer(received, name, identity, before | {"repeated": True})
            return
        if received.is_retained:
            self._refuse(
                received, name, identity, "it is retained; publish it without, and remove the one that is kept"
            )
            return
        try:
            order = orders.read(name, identity, received.payload)
        except ValueError as error:
            self._refuse(received, name, identity, str(error))
            return
        self._perform(order, received, stop)

    def _refuse(self, received: Received, name: str, identity: str, why: str) -> None:
        self._counts["refused"] += 1
        _logger.warning("command %s/%s is refused: %s", name, identity, why)
        self._answer(received, name, identity, _refusal(why))

    def _perform(self, order: Order, received: Received, stop: threading.Event) -> None:
        outcome = Outcome()
        try:
            outcome = self._performer.perform(order, stop)
        except EdgecamError as error:
            self._counts["refused"] += 1
            said = _refusal(str(error))
        else:
            self._counts["performed"] += 1
            said = {"ok": True, "why": "", "result": dict(outcome.result)}
        if order.id != NO_ID:
            self._remembered[order.name, order.id] = said
            if len(self._remembered) > MOST_REMEMBERED:
                self._remembered.popitem(last=False)
        if outcome.picture:
            topic = topics.snapshot(order.fields["camera"])
            self._post.post(Parcel(topic, outcome.picture, 1, content_type="image/jpeg"))
        self._record(order, said)
        self._answer(received, order.name, order.id, said)
        if outcome.then is not None:
            outcome.then()

    def _record(self, order: Order, said: Mapping[str, Any]) -> None:
        """Leave a record that outlives an outage: a line in the journal, and a durable message."""
        level = logging.INFO if said["ok"] else logging.WARNING
        _logger.log(level, "command %s/%s %s: %s", order.name, order.id, dict(order.fields), said["why"] or "done")
        body = {"command": order.name, "command_id": order.id, "fields": dict(order.fields)}
        told = {**body, "ok": said["ok"], "why": said["why"]}
        self._post.publish(Message(topics.AUDIT, told, durable=True, qos=1, priority=Priority.EVENT))

    def _answer(self, received: Received, name: str, identity: str, said: Mapping[str, Any]) -> None:
        body = {"command": name, "command_id": identity, **said}
        payload = self._post.render(Message(topics.CMD, body))
        wanted = received.response_topic
        if wanted and self._may_answer_at(wanted):
            correlation = received.correlation
            self._post.post(Parcel(wanted, payload, 1, is_whole_topic=True, correlation=correlation, is_answer=True))
            return
        topic = topics.result(name, identity)
        self._post.post(Parcel(topic, payload, 1, correlation=received.correlation))

    def _may_answer_at(self, topic: str) -> bool:
        """Tell whether a sender may have an answer there: never where it would look like a device's own message."""
        return len(topic) <= MOST_TOPIC and not topic.startswith(self._reserved)

    def _is_within_rate(self) -> bool:
        now = self._clock()
        self._tokens = min(float(BURST), self._tokens + (now - self._filled_at) * PER_SECOND)
        self._filled_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


def _refusal(why: str) -> dict[str, Any]:
    return {"ok": False, "why": why, "result": {}}
