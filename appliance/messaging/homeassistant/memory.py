"""What Home Assistant was told of, kept over restarts: what is no more can be taken back, what was seen stays."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from appliance.core.errors import StorageError
from appliance.core.files import write_atomically
from appliance.messaging.homeassistant.subjects import Subject

FILE: Final = "homeassistant.json"
MOST_BYTES: Final = 256 << 10
MOST_SEEN: Final = 512  # labels and groups in places; what a picture shows decides how many there are

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Memory:
    """What Home Assistant was told of.

    Attributes:
        topic: Where, on the broker; empty: nowhere.
        platforms: Of each entity by its key, those included that it was told to forget.
        seen: What was seen so far.
    """

    topic: str = ""
    platforms: Mapping[str, str] = field(default_factory=dict)
    seen: frozenset[Subject] = frozenset()


def recall(state_dir: Path) -> Memory:
    """Read what was kept; nothing when there is nothing, or when it is damaged, which is logged."""
    path = state_dir / FILE
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return Memory()
    except OSError as error:
        _logger.warning("cannot read %s: %s; Home Assistant may keep entities that are no more", path, error.strerror)
        return Memory()
    try:
        return _parse(json.loads(content) if len(content) <= MOST_BYTES else None)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        _logger.warning("%s is damaged and begun anew; Home Assistant may keep entities that are no more", path)
        return Memory()


def keep(state_dir: Path, memory: Memory) -> None:
    """Write what is to be kept.

    Raises:
        StorageError: It cannot be written.
    """
    told = {
        "v": 1,
        "topic": memory.topic,
        "platforms": dict(memory.platforms),
        "seen": [[one.camera, one.zone, one.kind, one.name] for one in sorted(memory.seen)],
    }
    write_atomically(state_dir / FILE, json.dumps(told, separators=(",", ":")).encode())


def forget(state_dir: Path) -> None:
    """Keep nothing any more.

    Raises:
        StorageError: It cannot be deleted.
    """
    path = state_dir / FILE
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot delete {path}: {error.strerror}; check the disk and its mount options") from error


def _parse(told: Any) -> Memory:
    topic, platforms, seen = str(told["topic"]), dict(told["platforms"]), list(told["seen"])
    subjects = frozenset(Subject(*(str(part) for part in one)) for one in seen[:MOST_SEEN])
    return Memory(topic, {str(key): str(platform) for key, platform in platforms.items()}, subjects)
