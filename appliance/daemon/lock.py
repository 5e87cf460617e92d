"""One daemon for one state directory."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.core.errors import StorageError, UnavailableError


@contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """Make the state directory and keep it for this process alone: two writers would tear the outbox.

    Raises:
        StorageError: It cannot be written to.
        UnavailableError: Another process has it.
    """
    path = state_dir / "lock"
    try:
        state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        file = path.open("a+", encoding="ascii")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StorageError(
            f"cannot write to the state directory {state_dir}: {reason}; choose another with --state-dir"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UnavailableError(
                f"another edgecam uses the state directory {state_dir}; stop it or choose another with --state-dir"
            ) from error
        yield
