"""Publishes messages, and what other systems are to be told of them in their own formats."""

from collections.abc import Callable, Sequence
from typing import Protocol

from appliance.core.message import Message


class Output(Protocol):
    """Another system's view of what is published. Called from any thread; returns at once."""

    def notice(self, message: Message) -> Sequence[Message]:
        """Take note of a message; give what is to be published besides."""


class Relay:
    """Passes every message on, and gives every output a look at it. Safe to use from any thread.

    Args:
        publish: Takes a message; never blocks.
        outputs: In the order in which they are asked.
    """

    def __init__(self, publish: Callable[[Message], None], outputs: Sequence[Output]) -> None:
        self._publish, self._outputs = publish, tuple(outputs)

    def publish(self, message: Message) -> None:
        """Publish a message, then what outputs make of it; never blocks."""
        self._publish(message)
        for output in self._outputs:
            for extra in output.notice(message):
                self._publish(extra)
