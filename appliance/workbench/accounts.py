"""What came, what was named as gone, and what is missing: the books of a subscriber, pure and without clocks."""

import json
import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

MOST_NUMBER: Final = (1 << 63) - 1  # SQLite's largest rowid, and so the largest number that a device gives out
MOST_RANGES: Final = 4096  # in one gap record; a device sends a few hundred at the most

_GENERATION: Final = re.compile(r"[0-9a-f]{16}")

Run = tuple[int, int]
"""First and last number of a run, both included."""


class Runs:
    """A set of whole numbers, kept as sorted runs: a month of messages without a hole takes one."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __iter__(self) -> Iterator[Run]:
        return iter(zip(self._firsts, self._lasts, strict=True))

    def __contains__(self, number: int) -> bool:
        at = bisect_left(self._lasts, number)
        return at < len(self._lasts) and self._firsts[at] <= number

    def __bool__(self) -> bool:
        return bool(self._firsts)

    @property
    def first(self) -> int:
        """The lowest number; there must be one."""
        return self._firsts[0]

    @property
    def last(self) -> int:
        """The highest number; there must be one."""
        return self._lasts[-1]

    def add(self, first: int, last: int) -> int:
        """Take in a run; give how many of its numbers were new."""
        left, right = bisect_left(self._lasts, first - 1), bisect_right(self._firsts, last + 1)
        known = sum(self._lasts[at] - self._firsts[at] + 1 for at in range(left, right))
        if left < right:
            first, last = min(first, self._firsts[left]), max(last, self._lasts[right - 1])
        self._firsts[left:right], self._lasts[left:right] = [first], [last]
        return last - first + 1 - known

    def holes(self, first: int, last: int) -> list[Run]:
        """Give the runs between `first` and `last`, both included, of which no number is in here."""
        found, begin = [], first
        for at in range(bisect_left(self._lasts, first), len(self._lasts)):
            if self._firsts[at] > last:
                break
            if begin < self._firsts[at]:
                found.append((begin, self._firsts[at] - 1))
            begin = self._lasts[at] + 1
        if begin <= last:
            found.append((begin, last))
        return found


def count(runs: Sequence[Run]) -> int:
    """Give how many numbers separate runs hold."""
    return sum(last - first + 1 for first, last in runs)


@dataclass(slots=True)
class Account:
    """The books of one generation of one device.

    Attributes:
        device: The device's name.
        gen: The generation.
        came: Numbers that came.
        named: Numbers that gap records named, one by one.
        loose: Gap records that say only how many of a stretch are gone: first, last, how many.
        reasons: How many numbers gap records gave up, by reason.
        again: Messages that came once more.
        ends: Ends without good order that the device owned up to: messages that had no number yet may be lost.
        uncounted_s: Seconds in which those came in, all ends together.
        overtaken: Messages other than gap records that came after one with a higher number.
        announced: The newest number that the device says it has given out; 0 when it did not say.
    """

    device: str
    gen: str
    came: Runs = field(default_factory=Runs)
    named: Runs = field(default_factory=Runs)
    loose: list[tuple[int, int, int]] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    ends: int = 0
    uncounted_s: float = 0.0
    again: int = 0
    overtaken: int = 0
    announced: int = 0
    _before: int = 0
    _highest: int = 0

    def take(self, seq: int, *, is_gap: bool) -> bool:
        """Take in a number that came; False when it had come before."""
        if not self.came.add(seq, seq):
            self.again += 1
            return False
        if not is_gap:
            self.overtaken += seq < self._highest
            self._highest = max(self._highest, seq)
        return True

    def give_up(self, ranges: Sequence[Run], first: int, last: int, number: int, reason: str) -> None:
        """Take in what a gap record says.

        Args:
            ranges: Which numbers; empty when only `number` of them are known.
            first: The lowest.
            last: The highest.
            number: How many.
            reason: Why.
        """
        if number:
            self.reasons[reason] = self.reasons.get(reason, 0) + number
        for run in ranges:
            self.named.add(*run)
        if not ranges and number:
            self.loose.append((first, last, number))

    def missing(self, *, is_whole: bool = False) -> list[Run]:
        """Give the numbers up to the highest that came which neither came nor were named.

        Args:
            is_whole: Count from 1, not from the lowest that came.
        """
        if not self.came:
            return []
        begin, end = 1 if is_whole else self.came.first, self.came.last
        known = Runs()
        for run in (*self.came, *self.named):
            known.add(*run)
        for low, high, number in _stretches(self.loose):
            first, last = max(low, begin), min(high, end)  # who came later does not ask for what was before
            if first <= last and count(known.holes(first, last)) <= number:
                known.add(first, last)
        return known.holes(begin, end)

    def announce(self, last: int) -> None:
        """Note what the device says is the newest number it has given out."""
        if not self.came and not self.announced:
            self._before = last  # given out before anybody listened
        self.announced = max(self.announced, last)

    def awaited(self, *, is_whole: bool = False) -> list[Run]:
        """Give the numbers that the device has given out, above the highest that came, and that no gap record named.

        Args:
            is_whole: Count from 1, not from the first that was announced or came.
        """
        before = self.came.last if self.came else 0 if is_whole else self._before
        return self.named.holes(before + 1, self.announced)


def _stretches(loose: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Join what overlaps: there only the sum of the counts says anything."""
    joined: list[tuple[int, int, int]] = []
    for first, last, number in sorted(loose):
        if joined and first <= joined[-1][1]:
            before = joined.pop()
            joined.append((before[0], max(before[1], last), before[2] + number))
        else:
            joined.append((first, last, number))
    return joined


class Accounts:
    """The books of everybody who sent something, from payloads as they come off a broker.

    Attributes:
        messages: Numbered messages, those that came again included.
        unreadable: Payloads that claim to be numbered and are not as documented.
    """

    def __init__(self) -> None:
        self.messages = 0
        self.unreadable = 0
        self._accounts: dict[tuple[str, str], Account] = {}

    def __iter__(self) -> Iterator[Account]:
        """Give the books in the order in which devices and generations were first heard of."""
        return iter(self._accounts.values())

    def take(self, topic: str, payload: bytes) -> tuple[str, str, int] | None:
        """Take in a message; give its device, generation and number when it is a numbered one that is new.

        Args:
            topic: Where it came; empty when that is not known.
            payload: As it came, of any length and content.
        """
        if not payload.lstrip().startswith(b"{"):
            return None  # availability is plain text
        try:
            body = json.loads(payload)
        except (ValueError, RecursionError):
            self.unreadable += 1
            return None
        if "seq" not in body:
            self._take_state(topic, body)
            return None
        try:
            return self._take_numbered(body)
        except (KeyError, TypeError, ValueError):
            self.unreadable += 1
            return None

    def _take_numbered(self, body: Mapping[str, Any]) -> tuple[str, str, int] | None:
        device, gen, number = str(body["id"]).split("/")
        seq = _number(body["seq"])
        if not device or gen != body["gen"] or number != str(seq) or not _GENERATION.fullmatch(gen):
            raise ValueError(body["id"])
        gap = _gap(body) if "reason" in body and "count" in body else None
        self.messages += 1
        account = self._account(device, gen)
        if not account.take(seq, is_gap=gap is not None):
            return None
        if gap is not None:
            account.give_up(*gap)
            uncounted = body.get("uncounted_s")
            if isinstance(uncounted, int | float) and 0 < uncounted < math.inf:
                account.ends += 1
                account.uncounted_s += uncounted
        return device, gen, seq

    def _take_state(self, topic: str, body: Mapping[str, Any]) -> None:
        """Note what `health` says of the newest number."""
        figures = body.get("messaging")
        levels = topic.split("/")
        if len(levels) != 3 or levels[2] != "health" or not isinstance(figures, dict):  # noqa: PLR2004 - edgecam/DEVICE/health
            return
        gen, last = figures.get("gen"), figures.get("last_seq")
        if isinstance(gen, str) and _GENERATION.fullmatch(gen) and isinstance(last, int) and 0 < last <= MOST_NUMBER:
            self._account(levels[1], gen).announce(last)

    def _account(self, device: str, gen: str) -> Account:
        return self._accounts.setdefault((device, gen), Account(device, gen))


def _gap(body: Mapping[str, Any]) -> tuple[list[Run], int, int, int, str]:
    ranges = [(_number(first), _number(last)) for first, last in body.get("ranges", [])]
    if len(ranges) > MOST_RANGES or any(first > last for first, last in ranges):
        raise ValueError("ranges")
    first, last = _number(body["from"]), _number(body["to"])
    number = 0 if body["count"] == 0 else _number(body["count"])
    if first > last or number > last - first + 1:
        raise ValueError("count")
    return ranges, first, last, number, str(body["reason"])[:64]


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MOST_NUMBER:
        raise ValueError(value)
    return value
