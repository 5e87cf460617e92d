"""The publisher's folder: what is published, what waits for signatures, and which keys sign online.

::

    repository/metadata/   what `push` takes: N.ROLE.json, timestamp.json
    repository/targets/    likewise: files under their digest, DIGEST.NAME
    staging/               new metadata that lacks signatures; it is carried to whoever signs offline
    staging/before/        what it is to replace, so that the signer sees what changes
    online.json            addresses of the keys that sign snapshot, timestamp and rollouts; never published

The highest version of a role in ``repository/metadata`` is the one that counts.
"""

import fcntl
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Signed, Snapshot, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from appliance.core.errors import ConfigError, ModelError, StorageError, UnavailableError
from appliance.core.files import make_folder, write_atomically
from appliance.core.mistakes import explain
from appliance.core.part import Part

MODELS: Final = "models"
"""The offline role that signs releases."""

ROLLOUT: Final = "rollout-"
"""What the name of an online role begins with; the rest is its channel."""

CHANNEL: Final = re.compile(r"^[a-z0-9][a-z0-9-]{0,31}$")
ONLINE_NAME: Final = "online.json"
MOST_METADATA: Final = 5_000_000
"""Bytes of targets metadata that a device takes, as python-tuf's configuration has it."""

DAYS: Final = {"root": 365, "targets": 365, MODELS: 180, "snapshot": 21, "timestamp": 7}
"""For how long metadata holds; of rollouts as long as of `ROLLOUT_DAYS`."""

ROLLOUT_DAYS: Final = 14


class Online(Part):
    """The content of online.json.

    Attributes:
        schema_version: Of this format; `schema` in the file.
        keys: Address of the private key by the id of the public one.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    keys: dict[str, str] = Field(default_factory=dict, max_length=64)


class Repository:
    """The folder. One process at a time: take `locked` around whatever changes it.

    Args:
        folder: The publisher's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.published = folder / "repository"
        self.metadata = self.published / "metadata"
        self.targets_folder = self.published / "targets"
        self.staging = folder / "staging"

    @contextmanager
    def locked(self, *, is_new: bool = False) -> Iterator[None]:
        """Keep others out until the end of the block.

        Args:
            is_new: A fleet is begun: the folder is made where it is missing.

        Raises:
            ConfigError: There is no fleet in the folder.
            StorageError: The folder cannot be written to.
            UnavailableError: Another command is at work there.
        """
        if is_new:
            make_folder(self.folder)
        else:
            self.online()
        try:
            lock = (self.folder / ".lock").open("w")
        except OSError as error:
            raise StorageError(f"cannot write to {self.folder}: {error.strerror or error}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UnavailableError(f"another command is at work in {self.folder}; try again later") from error
            yield

    @property
    def is_begun(self) -> bool:
        """Whether there is a fleet in this folder, or one that waits for its first signatures."""
        return any(self.metadata.glob("*.root.json")) or any(self.staging.glob("*.root.json"))

    def online(self) -> Online:
        """Give the keys that sign online.

        Raises:
            ConfigError: There is no fleet here, or the file is damaged.
            StorageError: It cannot be read.
        """
        file = self.folder / ONLINE_NAME
        try:
            return Online.model_validate_json(file.read_bytes())
        except FileNotFoundError as error:
            raise ConfigError(
                f"{self.folder} is no publisher's folder: it has no {ONLINE_NAME}; begin with: "
                f"edgecam-workbench publish init {self.folder}"
            ) from error
        except OSError as error:
            raise StorageError(f"cannot read {file}: {error.strerror or error}") from error
        except ValidationError as error:
            raise ConfigError(
                f"{explain(error, file)}\n  it names the keys that sign online; put it back from a copy"
            ) from error

    def write_online(self, online: Online) -> None:
        """Keep the addresses of the keys that sign online; only the owner reads them."""
        make_folder(self.folder)
        content = json.dumps(online.model_dump(by_alias=True), indent=1).encode()
        write_atomically(self.folder / ONLINE_NAME, content + b"\n", mode=0o600)

    def current(self, role: str) -> Metadata[Any] | None:
        """Give the published metadata of a role; None: there is none yet.

        Raises:
            ModelError: It is damaged.
        """
        if role == Timestamp.type:
            file = self.metadata / "timestamp.json"
            return _read(file, role) if file.exists() else None
        versions = versions_of(self.metadata, role)
        return _read(self.metadata / f"{versions[-1]}.{role}.json", role) if versions else None

    def staged(self, role: str) -> Metadata[Any] | None:
        """Give metadata of a role that waits for signatures; None: there is none."""
        versions = versions_of(self.staging, role)
        return _read(self.staging / f"{versions[-1]}.{role}.json", role) if versions else None

    def newest(self, role: str) -> Metadata[Any] | None:
        """Give what is staged of a role, else what is published."""
        return self.staged(role) or self.current(role)

    def root(self) -> Metadata[Root]:
        """Give the newest root; see `newest`.

        Raises:
            ConfigError: There is no fleet here.
        """
        return self._must(Root.type)

    def targets(self) -> Metadata[Targets]:
        """Give the newest targets, which have no files, only delegations; see `newest`.

        Raises:
            ConfigError: There is no fleet here.
        """
        return self._must(Targets.type)

    def models(self) -> Metadata[Targets]:
        """Give the newest metadata of the releases; see `newest`.

        Raises:
            ConfigError: There is no fleet here.
        """
        return self._must(MODELS)

    def stage(self, role: str, metadata: Metadata[Any]) -> Path:
        """Put metadata where it waits for signatures, with what it is to replace beside it.

        What of this role waited before is replaced, whoever had signed it.

        Raises:
            StorageError: It cannot be written.
        """
        for version in versions_of(self.staging, role):
            (self.staging / f"{version}.{role}.json").unlink()
        self.put_before()
        return write_metadata(self.staging / f"{metadata.signed.version}.{role}.json", metadata)

    def put_before(self) -> None:
        """Put what is published beside what waits.

        Raises:
            StorageError: It cannot be written.
        """
        make_folder(self.staging / "before")
        for name in (Root.type, Targets.type, MODELS):
            if (held := self.current(name)) is not None:
                write_metadata(self.staging / "before" / f"{name}.json", held)

    def publish(self, role: str, metadata: Metadata[Any]) -> Path:
        """Put metadata among what is published.

        Raises:
            StorageError: It cannot be written.
        """
        make_folder(self.metadata)
        name = "timestamp.json" if role == Timestamp.type else f"{metadata.signed.version}.{role}.json"
        return write_metadata(self.metadata / name, metadata)

    def add_file(self, path: str, content: bytes) -> str:
        """Put a file among what is published, under its digest; give its SHA-256.

        Args:
            path: Of the target.
            content: Of the file.

        Raises:
            StorageError: It cannot be written.
        """
        digest = hashlib.sha256(content).hexdigest()
        folder, _, name = path.rpartition("/")
        file = self.targets_folder / folder / f"{digest}.{name}"
        if not (file.exists() and file.stat().st_size == len(content)):
            make_folder(file.parent)
            write_atomically(file, content)
        return digest

    def read_file(self, path: str, digest: str) -> bytes:
        """Give the content of a published file.

        Raises:
            ModelError: It is another one by now.
            StorageError: It cannot be read.
        """
        folder, _, name = path.rpartition("/")
        file = self.targets_folder / folder / f"{digest}.{name}"
        try:
            content = file.read_bytes()
        except OSError as error:
            raise StorageError(f"cannot read {file}: {error.strerror or error}") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise ModelError(f"{file} is not what its name says; put it back from a copy, or add the release again")
        return content

    def _must(self, role: str) -> Metadata[Any]:
        found = self.newest(role)
        if found is None:
            raise ConfigError(
                f"{self.folder} has no {role} metadata; begin with: edgecam-workbench publish init {self.folder}"
            )
        return found


def versions_of(folder: Path, role: str) -> list[int]:
    """Give the versions of a role's metadata in a folder, rising; none where there is no such folder.

    Raises:
        StorageError: The folder cannot be read.
    """
    pattern = re.compile(rf"([1-9][0-9]{{0,8}})\.{re.escape(role)}\.json")
    try:
        return sorted(int(found[1]) for one in folder.iterdir() if (found := pattern.fullmatch(one.name)))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StorageError(f"cannot read {folder}: {error.strerror or error}") from error


def read_metadata(file: Path) -> Metadata[Any]:
    """Read metadata; its signatures are not looked at.

    Raises:
        ModelError: It is no metadata.
        StorageError: It cannot be read.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_METADATA + 1)
        return Metadata.from_bytes(content)
    except OSError as error:
        raise StorageError(f"cannot read {file}: {error.strerror or error}") from error
    except RepositoryError as error:
        raise ModelError(f"{file} is no metadata: {error}") from error


def _read(file: Path, role: str) -> Metadata[Any]:
    """Read metadata of a role; see `read_metadata`."""
    metadata = read_metadata(file)
    kind = role if role in {Root.type, Snapshot.type, Timestamp.type} else Targets.type
    if metadata.signed.type != kind:
        raise ModelError(f"{file} is {metadata.signed.type} metadata, not {kind}; put it back from a copy")
    return metadata


def write_metadata(file: Path, metadata: Metadata[Any]) -> Path:
    """Write metadata; give where.

    Raises:
        ModelError: It is larger than devices take.
        StorageError: It cannot be written.
    """
    content = metadata.to_bytes(JSONSerializer(compact=True))
    if len(content) > MOST_METADATA:
        raise ModelError(
            f"{file.name} would have {len(content)} bytes, devices take {MOST_METADATA}; withdraw releases that nobody "
            "runs any more: edgecam-workbench publish withdraw"
        )
    write_atomically(file, content)
    return file


def expiry(role: str, now: datetime) -> datetime:
    """Give until when metadata of a role holds that is signed now."""
    days = ROLLOUT_DAYS if role.startswith(ROLLOUT) else DAYS[role]
    return (now + timedelta(days=days)).astimezone(UTC).replace(microsecond=0)


def is_due(role: str, signed: Signed, now: datetime) -> bool:
    """Tell whether metadata is to be signed anew: half of its time is over."""
    whole = expiry(role, now) - now
    return signed.expires - now < whole / 2


def next_version(metadata: Metadata[Any], role: str, now: datetime) -> Metadata[Any]:
    """Give metadata for the next version of a role, without signatures."""
    metadata.signed.version += 1
    metadata.signed.expires = expiry(role, now)
    metadata.signatures.clear()
    return metadata
