"""Reads the pages of a SQLite file that SQLite refuses: each by itself, so that a broken one takes no other with it.

The names of sections are those of the file format's description, https://www.sqlite.org/fileformat2.html.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from appliance.messaging.database import PAGE_BYTES
from appliance.messaging.header import HEADER_BYTES, page_bytes

LEAF: Final = 0x0D  # of a table; section 1.6
INNER: Final = 0x05

_MOST_COLUMNS: Final = 32
_INTEGER_BYTES: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # by serial type; section 2.1
_LOG_HEADER: Final = struct.Struct(">8I")  # section 4.1
_FRAME_HEADER: Final = struct.Struct(">6I")
_LOG_MAGIC: Final = (0x377F0682, 0x377F0683)  # the last bit: whether checksums are of big-endian words

Value = int | float | str | bytes | None


class Pages:
    """The pages of a database and of the log beside it. Close it when done.

    Args:
        path: The database; nobody has it open.
        spare: A copy of its first page, used where its own is broken; empty: there is none.
    """

    def __init__(self, path: Path, spare: bytes = b"") -> None:
        self._file: BinaryIO = path.open("rb")
        self._log: BinaryIO | None = None
        self._frames: dict[int, int] = {}
        self.size = page_bytes(self._file.read(PAGE_BYTES)) or page_bytes(spare) or PAGE_BYTES
        self._local = self.size - 35  # bytes of a row that fit into a leaf; section 1.6
        self._least_local = (self.size - 12) * 32 // 255 - 23
        self.count = path.stat().st_size // self.size
        log = path.with_name(path.name + "-wal")
        if log.exists():
            self._log = log.open("rb")
            self._frames = _frames(self._log, self.size)
            self.count = max(self.count, max(self._frames, default=0))
        first = self._read(1)
        self.has_first = page_bytes(first) > 0 and first[HEADER_BYTES] in {INNER, LEAF}
        self._first = first if self.has_first else spare

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._log is not None:
            self._log.close()

    def __getitem__(self, number: int) -> bytes:
        """Give a page, counted from 1; empty when it is not there."""
        return self._first if number == 1 else self._read(number)

    @property
    def expected(self) -> int:
        """How many pages there were, by the file's own word; 0 when nobody can tell."""
        return int.from_bytes(self._first[28:32], "big") if self.has_first else 0

    def free(self) -> set[int]:
        """Give the pages that hold nothing that counts; section 1.5."""
        found: set[int] = set()
        trunk = int.from_bytes(self._first[32:36], "big") if self.has_first else 0
        while 0 < trunk <= self.count and trunk not in found:
            found.add(trunk)
            page = self[trunk]
            trunk, leaves = struct.unpack(">II", page[:8]) if page else (0, 0)
            found.update(
                struct.unpack(f">{min(leaves, self.size // 4 - 2)}I", page[8 : 8 + 4 * min(leaves, self.size // 4 - 2)])
                if page
                else ()
            )
        return found

    def root(self, table: str) -> int | None:
        """Give the page at which a table begins; None when the first page does not tell."""
        for _, row in self.rows(1):
            if row[:2] == ["table", table] and isinstance(row[3], int):
                return row[3]
        return None

    def kind(self, number: int) -> int:
        """Give the first byte of a page, which tells what it is; 0 when it is not there."""
        page = self[number]
        return page[HEADER_BYTES if number == 1 else 0] if page else 0

    def last_child(self, number: int) -> int:
        """Give the page with the highest keys below an inner one."""
        return int.from_bytes(self[number][8:12], "big")

    def rows(self, number: int) -> Iterator[tuple[int, list[Value]]]:
        """Give key and columns of each row on a table's leaf; what makes no sense is passed over."""
        page = self[number]
        start = HEADER_BYTES if number == 1 else 0
        if not page or page[start] != LEAF:
            return
        cells = int.from_bytes(page[start + 3 : start + 5], "big")
        for index in range(min(cells, self.size // 4)):
            pointer = start + 8 + 2 * index
            at = int.from_bytes(page[pointer : pointer + 2], "big")
            try:
                size, at = _varint(page, at)
                key, at = _varint(page, at)
                yield key, _columns(self._payload(page, at, size))
            except (ValueError, IndexError, UnicodeDecodeError):
                continue

    def _payload(self, page: bytes, at: int, size: int) -> bytes:
        if size <= self._local:
            return page[at : at + size]
        local = self._least_local + (size - self._least_local) % (self.size - 4)
        local = local if local <= self._local else self._least_local
        parts = [page[at : at + local]]
        left, following = size - local, int.from_bytes(page[at + local : at + local + 4], "big")
        while left > 0:
            overflow = self[following] if following else b""
            if not overflow or left > self.count * self.size:
                raise ValueError("a part of the row is gone")
            following = int.from_bytes(overflow[:4], "big")
            parts.append(overflow[4 : 4 + left])
            left -= self.size - 4
        return b"".join(parts)

    def _read(self, number: int) -> bytes:
        if self._log is not None and number in self._frames:
            self._log.seek(self._frames[number])
            return self._log.read(self.size)
        if not 0 < number <= self.count:
            return b""
        self._file.seek((number - 1) * self.size)
        page = self._file.read(self.size)
        return page if len(page) == self.size else b""


def _varint(page: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = page[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return value, at + index + 1
    return value << 8 | page[at + 8], at + 9


def _columns(record: bytes) -> list[Value]:
    """Give the values of a record; section 2.1.

    Raises:
        ValueError: It is none.
        IndexError: Likewise.
    """
    end, at = _varint(record, 0)
    kinds: list[int] = []
    while at < end:
        kind, at = _varint(record, at)
        kinds.append(kind)
        if len(kinds) > _MOST_COLUMNS:
            raise ValueError("more columns than any table here")
    values: list[Value] = []
    for kind in kinds:
        value, end = _value(record, end, kind)
        values.append(value)
    if end != len(record):
        raise ValueError("its columns are not as long as it is")
    return values


def _value(record: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind in _INTEGER_BYTES:
        end = at + _INTEGER_BYTES[kind]
        return int.from_bytes(record[at:end], "big", signed=True), end
    match kind:
        case 0:
            return None, at
        case 7:
            return struct.unpack(">d", record[at : at + 8].ljust(8, b"\0"))[0], at + 8
        case 8 | 9:
            return kind - 8, at
        case 10 | 11:
            raise ValueError("a kind of value that no file has")
    end = at + (kind - 12) // 2
    return (record[at:end].decode() if kind % 2 else record[at:end]), end


def _frames(log: BinaryIO, size: int) -> dict[int, int]:
    """Give where in the log the newest version of each page begins that was committed; section 4.

    Reads it to the first frame whose checksum is wrong: there it ends.
    """
    header = log.read(_LOG_HEADER.size)
    if len(header) < _LOG_HEADER.size:
        return {}
    magic, _, page_size, _, *salts, first, second = _LOG_HEADER.unpack(header)
    if magic not in _LOG_MAGIC or page_size != size:
        return {}
    order = ">" if magic & 1 else "<"
    sums = _checksum(header[:24], (0, 0), order)
    if sums != (first, second):
        return {}
    committed: dict[int, int] = {}
    since: dict[int, int] = {}
    while len(frame := log.read(_FRAME_HEADER.size + size)) == _FRAME_HEADER.size + size:
        number, is_commit, *rest = _FRAME_HEADER.unpack(frame[: _FRAME_HEADER.size])
        sums = _checksum(frame[:8] + frame[_FRAME_HEADER.size :], sums, order)
        if rest != [*salts, *sums]:
            break
        since[number] = log.tell() - size
        if is_commit:
            committed |= since
            since = {}
    return committed


def _checksum(content: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for index in range(0, len(words), 2):
        first = (first + words[index] + second) & 0xFFFFFFFF
        second = (second + words[index + 1] + first) & 0xFFFFFFFF
    return first, second
