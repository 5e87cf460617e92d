"""The file that collected reports are kept in: a line for each device, of which the last one counts."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Annotated, Final, Literal

from pydantic import Field, ValidationError

from appliance.core.errors import ConfigError, StorageError
from appliance.core.files import write_atomically
from appliance.core.part import Part
from appliance.updates.formats import Moment
from appliance.workbench.collecting.devices import NEVER, Device, Devices

MOST_LINE: Final = 64 << 10
_LEAST_WASTE: Final = 4 << 20  # bytes of lines that count no more, before the file is written anew


class Head(Part):
    """A line that says until when messages were taken in; the last one counts.

    Attributes:
        schema_version: Of this format; `schema` in the file.
        taken: UTC of the collector.
        listened: Seconds without a break until then; who has only just begun does not know who is silent.
        left_out: Messages of devices beyond the bound.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    taken: Moment
    listened: Annotated[int, Field(ge=0)] = 0
    left_out: Annotated[int, Field(ge=0)] = 0


def is_book(line: bytes) -> bool:
    """Tell whether a file that begins with such a line has collected reports."""
    return line.startswith((b'{"schema":1,"taken":', b'{"schema":1,"device":'))


def read_book(lines: Iterable[bytes], name: str) -> tuple[Devices, Head | None]:
    """Read collected reports; a last line that was cut off by a power cut is passed over.

    Args:
        lines: Of the file.
        name: What to call it in messages.

    Raises:
        ConfigError: It is another kind of file.
    """
    devices, head, broken = Devices(), None, ""
    for number, line in enumerate(lines, 1):
        if broken:
            raise ConfigError(f"{name} has no collected reports: {broken}")
        try:
            if b'"taken"' in line[:32]:
                head = Head.model_validate_json(line)
            else:
                devices.put(Device.model_validate_json(line))
        except ValidationError as error:
            broken = f"line {number}: {error.errors(include_url=False, include_input=False)[0]['msg']}"
            if line.endswith(b"\n") or number == 1:  # which was written as a whole
                raise ConfigError(f"{name} has no collected reports: {broken}") from error
    return devices, head


def lines_of(source: IO[bytes]) -> Iterator[bytes]:
    """Give a file's lines, of which none is longer than one can be."""
    while line := source.readline(MOST_LINE):
        yield line


class Book:
    """The file, while messages are taken in. Used by one thread.

    Args:
        file: Where it is, or is to be; what it has is read first.

    Attributes:
        devices: All that were heard of.

    Raises:
        ConfigError: It is another kind of file.
        StorageError: It cannot be read or written.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.devices, self._live, self._size = Devices(), 0, 0
        head = None
        if file.exists():
            try:
                with file.open("rb") as source:
                    self.devices, head = read_book(lines_of(source), str(file))
            except OSError as error:
                raise self._explained(error) from error
        self._rewrite(head or Head(taken=NEVER))

    def keep(self, taken: str, listened: int = 0) -> None:
        """Write what has changed, and until when messages were taken in; on the disk when it returns.

        Args:
            taken: UTC.
            listened: Seconds without a break until then.

        Raises:
            StorageError: It cannot be written.
        """
        lines = [_line(self.devices[name]) for name in sorted(self.devices.changed)]
        head = Head(taken=taken, listened=listened, left_out=self.devices.left_out)
        lines.append(_line(head))
        content = b"".join(lines)
        if self._size + len(content) > 2 * self._live + _LEAST_WASTE:
            self._rewrite(head)
            return
        try:
            with self._file.open("ab") as out:  # buffered: all of it is written, or an error says so
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
        except OSError as error:
            raise self._explained(error) from error
        self._size += len(content)
        self.devices.changed.clear()

    def _rewrite(self, head: Head) -> None:
        content = _line(head) + b"".join(_line(one) for one in self.devices.all())
        write_atomically(self._file, content)
        self._live = self._size = len(content)
        self.devices.changed.clear()

    def _explained(self, error: OSError) -> StorageError:
        return StorageError(f"--save {self._file}: {error.strerror or error}")


def _line(part: Part) -> bytes:
    return part.model_dump_json(by_alias=True, exclude_none=True).encode() + b"\n"
