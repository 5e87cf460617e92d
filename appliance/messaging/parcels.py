"""What travels between the outbox and the link, and the small protocols by which they know each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from appliance.core.worker import Pulse, Worker
from appliance.messaging.inbox import Inbox

JSON: Final = "application/json"
TEXT: Final = "text/plain"


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message ready for the broker.

    Attributes:
        topic: Below the device's root, or all of it.
        payload: Encoded.
        qos: 0 or 1.
        retain: The broker is to keep it.
        expiry_s: Seconds after which a subscriber need not see it; None: never.
        ticket: By which its answer is told; 0 when nobody waits for one.
        id: Of a numbered message, as in its payload; empty for others.
        content_type: MIME type of the payload.
        is_whole_topic: `topic` is all of it, not below the device's root: an answer, a discovery message.
        correlation: Of an answer: what its question carried.
        is_backlog: Of a numbered message: it waited, and goes after those that did not.
        is_answer: To a command, where its sender wished it: that it is refused there is the sender's affair.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool = False
    expiry_s: int | None = None
    ticket: int = 0
    id: str = ""
    content_type: str = JSON
    is_whole_topic: bool = False
    correlation: bytes | None = None
    is_backlog: bool = False
    is_answer: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What the broker said to one numbered parcel.

    Attributes:
        session: The connection on which it was sent.
        ticket: The parcel's.
        code: MQTT 5 reason code; from 0x80 on it was refused. MQTT 3.1.1 knows only 0.
    """

    session: int
    ticket: int
    code: int


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The broker took the connection.

    Attributes:
        session: Counts the connections.
    """

    session: int


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The connection is gone; what was not answered on it will not be.

    Attributes:
        session: Which it was.
        is_blamed: The broker, or the rules of the protocol, ended it because of something that was sent.
        is_dropped: The broker ended it without a word: perhaps because of something that was sent.
    """

    session: int
    is_blamed: bool
    is_dropped: bool = False


@dataclass(frozen=True, slots=True)
class LinkClosing:
    """The link is about to stop: give it what is left for it, no more than what may be in flight."""


News = Answer | LinkUp | LinkDown | LinkClosing


class Listener(Protocol):
    """Who is told what happens on the link. Both are called from the link's thread and return at once."""

    def tell(self, news: Sequence[News]) -> None:
        """Take the news, in their order."""

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is coming for a link that is closing."""


class Link(Worker, Protocol):
    """A way to the broker. All methods but `run` may be called from any thread and return at once."""

    name: str
    pulse: Pulse

    def send(self, session: int, parcels: Sequence[Parcel]) -> None:
        """Send numbered parcels on this connection, each lane in its order; each is answered, or the link goes down."""

    def post(self, parcel: Parcel) -> None:
        """Send one that is not numbered: the last retained one of each topic is kept, others need a connection."""

    def subscribe(self, pattern: str, inbox: Inbox) -> None:
        """Have what is published under a pattern, a whole topic with or without wildcards, put into an inbox."""

    def figures(self) -> dict[str, object]:
        """Give figures for status and health."""
