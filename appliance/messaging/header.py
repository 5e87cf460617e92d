"""A spare copy of the outbox's first page, in a file beside it: without that page SQLite knows no table of it."""

import logging
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.errors import StorageError
from appliance.core.files import write_atomically
from appliance.messaging.database import PAGE_BYTES, SMALL_PAGE_BYTES, Database
from appliance.messaging.quarantine import header_of

MAGIC: Final = b"SQLite format 3\x00"
HEADER_BYTES: Final = 100  # of page 1, before its tables; file format of SQLite, section 1.3

_FORM: Final = struct.Struct(f">16s16sI{PAGE_BYTES}s")
_MARK: Final = b"edgecam outbox 1"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Header:
    """What is needed to read an outbox whose first page is gone.

    Attributes:
        gen: The generation that new messages belonged to.
        place: Its place.
        page: The first page, as long as the file's pages are; counters in its first 100 bytes are out of date.
    """

    gen: str
    place: int
    page: bytes

    def agrees_with(self, other: "Header") -> bool:
        """Tell whether both lead to the same tables of the same generation."""
        return (self.gen, self.place, self.page[HEADER_BYTES:]) == (other.gen, other.place, other.page[HEADER_BYTES:])


def read(path: Path) -> Header | None:
    """Give the header that a file holds; None when there is none, or it is broken itself."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if len(content) != _FORM.size + 4 or zlib.crc32(content[:-4]) != int.from_bytes(content[-4:], "big"):
        return None
    mark, gen, place, page = _FORM.unpack(content[:-4])
    return Header(gen.decode("ascii", "replace"), place, page[: page_bytes(page)]) if mark == _MARK else None


def write(path: Path, header: Header) -> None:
    """Keep a header in a file. When that fails the outbox works all the same; the next start tries again."""
    content = _FORM.pack(_MARK, header.gen.encode(), header.place, header.page)
    try:
        write_atomically(path, content + zlib.crc32(content).to_bytes(4, "big"))
    except StorageError as error:
        _logger.warning("the spare copy of the outbox's first page: %s", error)


def first_page(path: Path) -> bytes:
    """Give the first page of a database that nobody has open; empty when it has none."""
    with suppress(OSError), path.open("rb") as file:
        page = file.read(PAGE_BYTES)
        size = page_bytes(page)
        if size and len(page) >= size:
            return page[:size]
    return b""


def page_bytes(page: bytes) -> int:
    """Give the size of the pages of a file, by its first one; 0 when that is none of a file of ours."""
    size = int.from_bytes(page[16:18], "big") if page.startswith(MAGIC) else 0
    return size if size in {PAGE_BYTES, SMALL_PAGE_BYTES} else 0


def keep(db: Database, gen: str, place: int, before: bytes) -> None:
    """Keep a spare copy of an open database's first page beside it.

    Args:
        db: The database.
        gen: The generation that new messages belong to.
        place: Its place.
        before: Its first page when nobody had it open.

    Raises:
        StorageError: It cannot be opened again.
    """
    there = read(header_of(db.path))
    if there is not None and there.agrees_with(Header(gen, place, before)):
        return
    # read while it is closed: to close a second descriptor of an open database gives up SQLite's locks
    db.close()
    page = first_page(db.path)
    db.open()
    write(header_of(db.path), Header(gen, place, page))
