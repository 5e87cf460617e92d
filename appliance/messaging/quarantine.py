"""Puts a file that is corrupt aside, under a name that is free."""

from pathlib import Path

from appliance.core.errors import StorageError
from appliance.core.files import sync_directory


def put_aside(path: Path) -> Path:
    """Rename a database and its log; give its new name.

    Raises:
        StorageError: It cannot be renamed.
    """
    number = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    try:
        for suffix in ("", "-wal", "-journal"):
            file = path.with_name(path.name + suffix)
            if file.exists():
                file.rename(aside.with_name(aside.name + suffix))
        sync_directory(path.parent)
    except OSError as failure:
        raise StorageError(f"{path} is corrupt and cannot be renamed: {failure.strerror}") from failure
    return aside
