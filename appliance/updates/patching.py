"""Makes a file of another one and a delta between them, in bounded memory.

Format: BSDIFF40 of Colin Percival's bsdiff 4 (https://www.daemonology.net/bsdiff/): three bzip2 streams, of triples
(add so many bytes of the base, take so many new ones, then seek in the base), of differences and of new bytes. What
comes of it is verified by its digest afterwards; nothing here is trusted.
"""

import bz2
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import numpy as np

from appliance.core.errors import ModelError

_MAGIC: Final = b"BSDIFF40"
_HEADER: Final = 32
_TRIPLE: Final = 24
_CHUNK: Final = 1 << 20
_MOST_EMPTY: Final = 1000  # triples that only seek; more would be a way to keep us busy


def apply_delta(base: Path, delta: bytes, into: Path, size: int) -> None:
    """Write the file that a delta leads to.

    Args:
        base: The file that it begins with.
        delta: The delta.
        into: Written, and not synced.
        size: Bytes that must come of it, and no more.

    Raises:
        ModelError: The delta is damaged, is for another base, or leads to another size.
        OSError: A file cannot be read or written.
    """
    if len(delta) < _HEADER or delta[:8] != _MAGIC:
        raise ModelError("the delta is none of bsdiff's")
    triples, differences, whole = (_number(delta[at : at + 8]) for at in (8, 16, 24))
    if whole != size or min(triples, differences) < 0 or _HEADER + triples + differences > len(delta):
        raise ModelError(f"the delta leads to {whole} bytes and not to {size}, or is cut off")
    after = _HEADER + triples
    cut = after + differences
    streams = _Unpacked(delta[_HEADER:after]), _Unpacked(delta[after:cut]), _Unpacked(delta[cut:])
    with base.open("rb") as file, into.open("wb") as out:
        if not base.stat().st_size:  # nothing of it can be mapped
            raise ModelError(f"{base} is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as old:
            _apply(old, streams, out, size)


def _apply(old: mmap.mmap, streams: "tuple[_Unpacked, _Unpacked, _Unpacked]", out: IO[bytes], size: int) -> None:
    triples, added, extra = streams
    length = len(old)
    made = at = empty = 0
    while made < size:
        triple = triples.take(_TRIPLE)
        add, take, seek = (_number(triple[place : place + 8]) for place in (0, 8, 16))
        empty += not add + take
        if add < 0 or take < 0 or add + take > size - made or at < 0 or at + add > length or empty > _MOST_EMPTY:
            raise ModelError("the delta is for another file than this one, or damaged")
        for start, count in _parts(add):
            base = np.frombuffer(old[at + start : at + start + count], np.uint8)
            out.write((base + np.frombuffer(added.take(count), np.uint8)).tobytes())
        for _, count in _parts(take):
            out.write(extra.take(count))
        made, at = made + add + take, at + add + seek


def _parts(length: int) -> Iterator[tuple[int, int]]:
    for start in range(0, length, _CHUNK):
        yield start, min(_CHUNK, length - start)


def _number(eight: bytes) -> int:
    """Read a number as bsdiff writes it: little-endian, the top bit is the sign."""
    value = int.from_bytes(eight, "little")
    return -(value & ~(1 << 63)) if value >> 63 else value


class _Unpacked:
    """A bzip2 stream that is unpacked as far as it is asked for: one that claims to be huge costs nothing."""

    def __init__(self, packed: bytes) -> None:
        self._packed, self._unpacker = packed, bz2.BZ2Decompressor()

    def take(self, count: int) -> bytes:
        parts, missing = [], count
        while missing:
            if self._unpacker.eof or (self._unpacker.needs_input and not self._packed):
                raise ModelError("the delta is cut off")
            try:
                chunk = self._unpacker.decompress(self._packed, missing)
            except OSError as error:
                raise ModelError("the delta is damaged") from error
            self._packed = b""
            parts.append(chunk)
            missing -= len(chunk)
        return b"".join(parts)
