"""Payloads with the best time that is known when they are encoded."""

from appliance.core.clock import Clock
from appliance.core.message import Message
from appliance.messaging import payloads, topics
from appliance.messaging.gaps import Gap
from appliance.messaging.inlet import Arrival
from appliance.messaging.payloads import Identity, nanoseconds
from appliance.messaging.timekeeper import Timekeeper


class Renderer:
    """Puts the envelope around messages. Safe to call from any thread.

    Args:
        device_id: The device's name.
        boot_id: The kernel's id of this boot.
        clock: The clock.
        timekeeper: Tells what time a message bears.
    """

    def __init__(self, device_id: str, boot_id: str, clock: Clock, timekeeper: Timekeeper) -> None:
        self._device_id, self._boot_id = device_id, boot_id
        self._clock, self._timekeeper = clock, timekeeper

    def arrival(self, message: Message) -> Arrival:
        """Give a message with this moment, at which it came."""
        now = self._clock.now()
        return Arrival(message, nanoseconds(now.time), now.mono_ns, self._timekeeper.quality)

    def render(self, arrival: Arrival, identity: Identity | None = None) -> bytes:
        """Give the payload of a message that came.

        Args:
            arrival: It.
            identity: Its number, if it is durable.

        Raises:
            ValueError: It cannot be encoded; see `payloads.render`.
        """
        message = arrival.message
        time_ns, mono_ns = message.time_ns or arrival.time_ns, message.mono_ns or arrival.mono_ns
        origin = self._timekeeper.origin(self._boot_id, time_ns, mono_ns, arrival.clock)
        return payloads.render(self._device_id, message, origin, identity)

    def gap(self, gen: str, seq: int, gap: Gap) -> bytes:
        """Give the payload of a gap record.

        Args:
            gen: Its generation.
            seq: Its own number.
            gap: What it tells.
        """
        body = payloads.gap_body(gap.count, gap.first, gap.last, gap.runs, gap.reason, uncounted_s=gap.uncounted_s)
        return self.render(self.arrival(Message(topics.GAP, body)), Identity(gen, seq))
