"""Deliveries as subscribers see them, each with what is missing in it: what every subscriber must agree on."""

import json
from dataclasses import dataclass
from typing import Any

GEN = "1101d6b23842e45a"


@dataclass(frozen=True, slots=True)
class Delivery:
    """Messages in the order in which they come, and what is missing once all are there.

    Attributes:
        name: What is special about it.
        messages: Topic below the device's root, and payload.
        missing: Runs, first and last of each.
    """

    name: str
    messages: tuple[tuple[str, bytes], ...]
    missing: tuple[tuple[int, int], ...] = ()


def message(seq: int, device: str = "dev", gen: str = GEN, **body: Any) -> tuple[str, bytes]:
    fields = {"v": 1, "id": f"{device}/{gen}/{seq}", "gen": gen, "seq": seq, "boot": "b", "n": seq, **body}
    return "gap" if "reason" in body else "door/events", json.dumps(fields, separators=(",", ":")).encode()


def gap(seq: int, *ranges: tuple[int, int], device: str = "dev", gen: str = GEN) -> tuple[str, bytes]:
    number = sum(last - first + 1 for first, last in ranges)
    named = {"from": ranges[0][0], "to": ranges[-1][1], "count": number, "ranges": [list(run) for run in ranges]}
    return message(seq, device, gen, reason="rows", **named)


def loose_gap(seq: int, first: int, last: int, number: int) -> tuple[str, bytes]:
    return message(seq, reason="rows", **{"from": first, "to": last, "count": number})


def restart(seq: int) -> tuple[str, bytes]:
    return message(seq, reason="restart", uncounted_s=0.25, count=0, **{"from": seq, "to": seq})


DELIVERIES = (
    Delivery("one message", (message(1),)),
    Delivery("all in order", tuple(message(seq) for seq in range(1, 30))),
    Delivery("who comes later sees no hole before", tuple(message(seq) for seq in range(700, 705))),
    Delivery("sent again", tuple(message(seq) for seq in (1, 2, 3, 2, 3, 3, 4))),
    Delivery("another order", tuple(message(seq) for seq in (3, 1, 2, 5, 4))),
    Delivery("a hole", tuple(message(seq) for seq in (1, 2, 5, 6)), ((3, 4),)),
    Delivery("two holes", tuple(message(seq) for seq in (10, 12, 13, 17)), ((11, 11), (14, 16))),
    Delivery("a hole that is named after it", (message(1), message(5), gap(6, (2, 4)))),
    Delivery("a hole that is named before it", (gap(6, (2, 4)), message(1), message(5))),
    Delivery("named and came all the same", (message(1), message(2), message(3), gap(4, (2, 2)))),
    Delivery("named in part", (message(1), message(9), gap(10, (2, 4), (6, 6))), ((5, 5), (7, 8))),
    Delivery("the record of a gap came twice", (message(1), gap(4, (2, 3)), gap(4, (2, 3)), message(5))),
    Delivery("a gap's record is itself missing", (message(1), message(4)), ((2, 3),)),
    Delivery("how many, but not which", (message(1), message(5), message(10), loose_gap(11, 2, 9, 7))),
    Delivery("more than were said", (message(1), message(10), loose_gap(11, 2, 9, 7)), ((2, 9),)),
    Delivery("two records that overlap", (message(1), message(10), loose_gap(11, 2, 6, 4), loose_gap(12, 4, 9, 4))),
    Delivery("who comes later, and how many, but not which", (message(50), message(60), loose_gap(61, 1, 59, 40))),
    Delivery("who comes later, and more", (message(50), message(80), loose_gap(81, 1, 79, 28)), ((51, 79),)),
    Delivery("killed, and it owns up to it", (message(1), message(2), restart(3), message(4))),
    Delivery("killed, and something is missing too", (message(1), restart(3), message(4)), ((2, 2),)),
)
