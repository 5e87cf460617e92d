"""What is known of UTC in this boot, and the best time for each message."""

import logging
from typing import Final

from appliance.core.clock import Clock, ClockQuality
from appliance.messaging.parcels import Parcel
from appliance.messaging.payloads import Origin, nanoseconds, utc_text
from appliance.messaging.stamping import Offset, corrected, milliseconds_up

STEP_NS: Final = 1_000_000_000  # a correction that large says that the offset before was wrong; smaller ones are slewed
LOOK_AGAIN_NS: Final = 20_000_000  # UTC has been set: well below the 50 ms that times are promised to be right within
MOST_STATE: Final = 1024  # topics whose state is told again; a device has a few for each camera

_logger = logging.getLogger(__name__)


class Timekeeper:
    """Keeps how UTC stands to CLOCK_BOOTTIME. Owned by one thread; `quality` and `figures` may be read by any.

    Once UTC was synced in this boot, the time of a message is its CLOCK_BOOTTIME plus that offset, so that somebody who
    sets the clock changes nothing until the kernel holds it to be synced again.

    Args:
        clock: The clock.

    Attributes:
        quality: How far UTC can be trusted now.
        known: By which what was queued while UTC was not known is corrected; None: it is still not known.
    """

    def __init__(self, clock: Clock) -> None:
        self.quality = ClockQuality.UNSYNCED
        self.known: Offset | None = None
        self._clock = clock
        self._live: Offset | None = None
        self._offset_ns = clock.reading().offset_ns
        self._steps = 0
        self._unsure: dict[str, Parcel] = {}
        self.look()

    def recall(self, offset: Offset | None) -> None:
        """Take over what an earlier run in the same boot knew."""
        if self.known is None:
            self.known = self._live = offset
            self.look()

    def look(self) -> bool:
        """Ask the kernel; tell whether `known` is another one now, and is to be kept for a later run in this boot."""
        reading = self._clock.reading()
        self._steps += abs(reading.offset_ns - self._offset_ns) >= STEP_NS
        self._offset_ns = reading.offset_ns
        before = self.known
        if reading.quality is ClockQuality.SYNCED:
            self._live = Offset(reading.offset_ns, reading.error_ns, reading.mono_ns)
            # the first one after a boot stays: what the kernel slews afterwards has not gone wrong before
            if self.known is None or abs(self._live.utc_ns - self.known.utc_ns) >= STEP_NS:
                self.known = self._live
        self._judge(reading.quality)
        return self.known is not before

    def notice(self, time_ns: int, mono_ns: int) -> bool:
        """Look if the same moment on both clocks shows that UTC was set since the last look; tell what `look` does."""
        return abs(time_ns - mono_ns - self._offset_ns) >= LOOK_AGAIN_NS and self.look()

    def utc(self, mono_ns: int) -> int | None:
        """Give UTC of a moment of this boot, nanoseconds since 1970; None: it is not known."""
        return None if self._live is None else self._live.utc(mono_ns)

    def origin(self, boot: str, time_ns: int, mono_ns: int, quality: ClockQuality) -> Origin:
        """Give the best that can be said of when a message came about.

        Args:
            boot: The kernel's id of this boot.
            time_ns: UTC as the clock showed it, nanoseconds since 1970.
            mono_ns: CLOCK_BOOTTIME of the same moment, nanoseconds.
            quality: How far UTC could be trusted when the message was given to us.
        """
        if self._live is None or self.known is None:
            return Origin(time_ns, mono_ns, ClockQuality.UNSYNCED, boot)
        if quality is ClockQuality.SYNCED:
            return Origin(self._live.utc(mono_ns), mono_ns, quality, boot)
        offset = self._live if quality is ClockQuality.HOLDOVER else self.known
        source = "" if quality is ClockQuality.HOLDOVER else "corrected"
        error_ms = milliseconds_up(offset.error(mono_ns))
        return Origin(offset.utc(mono_ns), mono_ns, ClockQuality.HOLDOVER, boot, source, error_ms)

    def note_state(self, parcel: Parcel) -> None:
        """Remember the newest state of a topic while its time is not known; at most `MOST_STATE` topics."""
        if self.known is not None:
            self._unsure.pop(parcel.topic, None)
        elif parcel.topic in self._unsure or len(self._unsure) < MOST_STATE:
            self._unsure[parcel.topic] = parcel

    def state_to_tell_again(self) -> list[Parcel]:
        """Give the newest state of each topic that was told while its time was not known, now that it is; once."""
        if self.known is None or not self._unsure:
            return []
        unsure, self._unsure = self._unsure, {}
        return [
            Parcel(one.topic, corrected(one.payload, self.known), one.qos, one.retain, one.expiry_s)
            for one in unsure.values()
        ]

    def figures(self) -> dict[str, object]:
        """Give figures for status and health: UTC, its quality, how far it may be off, and how often it was set."""
        live, now = self._live, self._clock.now()
        time_ns = nanoseconds(now.time) if live is None else live.utc(now.mono_ns)
        error_ms = None if live is None else milliseconds_up(live.error(now.mono_ns))
        told = {"time": utc_text(time_ns), "quality": self.quality.value}
        return told | {"error_ms": error_ms, "steps": self._steps}

    def _judge(self, told: ClockQuality) -> None:
        quality = told
        if told is not ClockQuality.SYNCED:
            quality = ClockQuality.UNSYNCED if self.known is None else ClockQuality.HOLDOVER
        if quality is not self.quality:
            _logger.info("clock: %s, before that %s", quality.value, self.quality.value)
        self.quality = quality
