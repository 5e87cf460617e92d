"""Speaks to devices of what arrived: the end-to-end acknowledgement, and the wish to have again what is missing."""

import json
import time
from collections.abc import Callable
from typing import Final

from appliance.workbench.accounts import Account, Accounts

SAY_INTERVAL: Final = 2.0  # seconds between two looks at what came; a device notes it every five
REPEAT_INTERVAL: Final = 15.0  # seconds after which what is missing is asked for again
ASK_INTERVAL: Final = 10.0  # seconds between two looks at what is missing; what was so at both is asked for
MOST_ASKED: Final = 4  # runs of each device and generation at a time: a device takes 20 commands at once
MOST_MISSING: Final = 256  # runs in one word; beyond, it speaks of fewer numbers


class ArrivalNotes:
    """Says on ``edgecam/DEVICE/ack`` what arrived, for each device and generation that something new came of.

    Args:
        accounts: What came.
        settle: Makes sure that what came outlives a power cut here, before anybody is told.
        say: Publishes, topic and payload.
    """

    def __init__(self, accounts: Accounts, settle: Callable[[], None], say: Callable[[str, bytes], None]) -> None:
        self._accounts, self._settle, self._say = accounts, settle, say
        self._said: dict[tuple[str, str], bytes] = {}
        self._say_at = 0.0
        self._repeat_at = 0.0

    def look(self) -> None:
        """Say what is new, when it is time to."""
        now = time.monotonic()
        if now < self._say_at:
            return
        self._say_at = now + SAY_INTERVAL
        if now >= self._repeat_at:
            self._repeat_at = now + REPEAT_INTERVAL
            self._said = {key: word for key, word in self._said.items() if b'"missing":[]' in word}
        words = {(one.device, one.gen): word_of(one) for one in self._accounts if one.came}
        new = {key: word for key, word in words.items() if self._said.get(key) != word}
        if new:
            self._settle()
        for (device, gen), word in new.items():
            self._say(f"edgecam/{device}/ack", word)
            self._said[device, gen] = word


def word_of(account: Account) -> bytes:
    """Give the payload that tells what of a generation has arrived, or was named as gone."""
    upto, missing = account.came.last, account.missing(is_whole=True)
    if len(missing) > MOST_MISSING:
        upto = missing[MOST_MISSING][0] - 1
        missing = missing[:MOST_MISSING]
    return json.dumps({"gen": account.gen, "upto": upto, "missing": missing}, separators=(",", ":")).encode()


class ReplayWishes:
    """Commands devices to send again what is missing: ``cmd/replay``, which `commands` in their settings allows.

    Args:
        accounts: What came.
        say: Publishes, topic and payload.

    Attributes:
        asked: How many commands were sent.
    """

    def __init__(self, accounts: Accounts, say: Callable[[str, bytes], None]) -> None:
        self.asked = 0
        self._accounts, self._say = accounts, say
        self._missed: set[tuple[str, str, int]] = set()
        self._ask_at = 0.0

    def look(self, *, is_whole: bool) -> None:
        """Ask for what is missing for a while, when it is time to.

        Args:
            is_whole: All numbers from 1 on are wanted.
        """
        now = time.monotonic()
        if now < self._ask_at:
            return
        self._ask_at = now + ASK_INTERVAL
        missed = set()
        for one in self._accounts:
            for first, last in one.missing(is_whole=is_whole)[:MOST_ASKED]:
                missed.add((one.device, one.gen, first))
                if (one.device, one.gen, first) in self._missed:
                    wish = json.dumps({"gen": one.gen, "from": first, "to": last}, separators=(",", ":"))
                    self._say(f"edgecam/{one.device}/cmd/replay/-", wish.encode())
                    self.asked += 1
        self._missed = missed
