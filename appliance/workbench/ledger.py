"""What a search has found out so far, in a JSON file, so that one that was killed goes on where it was."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from appliance.core.errors import ConfigError, StorageError
from appliance.core.files import write_atomically

_VERSION = 1


class Ledger:
    """Figures by key, written to disk with each new one. Several searches share a file without mixing.

    Args:
        path: The file; made when the first figure comes.
        search: All that the figures depend on; another search starts empty.

    Attributes:
        path: The file.

    Raises:
        ConfigError: The file is there and is no ledger.
        StorageError: It cannot be read.
    """

    def __init__(self, path: Path, search: Mapping[str, Any]) -> None:
        self.path = path
        self._all = _read(path)
        name = hashlib.sha256(json.dumps(search, sort_keys=True).encode()).hexdigest()[:16]
        self._own: dict[str, Any] = self._all["searches"].setdefault(name, {"search": dict(search), "found": {}})

    def __iter__(self) -> Iterator[str]:
        """Give the keys, the earliest first."""
        return iter(self._own["found"])

    def get(self, key: str) -> Any:
        """Give what was found under this key; None when nothing was yet."""
        return self._own["found"].get(key)

    def put(self, key: str, value: Any) -> None:
        """Keep a figure, or what else JSON can hold.

        Raises:
            StorageError: The file cannot be written.
        """
        self._own["found"][key] = value
        write_atomically(self.path, json.dumps(self._all, indent=1).encode())


def _read(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {"version": _VERSION, "searches": {}}
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    try:
        found = json.loads(content)
        if found["version"] == _VERSION and isinstance(found["searches"], dict):
            return dict(found)
    except (ValueError, KeyError, TypeError):
        pass  # told below, as any other content
    raise ConfigError(f"{path} is there and keeps no search of version {_VERSION}; move it away or choose another file")
