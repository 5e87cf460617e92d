"""What must hold after a power cut, asked of the real outbox on the disk that the cut has left."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.config import OutboxSettings
from appliance.core.clock import SystemClock
from appliance.core.errors import StorageError
from appliance.messaging.gaps import Gap
from appliance.messaging.outbox import Outbox
from appliance.messaging.payloads import gap_body
from appliance.messaging.rows import Draft
from appliance.workbench.accounts import Runs

Mark = dict[str, Any]


@dataclass(slots=True)
class Known:
    """What the world outside knew at the cut, from the marks before it.

    Attributes:
        gens: Generations seen.
        sent: Numbers that were about to reach the broker.
        acknowledged: Numbers whose acknowledgement was about to come back.
        delivered: Which of the program's own counted messages were among them.
        named: Numbers that acknowledged gap records named.
        promised: Which of the program's own counted messages were on disk, as it said.
        appended: How many messages were on disk, as a process said that does not count its own.
    """

    gens: set[str] = field(default_factory=set)
    sent: set[int] = field(default_factory=set)
    acknowledged: set[int] = field(default_factory=set)
    delivered: set[int] = field(default_factory=set)
    named: Runs = field(default_factory=Runs)
    promised: Runs = field(default_factory=Runs)
    appended: int = 0

    @classmethod
    def of(cls, marks: Sequence[Mark]) -> "Known":
        known = cls()
        for mark in marks:
            if "promised" in mark:
                known.promised.add(*mark["promised"])
            known.appended = max(known.appended, mark.get("appended", 0))
            if "gen" in mark:
                known.gens.add(mark["gen"])
            if "sent" in mark:
                known.sent.add(mark["sent"])
            if "acknowledged" in mark:
                known.acknowledged.add(mark["acknowledged"])
                known.delivered.add(mark.get("n", 0))
                for first, last in mark.get("ranges", []):
                    known.named.add(first, last)
        return known


@dataclass(frozen=True, slots=True)
class Rules:
    """What a scenario's cuts are held against.

    Attributes:
        settings: The outbox's.
        newest: Messages may be given up, the oldest first, if a gap record names them; but so many of the newest not.
            None: none may.
    """

    settings: OutboxSettings = field(default_factory=OutboxSettings)
    newest: int | None = None


def open_outbox(directory: Path, settings: OutboxSettings) -> Outbox:
    """Open the outbox as the courier does after a power cut: in a new boot."""

    def encode_gap(gen: str, seq: int, gap: Gap) -> bytes:
        body = gap_body(gap.count, gap.first, gap.last, gap.runs, gap.reason, uncounted_s=gap.uncounted_s)
        return json.dumps({"id": f"dev/{gen}/{seq}", "gen": gen, "seq": seq, **body}).encode()

    outbox = Outbox(
        directory / "outbox.db",
        settings,
        device_id="dev",
        boot_id="after-the-cut",
        encode_gap=encode_gap,
        now=SystemClock().now,
    )
    outbox.open()
    return outbox


def judge(directory: Path, marks: Sequence[Mark], rules: Rules) -> list[str]:
    """Give what was broken; empty when every promise held."""
    known = Known.of(marks)
    try:
        with closing(open_outbox(directory, rules.settings)) as outbox:
            broken = [*_broken(outbox, known, rules)]
    except StorageError as error:
        return [f"the outbox does not open: {error}"]
    with closing(sqlite3.connect(f"file:{directory}/outbox.db?mode=ro", uri=True)) as file:
        said = file.execute("PRAGMA integrity_check").fetchall()
    return broken if said == [("ok",)] else [*broken, f"integrity_check: {said[:3]}"]


def _broken(outbox: Outbox, known: Known, rules: Rules) -> Iterator[str]:
    if outbox.quarantined is not None:
        yield "the file was corrupt and put aside"
    if known.gens - {outbox.gen}:
        yield f"a new generation {outbox.gen} after {sorted(known.gens)}"
    rows = outbox.pending(0, 10_000_000)
    bodies = [json.loads(row.payload) for row in rows]
    present = {row.seq for row in rows}
    for row, body in zip(rows, bodies, strict=True):
        if (body["seq"], body["gen"]) != (row.seq, outbox.gen):
            yield f"row {row.seq} holds {body['gen']}/{body['seq']}"
    named = _named(bodies, known)
    yield from _unaccounted(outbox.last_seq, present, known, named)
    yield from _lost(bodies, named, known, rules)
    if rules.newest is None and (gone := known.acknowledged - present - _recalled(outbox)):
        yield f"{len(gone)} acknowledged messages cannot be sent again: {sorted(gone)[:5]}"
    given = {*present, *known.sent, *known.acknowledged, named.last if named else 0}
    outbox.append([Draft("door/events", lambda gen, seq: json.dumps({"gen": gen, "seq": seq}).encode(), 0, 0)])
    if outbox.last_seq <= max(given):
        yield f"number {outbox.last_seq} is given out again, {max(given)} was out already"


def _recalled(outbox: Outbox) -> set[int]:
    """Give the numbers that a replay of everything would send."""
    outbox.recall(outbox.gen, 1, outbox.last_seq)
    return {row.seq for row in outbox.pending(0, 10_000_000)}


def _named(bodies: Sequence[Mark], known: Known) -> Runs:
    named = Runs()
    for first, last in [*known.named, *(run for body in bodies for run in body.get("ranges", []))]:
        named.add(first, last)
    return named


def _unaccounted(last: int, present: set[int], known: Known, named: Runs) -> Iterator[str]:
    """Every number up to the last is in the file, at the broker, or named in a gap record of either."""
    lost = [seq for seq in range(1, last + 1) if not (seq in present or seq in known.acknowledged or seq in named)]
    if lost:
        yield f"{len(lost)} numbers are nowhere: {lost[:5]}"


def _lost(bodies: Sequence[Mark], named: Runs, known: Known, rules: Rules) -> Iterator[str]:
    """Every message that was promised to be on disk is there, at the broker, or given up by name."""
    there = {body.get("n", 0) for body in bodies} | known.delivered
    absent = [n for first, last in known.promised for n in range(first, last + 1) if n not in there]
    given_up = sum(last - first + 1 for first, last in named)
    if absent and rules.newest is None:
        yield f"{len(absent)} promised messages are lost: {absent[:5]}"
    elif len(absent) > given_up:
        yield f"{len(absent)} promised messages are gone and only {given_up} numbers named"
    elif absent and rules.newest is not None and absent[-1] > known.promised.last - rules.newest:
        yield f"message {absent[-1]} of {known.promised.last} is gone, though the oldest go first"
    counted = [body["n"] for body in bodies if "n" in body]
    if counted != sorted(counted):
        yield "numbers are not in the order of the messages"
    events = {body["seq"] for body in bodies if "count" not in body} | known.acknowledged
    if len(events) + given_up < known.appended:
        yield f"{known.appended} messages were on disk, and only {len(events)} are accounted for"
