"""The report's file: a .tar.gz of bounded size, for its owner alone."""

import io
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.files import write_atomically

MOST_MEMBER_BYTES: Final = 1 << 20
MOST_BYTES: Final = 8 << 20  # of all members, before they are packed


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the report.

    Attributes:
        name: Its name, without a folder.
        what: What it is, one line, for who looks through it before it is sent.
        content: Text, scrubbed.
    """

    name: str
    what: str
    content: str

    @property
    def data(self) -> bytes:
        """What is packed: of a longer text the end, which is the newest of a log."""
        data = self.content.encode("utf-8", "replace")
        if len(data) <= MOST_MEMBER_BYTES:
            return data
        cut = f"({len(data) - MOST_MEMBER_BYTES} bytes before this are left out)\n".encode()
        return cut + data[-MOST_MEMBER_BYTES + len(cut) :]


def pack(members: Sequence[Member], folder: str) -> bytes:
    """Give the report; members that would make it larger than `MOST_BYTES` are left out, and named.

    Args:
        members: The most important first.
        folder: In which they lie once it is unpacked.
    """
    packed, left_out, total = io.BytesIO(), [], 0
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for member in members:
            data = member.data
            if total + len(data) > MOST_BYTES:
                left_out.append(member.name)
                continue
            total += len(data)
            _add(archive, f"{folder}/{member.name}", data)
        listed = "".join(f"{member.name:<20} {member.what}\n" for member in members if member.name not in left_out)
        more = f"\nleft out, as the report would be too large: {', '.join(left_out)}\n" if left_out else ""
        _add(archive, f"{folder}/CONTENTS.txt", (listed + more).encode())
    return packed.getvalue()


def write_report(path: Path, members: Sequence[Member], owner: tuple[int, int] | None = None) -> int:
    """Write the report with mode 0600; give its size in bytes.

    Args:
        path: Where.
        members: The most important first.
        owner: Numbers of the user and group it is for; None: whoever calls.

    Raises:
        StorageError: It cannot be written there.
    """
    content = pack(members, path.name.removesuffix(".gz").removesuffix(".tar"))
    write_atomically(path, content, mode=0o600, owner=owner)
    return len(content)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
    archive.addfile(entry, io.BytesIO(data))
