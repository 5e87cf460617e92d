"""A folder that several processes of one test run use at once: the first one fills it, the last one removes it."""

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(folder: Path, fill: Callable[[Path], None], locks: Path) -> Iterator[Path]:
    """Give a folder with what `fill` puts into an empty one; nobody may write to it.

    Args:
        folder: Of this name for all who share it.
        fill: Called in one of them, while the others wait.
        locks: A folder for files that are locked, the same for all who share it; it stays.
    """
    made = folder.with_suffix(".new")
    with (locks / "filled").open("w") as filled, (locks / "used").open("w") as used:
        fcntl.flock(filled, fcntl.LOCK_EX)
        if not folder.exists():
            made.mkdir()
            try:
                fill(made)
                made.rename(folder)
            finally:
                shutil.rmtree(made, ignore_errors=True)
        fcntl.flock(used, fcntl.LOCK_SH)
        fcntl.flock(filled, fcntl.LOCK_UN)
        try:
            yield folder
        finally:
            fcntl.flock(filled, fcntl.LOCK_EX)
            try:
                fcntl.flock(used, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass  # another one uses it still, and removes it
            else:
                shutil.rmtree(folder)
