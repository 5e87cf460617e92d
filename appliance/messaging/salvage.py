"""What can be read of a corrupt outbox: its rows one by one, and which numbers are missing among them."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from appliance.messaging import gaps
from appliance.messaging.gaps import Run
from appliance.messaging.header import Header
from appliance.messaging.kept import Kept, KeptRun
from appliance.messaging.losses import parsed
from appliance.messaging.pages import INNER, LEAF, Pages, Value
from appliance.messaging.rows import checksum, key_of, place_of

ROWS_OF_A_PAGE: Final = 100  # at the most: no row is shorter than 40 bytes
MOST_MARGIN: Final = 10_000_000  # numbers: more than fit into any outbox of a sensible size
MOST_DEPTH: Final = 20  # SQLite's own limit of a tree
_SURVEY_BEAT: Final = 256  # pages
_OUTBOX_COLUMNS, _GENERATION_COLUMNS, _FIVE = 11, 4, 5
_KNOWN_KINDS: Final = frozenset({0, 2, INNER, 10, LEAF})  # 0: the rest of a long row, or nothing


@dataclass(slots=True)
class OldGeneration:
    """A generation of which there are rows in a corrupt outbox.

    Attributes:
        gen: Its name; empty when it could not be read.
        last: The highest key that is known to be given out.
        floor: All keys up to this one are accounted for.
    """

    gen: str = ""
    last: int = 0
    floor: int = 0


@dataclass(slots=True)
class OldRow:
    """A row that was read.

    Attributes:
        key: Its key.
        columns: Those behind the key and before the checksum.
        payload: The payload.
    """

    key: int
    columns: list[Value]
    payload: bytes


@dataclass(slots=True)
class _Found:
    leaves: list[tuple[int, int]] = field(default_factory=list)
    generations: dict[int, OldGeneration] = field(default_factory=lambda: defaultdict(OldGeneration))
    boots: dict[int, list[Value]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    named: list[Run] = field(default_factory=list)
    strange: int = 0


class Salvage:
    """Reads a corrupt outbox. `survey` it first; close it when done.

    Args:
        path: The file, with its log beside it.
        header: What was kept beside the outbox; None: nothing.
    """

    def __init__(self, path: Path, header: Header | None) -> None:
        self.path = path
        self._header = header
        self._pages = Pages(path, b"" if header is None else header.page)
        self._found = _Found()
        self._kept = Kept(None, 0)
        self._came: list[Run] = []

    def close(self) -> None:
        """Close the file."""
        self._pages.close()

    @property
    def generations(self) -> dict[int, OldGeneration]:
        """What is known of the generations, by place."""
        return self._found.generations

    @property
    def boots(self) -> dict[int, list[Value]]:
        """What is known of the boots: their columns behind the number, by number."""
        return self._found.boots

    @property
    def leaves(self) -> int:
        """How many pages with messages there are."""
        return len(self._found.leaves)

    def survey(self, beat: Callable[[], None]) -> None:
        """Look at every page once: where rows are, and what the small tables say.

        Args:
            beat: Called now and then.
        """
        free = self._pages.free()
        for number in range(1, self._pages.count + 1):
            if number % _SURVEY_BEAT == 0:
                beat()
            if number in free:
                continue
            kind = self._pages.kind(number)
            if kind == LEAF:
                self._survey_leaf(number)
            elif kind not in _KNOWN_KINDS:
                self._found.strange += 1
        self._found.leaves.sort()
        if self._header is not None and not self._found.generations[self._header.place].gen:
            self._found.generations[self._header.place].gen = self._header.gen
        for place, name in self._found.names.items():
            self._found.generations[place].gen = self._found.generations[place].gen or name
        for low, high in [*self._found.named, *((run.first, run.last) for run in self._kept)]:
            self._raise(low, high)
        self._find_the_ends()

    def rows(self, leaf: int) -> Iterator[OldRow]:
        """Give the sound rows of a page that the broker does not have, in the order of their keys."""
        for key, row in self._pages.rows(self._found.leaves[leaf][1]):
            if not _is_sound(key, row):
                continue
            self._raise(key, key)
            self._came.append((key, key))
            payload = row[-1]
            is_wanted = key > self._found.generations[place_of(key)].floor and any(self._kept.between(key, key))
            if is_wanted and isinstance(payload, bytes):
                yield OldRow(key, row[1:-2], payload)
        self._came = gaps.merge(self._came)

    def missing(self) -> dict[int, list[Run]]:
        """Give the keys, by place, that nobody accounts for; after all rows were read.

        Where the page with the newest rows is gone nobody knows the last number that was given out: those that it can
        have been are named as well, though some of them may never have been used.
        """
        accounted = Kept(None, 0)
        for low, high in gaps.merge([*self._came, *self._found.named, *((run.first, run.last) for run in self._kept)]):
            accounted.add(KeptRun(low, high, 1, 0, 0))
        missing = {}
        for place, generation in self._found.generations.items():
            first = max(generation.floor, key_of(place, 0)) + 1
            missing[place] = list(accounted.between(first, generation.last)) if first <= generation.last else []
        return missing

    def _survey_leaf(self, number: int) -> None:
        for key, row in self._pages.rows(number):
            if len(row) == _OUTBOX_COLUMNS and _is_sound(key, row):
                self._found.leaves.append((key, number))
                self._raise(key, key)
                self._name(place_of(key), row[-1])
                return
            if len(row) == _GENERATION_COLUMNS:
                self._note_generation(key, row)
            elif len(row) == _FIVE:
                self._note(key, row)

    def _find_the_ends(self) -> None:
        """Learn the last number of each generation before any of its rows is read: a gap record may need the next."""
        for number in {place_of(key): number for key, number in self._found.leaves}.values():
            for key, row in self._pages.rows(number):
                # one that is damaged had its number all the same, unless that is what is damaged
                known = self._found.generations.get(place_of(key))
                is_near = known is not None and key - known.last <= ROWS_OF_A_PAGE
                if len(row) == _OUTBOX_COLUMNS and (is_near or _is_sound(key, row)):
                    self._raise(key, key)
        if self._found.generations and not self._knows_the_end():
            self._found.generations[max(self._found.generations)].last += self._margin()

    def _name(self, place: int, payload: Value) -> None:
        """Take a generation's name from a message, where nothing else tells it."""
        if self._found.generations[place].gen or not isinstance(payload, bytes):
            return
        with suppress(ValueError, AttributeError):  # a payload is what a message's builder made it
            gen = json.loads(payload).get("gen")
            self._found.names.setdefault(place, gen if isinstance(gen, str) else "")

    def _note_generation(self, place: int, row: list[Value]) -> None:
        match row:
            case [None, str(gen), int(last), int(floor)]:
                found = self._found.generations[place]
                found.gen, found.floor = gen, key_of(place, floor)
                found.last = max(found.last, key_of(place, last))

    def _note(self, key: int, row: list[Value]) -> None:
        match row:
            case [None, int(last), int(boot), int(mono_ns), int(time_ns)] if key <= last:
                self._kept.carve(key, last)
                self._kept.add(KeptRun(key, last, boot, mono_ns, time_ns))
            case [None, str(), str(runs), int(), int()]:
                self._found.named += [(low, high) for low, high in parsed(runs) if low <= high]
            case [None, str(), *_]:
                self._found.boots[key] = row[1:]
            case _:
                pass

    def _raise(self, first: int, last: int) -> None:
        if place_of(first) == place_of(last):
            generation = self._found.generations[place_of(last)]
            generation.last = max(generation.last, last)

    def _knows_the_end(self) -> bool:
        """Tell whether the page with the highest keys is there: the way to it leads along the last children."""
        number = self._pages.root("outbox")
        leaves = {leaf for _, leaf in self._found.leaves}
        for _ in range(MOST_DEPTH):
            if number is None or self._pages.kind(number) != INNER:
                break
            number = self._pages.last_child(number)
        return number in leaves

    def _margin(self) -> int:
        gone = max(0, self._pages.expected - self._pages.count)
        return min(MOST_MARGIN, ROWS_OF_A_PAGE * (1 + gone + self._found.strange))


def _is_sound(key: int, row: list[Value]) -> bool:
    match row:
        case [None, *columns, int(crc), bytes(payload)] if len(row) == _OUTBOX_COLUMNS:
            return checksum((key, *columns), payload) == crc
    return False
