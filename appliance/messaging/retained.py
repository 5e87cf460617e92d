"""Keeps the newest retained message of each topic, so that a broker that forgot them has them again."""

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final

from appliance.messaging.parcels import Parcel

MOST_TOPICS: Final = 1024  # a device has a few for each camera
MOST_LOSSES: Final = 3  # connections in a row that ended with the same message in flight, after which it is left out

_Key = tuple[bool, str]


class Retained:
    """Whoever uses it from several threads brings a lock.

    A message on which the broker drops the connection would be sent first on the next one, for ever: after
    `MOST_LOSSES` in a row it is left out until another of its topic takes its place, or until a connection has held.

    Args:
        monotonic: The clock, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._kept: dict[_Key, tuple[Parcel, float]] = {}
        self._unsent: dict[_Key, None] = {}
        self._losses: dict[_Key, int] = {}

    @property
    def has_unsent(self) -> bool:
        """Whether something is to be sent."""
        return bool(self._unsent)

    @property
    def left_out(self) -> list[str]:
        """The topics on whose messages the broker dropped the connection."""
        return [topic for (_, topic), count in self._losses.items() if count >= MOST_LOSSES]

    def put(self, parcel: Parcel) -> bool:
        """Keep a message and send it; False when there are too many topics."""
        key = _key(parcel)
        if key not in self._kept and len(self._kept) >= MOST_TOPICS:
            return False
        self._kept[key] = parcel, self._monotonic()
        self._unsent[key] = None
        self._losses.pop(key, None)
        return True

    def bring_out(self) -> None:
        """Send all of them again: the broker may have forgotten them."""
        self._unsent = {key: None for key in self._kept if self._losses.get(key, 0) < MOST_LOSSES}

    def send_only(self, parcel: Parcel) -> None:
        """Send this one, and none of the others any more."""
        self._unsent.clear()
        self.put(parcel)

    def take(self) -> Parcel | None:
        """Give the next one to send, with what is left of its time; None when there is none."""
        while self._unsent:
            key = next(iter(self._unsent))
            del self._unsent[key]
            parcel, since = self._kept[key]
            if parcel.expiry_s is None:
                return parcel
            left = parcel.expiry_s - int(self._monotonic() - since)
            if left > 0:
                return replace(parcel, expiry_s=left)
            del self._kept[key]
        return None

    def lost(self, in_flight: Collection[Parcel]) -> None:
        """Note that the broker ended a connection with these of them not yet acknowledged."""
        keys = {_key(parcel) for parcel in in_flight}
        kept = {key: count for key, count in self._losses.items() if count >= MOST_LOSSES}
        self._losses = kept | {key: self._losses.get(key, 0) + 1 for key in keys}

    def held(self) -> None:
        """Note that a connection has held: nothing is suspected any more."""
        self._losses.clear()


def _key(parcel: Parcel) -> _Key:
    return parcel.is_whole_topic, parcel.topic
