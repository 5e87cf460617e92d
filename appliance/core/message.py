"""A message on its way to subscribers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Priority(IntEnum):
    """Which messages go first when the outbox is over its bounds: the highest number is evicted first."""

    ACCOUNT = 0
    """Gap records: what makes every loss accounted for. Never evicted."""
    EVENT = 1
    """What happened: object lifecycles, alarms."""
    DETAIL = 2
    """Per-frame detections, when they were asked to be durable."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message, before the envelope is put around it.

    Attributes:
        topic: Below the device's own root: ``door/events``, ``health``. With a slash before it, from the broker's
            root: it is for another system, in that one's format.
        body: The fields of the payload besides the envelope; JSON types only. For another system all of the payload;
            then an empty one is an empty payload, which takes a retained message away.
        durable: Goes through the outbox: numbered, kept until the broker has acknowledged it (QoS 1).
        retain: The broker keeps it for later subscribers; the last one is sent again after a reconnect.
        qos: 0 or 1 for messages that are not durable; durable ones are always QoS 1.
        priority: Who is evicted first when the outbox is full.
        expiry_s: Seconds after which a subscriber need not see it any more; None: never.
        camera: The camera it speaks of; empty for the device itself.
        time_ns: UTC of what happened, nanoseconds since 1970; 0: when it is published.
        mono_ns: CLOCK_BOOTTIME of what happened, nanoseconds; 0: when it is published.
    """

    topic: str
    body: Mapping[str, Any] = field(default_factory=dict)
    durable: bool = False
    retain: bool = False
    qos: int = 0
    priority: Priority = Priority.EVENT
    expiry_s: int | None = None
    camera: str = ""
    time_ns: int = 0
    mono_ns: int = 0
