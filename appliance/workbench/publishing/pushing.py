"""Publishes a repository in the order in which devices can never see what is not there yet."""

from dataclasses import dataclass
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Timestamp

from appliance.core.errors import ConfigError, ModelError
from appliance.workbench.progress import with_progress
from appliance.workbench.publishing.repository import Repository
from appliance.workbench.publishing.serving import FOR_EVER, SHORT
from appliance.workbench.publishing.stores import Store

_TIMESTAMP = "metadata/timestamp.json"


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did.

    Attributes:
        files: How many were written.
        size: Bytes of them.
        there: How many were there already.
        timestamp: Version of the timestamp.
    """

    files: int
    size: int
    there: int
    timestamp: int


def push(repository: Repository, store: Store) -> Pushed:
    """Write what the store lacks: targets first, then metadata, and the timestamp last.

    A device sees what is new once the timestamp is there, and never a name that leads nowhere. Roots are the last
    before it, for devices follow them at once. A push that was cut short leaves devices with what they had; the next
    one goes on.

    Raises:
        ConfigError: Nothing was signed yet, or the store has a later timestamp or other metadata of the same version:
            somebody else publishes there.
        StorageError: A folder cannot be written to.
        UnavailableError: A store cannot be reached, or refuses.
    """
    timestamp = repository.current(Timestamp.type)
    if timestamp is None:
        raise ConfigError(f"{repository.folder} has no timestamp yet; do: edgecam-workbench publish refresh")
    content = (repository.published / _TIMESTAMP).read_bytes()
    _check_is_later(store, timestamp, content)
    metadata = sorted(_files(repository, "metadata"), key=_is_root)
    known = {path for path in with_progress(metadata, "compare") if _is_known(repository, store, path)}
    written = size = there = 0
    for path in with_progress([*_files(repository, "targets"), *metadata], "push"):
        file = (repository.published / path).read_bytes()
        if path in known or (path not in metadata and store.size(path) == len(file)):  # a target's name is its digest
            there += 1
        else:
            store.write(path, file, FOR_EVER)
            written, size = written + 1, size + len(file)
    store.write(_TIMESTAMP, content, SHORT)
    return Pushed(written + 1, size + len(content), there, timestamp.signed.version)


def _files(repository: Repository, part: str) -> list[str]:
    """Give the files of a part, without the timestamp and what is being written."""
    found = sorted((repository.published / part).rglob("*"))
    paths = [one.relative_to(repository.published).as_posix() for one in found if one.is_file()]
    return [path for path in paths if path != _TIMESTAMP and not path.rpartition("/")[2].startswith(".")]


def _is_root(path: str) -> bool:
    return path.endswith(f".{Root.type}.json")


def _is_known(repository: Repository, store: Store, path: str) -> bool:
    """Tell whether metadata is there.

    Raises:
        ConfigError: There is other metadata of that version, which devices and caches keep.
    """
    there = store.read(path)
    if there is not None and there != (repository.published / path).read_bytes():
        raise ConfigError(
            f"the store has another {path} than this folder: somebody publishes from another copy; bring this folder "
            "up to that one first, or remove it from the store where it is damaged"
        )
    return there is not None


def _check_is_later(store: Store, timestamp: Metadata[Any], content: bytes) -> None:
    there = store.read(_TIMESTAMP)
    if there is None or there == content:
        return
    try:
        version = Metadata[Timestamp].from_bytes(there).signed.version
    except RepositoryError as error:
        raise ModelError(f"{_TIMESTAMP} of the store is no metadata: {error}; is it the right place?") from error
    if version >= timestamp.signed.version:
        raise ConfigError(
            f"the store has timestamp {version}, this folder another {timestamp.signed.version}: somebody publishes "
            "from another copy; bring this folder up to that one first"
        )
