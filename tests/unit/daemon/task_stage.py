"""Frames, and somebody who listens, for pipelines of any task."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from appliance.core.events import Event, LabelChange
from appliance.core.frame import Frame, PixelLayout
from appliance.core.message import Message

IMAGE = np.zeros((100, 200, 3), np.uint8)
START = datetime(2026, 5, 1, 12, tzinfo=UTC)


def frame(number: int, mono_ns: int | None = None) -> Frame:
    """Give a frame of 200 x 100, one every second."""
    at = START + timedelta(seconds=number)
    return Frame(IMAGE, PixelLayout.BGR, 200, 100, "door", number, at, mono_ns or (100 + number) * 10**9)


class Listener:
    """Keeps what is published and told."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.changes: list[Event | LabelChange] = []

    def tell(self, change: Event | LabelChange, _message: Message) -> None:
        self.changes.append(change)

    def bodies(self, topic: str) -> list[dict[str, Any]]:
        """Give the bodies under ``door/<topic>``."""
        return [dict(message.body) for message in self.messages if message.topic == f"door/{topic}"]
