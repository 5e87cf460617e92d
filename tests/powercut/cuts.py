"""Disks as a power cut may have left them, made from the log of a recorded one.

What was written before the last flush is there. Of what was written after it, each write is there or not, whatever the
order; one in ten is torn: of its sectors of 512 bytes some are there, the first ones or any.
"""

import json
import os
import random
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.powercut.recorder import FLUSH, MARK, WRITE, Operation

SECTOR: Final = 512
SURVIVAL: Final = (0.0, 0.3, 0.7, 1.0)  # shares of the unflushed writes that made it
TORN: Final = 0.1


@dataclass(frozen=True, slots=True)
class Cut:
    """One power cut.

    Attributes:
        at: Before which operation of the log.
        disk: What is on the disk.
        marks: What the program had marked by then.
    """

    at: int
    disk: bytearray
    marks: Sequence[dict[str, Any]]


def cuts(base: bytes, log: Sequence[Operation], count: int, seed: int) -> Iterator[Cut]:
    """Give `count` cuts at random writes and flushes of a log, in their order: each begins with a disk of its own."""
    chance = random.Random(seed)
    disk, durable = bytearray(base), 0
    flushes = [at for at, operation in enumerate(log) if operation.kind == FLUSH]
    marked = [at for at, operation in enumerate(log) if operation.kind == MARK]
    marks = [json.loads(log[at].data) for at in marked]
    # between two marks nothing reaches the disk: a cut just before the next write sees what one there would see
    points = [at for at, operation in enumerate(log) if operation.kind != MARK and at] + [len(log)]
    for point in sorted(chance.choice(points) for _ in range(count)):
        before = bisect_right(flushes, point - 1)
        flushed = flushes[before - 1] if before else 0
        for operation in log[durable:flushed]:
            _apply(disk, operation)
        durable = max(durable, flushed)
        left = bytearray(disk)
        for operation in surviving(log[durable:point], chance.choice(SURVIVAL), chance):
            _apply(left, operation)
        yield Cut(point, left, marks[: bisect_right(marked, point - 1)])


def as_file(disk: bytes | bytearray) -> int:
    """Give an open file in memory with these contents; a new one each time, for no cache of the kernel's may be old."""
    file = os.memfd_create("cut", os.MFD_CLOEXEC)
    os.truncate(file, len(disk))
    step = 1 << 16
    zeros = bytes(step)
    for at in range(0, len(disk), step):
        part = bytes(disk[at : at + step])  # bytes compare as fast as memory is read, views item by item
        if part != zeros:
            os.pwrite(file, part, at)
    return file


def surviving(unflushed: Iterable[Operation], share: float, chance: random.Random) -> Iterator[Operation]:
    """Give the writes that a cut leaves of those that were not flushed, some of them in pieces.

    Args:
        unflushed: What came since the last flush.
        share: Of them that survive, from 0 to 1.
        chance: Says which, and which of them are torn.
    """
    for operation in unflushed:
        if operation.kind == WRITE and chance.random() < share:
            if chance.random() < TORN:
                yield from _torn(operation, chance)
            else:
                yield operation


def _apply(disk: bytearray, operation: Operation) -> None:
    if operation.kind == WRITE:
        disk[operation.offset : operation.offset + len(operation.data)] = operation.data


def _torn(operation: Operation, chance: random.Random) -> Iterator[Operation]:
    sectors = range((len(operation.data) + SECTOR - 1) // SECTOR)
    if chance.random() < 0.5:
        kept = list(sectors[: chance.randrange(len(sectors))])
    else:
        kept = [sector for sector in sectors if chance.random() < 0.5]
    for sector in kept:
        at = sector * SECTOR
        yield Operation(WRITE, operation.offset + at, operation.data[at : at + SECTOR])
