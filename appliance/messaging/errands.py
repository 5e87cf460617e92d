"""What the outbox is asked for beside its daily work: to send again, to hear what arrived, to save what was corrupt."""

import time
from collections.abc import Sequence
from typing import Final

from appliance.messaging.feeder import Feeder
from appliance.messaging.outbox import Outbox
from appliance.messaging.parcels import LinkUp, News
from appliance.messaging.requests import Arrived, Replay, Request

NOTE_WITHIN: Final = 5.0  # seconds in which the word of who received messages is noted: each time is a commit
RESEND_AFTER: Final = 60.0  # seconds without that word after which messages are sent again; doubles each time
MOST_RESEND_AFTER: Final = 3600.0


class Errands:
    """Owned by the thread that owns the outbox.

    Args:
        outbox: The outbox.
        feeder: Is told what waits again.
    """

    def __init__(self, outbox: Outbox, feeder: Feeder) -> None:
        self._outbox, self._feeder = outbox, feeder
        self._arrived: dict[str, Arrived] = {}
        self._note_at = 0.0
        self._resend_after = RESEND_AFTER
        self._resend_at = 0.0
        self._is_link_new = False
        self._is_first_link = True

    @property
    def waiting(self) -> int:
        """How many words of subscribers are not noted yet: at most one for each generation."""
        return len(self._arrived)

    def take(self, news: Sequence[News]) -> None:
        """Take in what happened on the link.

        On a new connection that is sent again which the broker acknowledged last, and may not have passed on before it
        was killed; end to end, all that nobody said had arrived.
        """
        if not any(isinstance(item, LinkUp) for item in news):
            return
        self._is_link_new = not self._outbox.deliveries.is_end_to_end
        if self._outbox.deliveries.is_end_to_end:
            self._feeder.acknowledged.clear()
            self._outbox.deliveries.retake()
            self._resend_after = RESEND_AFTER

    def run(self, requests: Sequence[Request]) -> None:
        """Do what was asked for.

        Raises:
            StorageError: The outbox cannot be read or written.
        """
        if self._is_link_new:
            self._is_link_new = False
            self._look_back()
        for request in requests:
            match request:
                case Replay():
                    self._replay(request)
                case Arrived() if self._outbox.deliveries.has(request.gen):
                    self._arrived[request.gen] = request
                    self._note_at = self._note_at or time.monotonic() + NOTE_WITHIN
                case Arrived():
                    pass  # or a liar could have us remember generations without end
        if self._outbox.deliveries.is_end_to_end:
            self._outbox.acknowledge(self._feeder.acknowledged)  # in memory only
            self._feeder.acknowledged.clear()
        now = time.monotonic()
        if self._note_at and now >= self._note_at:
            self._note_arrived(now)
        self._resend(now)

    def _look_back(self) -> None:
        keys = self._feeder.lately.again()
        if self._is_first_link and not self._outbox.ended_well:
            keys |= self._outbox.deliveries.lately(self._feeder.lately.window)
        self._is_first_link = False
        if keys:
            self._outbox.deliveries.wait_again(keys)
            self._feeder.send_again(keys)

    def _replay(self, request: Replay) -> None:
        self._outbox.acknowledge(self._feeder.acknowledged)
        self._feeder.acknowledged.clear()
        count = self._outbox.recall(request.gen or self._outbox.gen, request.first, request.last)
        if count:
            self._feeder.look_from(0)
        request.answer.put(count)

    def _note_arrived(self, now: float) -> None:
        self._outbox.acknowledge(self._feeder.acknowledged)
        self._feeder.acknowledged.clear()
        self._note_at = 0.0
        arrived, self._arrived = self._arrived, {}
        for one in arrived.values():
            settled, again = self._outbox.deliveries.arrived(one.gen, one.upto, one.missing)
            if settled:
                self._resend_after, self._resend_at = RESEND_AFTER, now + RESEND_AFTER
            if again:
                self._feeder.look_from(0)

    def _resend(self, now: float) -> None:
        if not self._outbox.deliveries.taken:
            self._resend_at = 0.0
        elif not self._resend_at:
            self._resend_at = now + self._resend_after
        elif now >= self._resend_at:
            self._outbox.deliveries.retake()
            self._feeder.look_from(0)
            self._resend_after = min(MOST_RESEND_AFTER, self._resend_after * 2)
            self._resend_at = 0.0
