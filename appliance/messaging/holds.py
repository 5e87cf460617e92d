"""Which messages wait because the broker refused them: pure bookkeeping, so that a refusal blocks no more than it must.

A refusal speaks of one message (too large, bad format), of a topic (not authorised, topic name), or of the whole link
(quota). What it speaks of is held back and tried again, one message at a time, after a wait that doubles up to ten
minutes; everything else goes on. When a trial is accepted, all that was held back goes out in the order of the numbers.

A message that is itself at fault is given up in the end: after a day of trials, or, where each trial costs the
connection, after `MOST_TRIES` of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from appliance.core.backoff import Backoff
from appliance.messaging.reasons import DROPPED_OVER as DROPPED

LEAST_WAIT: Final = 5.0  # seconds
MOST_WAIT: Final = 600.0  # seconds: an owner who has just corrected the access list waits no longer than that
MOST_HOLDS: Final = 1000  # messages and topics; beyond, the oldest hold is let go and simply tried again

MOST_TRIES: Final = 8
KEPT_FOR: Final = 86400.0  # seconds: an owner has a day to raise a limit of the broker

FOR_ONE_MESSAGE: Final = frozenset({0x95, 0x99, DROPPED})  # packet too large, payload format (MQTT 5, section 2.4)
FOR_THE_LINK: Final = frozenset({0x91, 0x97})  # packet identifier in use, quota exceeded

_Key = tuple[str, int | str]


@dataclass(slots=True)
class _Hold:
    first_seq: int
    backoff: Backoff
    retry_at: float
    since: float
    tries: int = 0
    is_costly: bool = False
    trial: int | None = None
    is_sought: bool = False
    is_passed_over: bool = False


class Holds:
    """Owned by the thread that feeds the link.

    Args:
        monotonic: The clock, in seconds.
        new_backoff: Gives the waits of one hold.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        new_backoff: Callable[[], Backoff] = lambda: Backoff(LEAST_WAIT, MOST_WAIT, stable=0.0),
    ) -> None:
        self._monotonic = monotonic
        self._new_backoff = new_backoff
        self._holds: dict[_Key, _Hold] = {}

    def __len__(self) -> int:
        return len(self._holds)

    def refused(self, seq: int, topic: str, code: int, *, is_costly: bool = False) -> bool:
        """Note that the broker refused a message, for a reason code of MQTT 5; tell whether it is to be given up.

        Args:
            seq: Its number.
            topic: Its topic.
            code: The reason code, or `DROPPED`.
            is_costly: It cost the connection.
        """
        key: _Key = ("topic", topic)
        if code in FOR_ONE_MESSAGE:
            key = ("message", seq)
        elif code in FOR_THE_LINK:
            key = ("link", "")
        hold = self._holds.get(key)
        if hold is None:
            first_seq = seq
            if len(self._holds) >= MOST_HOLDS:
                # whoever looks for what this one holds back comes by what the other held back
                first_seq = min(seq, self._holds.pop(next(iter(self._holds))).first_seq)
            hold = self._holds[key] = _Hold(first_seq, self._new_backoff(), 0.0, self._monotonic())
        elif hold.trial is None and self._monotonic() < hold.retry_at:
            hold.first_seq = min(hold.first_seq, seq)
            return False  # sent before the first refusal came: one wait for all of them
        hold.first_seq = min(hold.first_seq, seq)
        hold.tries += 1
        hold.is_costly = hold.is_costly or is_costly
        if self._is_hopeless(key, hold):
            del self._holds[key]
            return True
        hold.trial, hold.is_sought = None, False
        hold.retry_at = self._monotonic() + hold.backoff.next_wait()
        return False

    def pass_over(self, seq: int) -> bool:
        """Tell whether a message has cost a connection before; then it is left out until `passed_over` is asked."""
        hold = self._holds.get(("message", seq))
        if hold is None or not hold.is_costly:
            return False
        hold.is_passed_over = True
        return True

    def passed_over(self) -> int | None:
        """Give the number from which to look for what was passed over; None when nothing was."""
        if not self._holds:
            return None
        found = [hold for hold in self._holds.values() if hold.is_passed_over]
        for hold in found:
            hold.is_passed_over = False
        return min((hold.first_seq for hold in found), default=None)

    def is_dangerous(self, seq: int) -> bool:
        """Tell whether a message is being tried that has cost the connection before."""
        hold = self._holds.get(("message", seq))
        return hold is not None and hold.is_costly and hold.trial == seq

    def _is_hopeless(self, key: _Key, hold: _Hold) -> bool:
        is_old = hold.is_costly or self._monotonic() - hold.since >= KEPT_FOR
        return key[0] == "message" and hold.tries >= MOST_TRIES and is_old

    def accepted(self, seq: int, topic: str) -> int | None:
        """Note that the broker took a message; give the number from which to send again if that ended a hold."""
        if not self._holds:
            return None
        ended = [key for key in _keys(seq, topic) if key in self._holds and self._holds[key].trial == seq]
        return min((self._holds.pop(key).first_seq for key in ended), default=None)

    def may_send(self, seq: int, topic: str) -> bool:
        """Tell whether a message may go now; when it is the trial of a hold, the next one of it may not."""
        if not self._holds:
            return True
        now = self._monotonic()
        holds = [self._holds[key] for key in _keys(seq, topic) if key in self._holds]
        if any(hold.trial is not None or now < hold.retry_at for hold in holds):
            for hold in holds:
                hold.first_seq = min(hold.first_seq, seq)
            return False
        for hold in holds:
            hold.trial = seq
        return True

    def topics(self, after: int | None = None) -> list[str]:
        """Give the topics of which nothing may be sent now, so that their messages need not be read.

        Args:
            after: Those behind this number are about to be left out; when the hold ends, they are looked for.
        """
        if not self._holds:
            return []
        now = self._monotonic()
        closed = {
            str(key[1]): hold
            for key, hold in self._holds.items()
            if key[0] == "topic" and (hold.trial is not None or now < hold.retry_at)
        }
        if after is not None:
            for hold in closed.values():
                hold.first_seq = min(hold.first_seq, after + 1)
        return list(closed)

    def next_trial(self) -> float | None:
        """Give the monotonic second of the next trial; None when none is waiting for its time."""
        return min((hold.retry_at for hold in self._holds.values() if hold.trial is None), default=None)

    def due(self) -> int | None:
        """Give the number from which to look for messages to try now; None when nothing more is due.

        Each hold is told once: who looks comes by its messages in time, and finds them with `may_send`.
        """
        now = self._monotonic()
        due = [hold for hold in self._holds.values() if hold.trial is None and hold.retry_at <= now]
        found = min((hold.first_seq for hold in due if not hold.is_sought), default=None)
        for hold in due:
            hold.is_sought = True
        return found

    def clear(self) -> None:
        """Note that what was refused is no more."""
        self._holds.clear()

    def put_off(self, seq: int) -> None:
        """Note that a message that may have been a trial was neither taken nor refused: it may be sent again."""
        for hold in self._holds.values():
            if hold.trial == seq:
                hold.trial = None

    def start_over(self) -> None:
        """Note that all is sent again from the oldest: trials that were not answered are to be made again."""
        for hold in self._holds.values():
            hold.trial, hold.is_sought, hold.is_passed_over = None, False, False
            hold.first_seq = 0

    def sweep(self) -> None:
        """Note that everything was looked at: what is due and found no message to try has nothing to hold back."""
        now = self._monotonic()
        self._holds = {
            key: hold
            for key, hold in self._holds.items()
            if hold.trial is not None or hold.retry_at > now or hold.is_passed_over
        }


def _keys(seq: int, topic: str) -> tuple[_Key, _Key, _Key]:
    return ("message", seq), ("topic", topic), ("link", "")
