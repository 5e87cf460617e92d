"""A disk that forgets: what was written to it and not flushed is lost, in whole or in part, when its power goes.

The kernel mounts it through loop devices from a file served through /dev/fuse, so that what is still in the page cache
is lost as well. The file is served by a process of its own (this module, run as a program), which works on a copy: the
image itself only ever gets what was flushed, and at the cut what survives of the rest.
"""

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.powercut import kernel, recorder
from tests.powercut.cuts import surviving
from tests.powercut.recorder import FLUSH, WRITE, Operation

_ROOT: Final = Path(__file__).resolve().parents[2]
_END_WITHIN: Final = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class Lost:
    """What a cut took.

    Attributes:
        writes: Writes that had reached the disk and were not flushed.
        bytes: Bytes of them.
        lost_bytes: Bytes of them that are lost; what was in the page cache alone is lost as well, and not counted.
    """

    writes: int
    bytes: int
    lost_bytes: int


class ForgetfulDisk:
    """Serves an image until it is left, or cut; then the image holds what such a disk would.

    Args:
        image: The disk; nobody else may write to it meanwhile.
        folder: An empty one, beside the image: it needs as much room.

    Attributes:
        file: An open file, to be mounted by `kernel.mount_image`.
    """

    def __init__(self, image: Path, folder: Path) -> None:
        self._image, self._live, self._mount = image, folder / "live", folder / "served"
        self.file = -1

    def __enter__(self) -> Self:
        subprocess.run(["cp", "--sparse=always", self._image, self._live], check=True)
        self._mount.mkdir()
        requests = kernel.connect(self._mount)
        try:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.powercut.forgetful", str(requests), self._image, self._live],
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=(requests,),
                cwd=_ROOT,
            )
        finally:
            os.close(requests)
        self.file = os.open(self._mount / "disk", os.O_RDWR | os.O_CLOEXEC)
        return self

    def cut(self, share: float, seed: int) -> Lost:
        """Take the power away: from now on nothing reaches the image, though it is told that it does.

        Args:
            share: Of the unflushed writes that survive, from 0 to 1; some of them are torn.
            seed: Says which.
        """
        (self._mount / "marks").write_text(json.dumps({"share": share, "seed": seed}))
        assert self._server.stdout is not None
        return Lost(**json.loads(self._server.stdout.readline()))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, once nothing is mounted from it any more."""
        os.close(self.file)
        kernel.unmount(self._mount, is_detached=True)
        try:
            self._server.wait(_END_WITHIN)
        finally:
            self._server.kill()
            self._server.wait()
            if self._server.stdout is not None:
                self._server.stdout.close()
            self._live.unlink()
            self._mount.rmdir()


class _Image:
    """Gets what is flushed."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._unflushed: list[Operation] = []
        self._is_cut = False

    def note(self, operation: Operation) -> None:
        if self._is_cut:
            return
        if operation.kind == WRITE:
            self._unflushed.append(operation)
        elif operation.kind == FLUSH:
            self._keep(self._unflushed)
            self._unflushed.clear()
        else:
            self._cut(**json.loads(operation.data))

    def _cut(self, share: float, seed: int) -> None:
        self._is_cut = True
        survivors = list(surviving(self._unflushed, share, random.Random(seed)))
        self._keep(survivors)
        written, left = (sum(len(one.data) for one in some) for some in (self._unflushed, survivors))
        print(json.dumps({"writes": len(self._unflushed), "bytes": written, "lost_bytes": written - left}), flush=True)
        self._unflushed.clear()

    def _keep(self, operations: list[Operation]) -> None:
        for one in operations:
            os.pwrite(self._file, one.data, one.offset)


def main() -> None:
    """Serve: REQUESTS (number of an open file), IMAGE, LIVE."""
    requests, image, live = sys.argv[1:]
    with Path(image).open("r+b", buffering=0) as kept, Path(live).open("r+b", buffering=0) as served:
        disk = _Image(kept.fileno())
        recorder.serve(int(requests), served.fileno(), disk.note)
        # a disk that keeps its power has it all in the end
        disk.note(Operation(FLUSH))


if __name__ == "__main__":
    main()
