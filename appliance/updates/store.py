"""Where models from the fleet lie, under what they are; and the file that says how far the device is with them.

Below ``models`` in the state's folder::

    state.json            what is in service, what was before, what is under way; see `state.State`
    releases/SHA256/      a whole release, by the SHA-256 of its manifest; release.json names its other files' digests
    incoming/SHA256/      what has come of one
    rubbish/              what is being removed
    trust/                what the fleet has signed, as far as it was verified

Whatever moves into `releases` is whole and on the disk before; whatever is removed leaves it first. A power cut at any
point therefore leaves whole releases there, and at most something in the other two that nobody needs.
"""

import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from appliance.core.digest import sha256_of_file
from appliance.core.errors import ModelError, StorageError
from appliance.core.files import make_folder, remove_leftovers, sync_directory, write_atomically
from appliance.core.manifest import MANIFEST_NAME, MOST_MODEL_BYTES
from appliance.core.part import Part
from appliance.updates.formats import Release, Sha256
from appliance.updates.refusals import Code, RefusedError
from appliance.updates.state import State

FOLDER: Final = "models"
TRUST: Final = "trust"
STATE_NAME: Final = "state.json"
RELEASE_NAME: Final = "release.json"
_BROKEN = ".broken"
_MOST_STATE = 256 << 10
_MOST_RELEASE = 256 << 10


class StoredFile(Part):
    """A file of a release.

    Attributes:
        sha256: Of its content.
        size: Bytes.
    """

    sha256: Sha256
    size: Annotated[int, Field(ge=0, le=MOST_MODEL_BYTES)]


class Stored(Part):
    """What release.json says of the folder that it lies in.

    Attributes:
        schema_version: Of this format; `schema` in the file.
        release: What was signed about it.
        files: All files but this one, by name, the manifest among them.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    release: Release
    files: Annotated[dict[str, StoredFile], Field(min_length=1, max_length=65)]


class Store:
    """The folder. Used by one process at a time (the daemon's lock sees to it) and one thread.

    Args:
        state_dir: Where the state is kept.
    """

    def __init__(self, state_dir: Path) -> None:
        self.folder = state_dir / FOLDER
        self._lost = ""

    @property
    def lost(self) -> str:
        """That what was kept was damaged, as `read` found it, while that lies aside; empty: it was not, or does not."""
        return self._lost if os.path.lexists(broken_file(self.folder.parent)) else ""

    def read(self) -> State:
        """Give what is kept; what cannot be read is put aside, told in `lost`, and nothing is in service then.

        Raises:
            StorageError: The file is there, and the disk does not give it; or does not let it be put aside.
        """
        file = self.folder / STATE_NAME
        self._lost = put_aside(self.folder.parent)
        try:
            with file.open("rb") as opened:
                content = opened.read(_MOST_STATE + 1)
        except FileNotFoundError:
            return State()
        except OSError as error:
            raise StorageError(f"cannot read {file}: {error.strerror or error}") from error
        try:
            return State.model_validate_json(content)  # one that is too large was cut off, and is no JSON
        except ValidationError as error:
            aside = broken_file(self.folder.parent)
            self._lost = f"the record of releases was damaged and is put aside as {aside}: {_first_line(error)}"
            try:
                file.replace(aside)
            except OSError as moved:
                raise StorageError(f"{self._lost}; it cannot be: {moved.strerror or moved}") from moved
            return State()

    def write(self, state: State) -> None:
        """Keep a state; after a power cut it is this one or the one before.

        Raises:
            StorageError: It cannot be written.
        """
        make_folder(self.folder)
        write_atomically(self.folder / STATE_NAME, state.model_dump_json(by_alias=True).encode())

    def release_folder(self, sha256: str) -> Path:
        """Give where a release lies, or would."""
        return self.folder / "releases" / sha256

    def incoming_folder(self, sha256: str) -> Path:
        """Give where a release is brought to; made when it is not there.

        Raises:
            StorageError: It cannot be made.
        """
        folder = self.folder / "incoming" / sha256
        make_folder(folder)
        return folder

    def has(self, sha256: str) -> bool:
        """Tell whether a release is here; that its files are what they were is `check`'s affair."""
        return (self.release_folder(sha256) / RELEASE_NAME).is_file()

    def describe(self, sha256: str) -> Stored:
        """Read what is known of a release that is here.

        Raises:
            ModelError: It is not here, or its description is damaged.
        """
        file = self.release_folder(sha256) / RELEASE_NAME
        try:
            with file.open("rb") as opened:
                return Stored.model_validate_json(opened.read(_MOST_RELEASE))
        except OSError as error:
            raise ModelError(f"cannot read {file}: {error.strerror or error}") from error
        except ValidationError as error:
            raise ModelError(f"{file} is damaged: {_first_line(error)}") from error

    def check(self, sha256: str) -> Path:
        """See that a release's files are what they were when they came; give its folder.

        Raises:
            ModelError: One is missing or another one by now: the disk, or somebody, has changed it.
        """
        folder = self.release_folder(sha256)
        stored = self.describe(sha256)
        if stored.files.get(MANIFEST_NAME) is None or stored.files[MANIFEST_NAME].sha256 != sha256:
            raise ModelError(f"{folder} is not the release that its name says")
        for name, file in stored.files.items():
            if not _is(folder / name, file):
                raise ModelError(f"{folder / name} is missing or damaged; the release is brought again")
        return folder

    def adopt(self, sha256: str, release: Release, files: Mapping[str, StoredFile]) -> Path:
        """Make what has come a release that is here: it is verified, put on the disk, then moved as a whole.

        Args:
            sha256: Of its manifest.
            release: What was signed about it.
            files: What it consists of, by name, the manifest among them.

        Raises:
            RefusedError: A file is not what was signed.
            StorageError: It cannot be written.
        """
        incoming, folder = self.incoming_folder(sha256), self.release_folder(sha256)
        for name, file in files.items():
            if not _is(incoming / name, file):
                raise RefusedError(Code.HASH, f"{name} of {release.name} {release.version} is not what was signed")
        stored = Stored(release=release, files=dict(files))
        try:
            for name in files:
                _sync(incoming / name)
            for part in {(incoming / name).parent for name in files}:
                _remove_others(part, {incoming / name for name in files})
                sync_directory(part)
            write_atomically(incoming / RELEASE_NAME, stored.model_dump_json(by_alias=True).encode())
            self._throw_away(folder)
            make_folder(folder.parent)
            incoming.replace(folder)
            sync_directory(folder.parent)
            sync_directory(incoming.parent)
        except OSError as error:
            raise StorageError(f"cannot keep {release.name} {release.version}: {error.strerror or error}") from error
        return folder

    def find(self, sha256: str) -> Path | None:
        """Give a file of a release that is here, by its digest as it was when it came; None: there is none."""
        for file in sorted(self.folder.glob(f"releases/*/{RELEASE_NAME}")):
            try:
                stored = self.describe(file.parent.name)
            except ModelError:
                continue  # whoever needs that release is told
            for name, one in stored.files.items():
                if one.sha256 == sha256:
                    return file.parent / name
        return None

    def collect(self, state: State, *, keeps_incoming: bool = False) -> list[str]:
        """Remove what a state does not need, and what power cuts have left; give the releases that were removed.

        Args:
            state: What is kept.
            keeps_incoming: What has come of a release stays, though none is under way: it may be planned again.

        Raises:
            StorageError: The disk does not let go of it.
        """
        removed = []
        for folder in (self.folder, *(self.folder / TRUST / part for part in ("", "root_history", "rollouts"))):
            remove_leftovers(folder)
        try:
            for kept, place in ((state.kept, "releases"), (_coming(state), "incoming")):
                for folder in () if keeps_incoming and place == "incoming" else sorted(self.folder.glob(f"{place}/*")):
                    if folder.name not in kept:
                        removed += [folder.name] if place == "releases" else []
                        self._throw_away(folder)
            self._empty_rubbish()
        except OSError as error:
            raise StorageError(f"cannot remove old models: {error.strerror or error}") from error
        return removed

    def free_bytes(self) -> int:
        """Give how many bytes are free where models are kept.

        Raises:
            StorageError: The folder cannot be made.
        """
        make_folder(self.folder)
        return shutil.disk_usage(self.folder).free

    def _throw_away(self, folder: Path) -> None:
        if not folder.exists():
            return
        rubbish = self.folder / "rubbish"
        make_folder(rubbish)
        self._empty_rubbish()
        folder.replace(rubbish / folder.name)
        sync_directory(folder.parent)
        self._empty_rubbish()

    def _empty_rubbish(self) -> None:
        for folder in self.folder.glob("rubbish/*"):
            shutil.rmtree(folder)


def glance(state_dir: Path) -> State | None:
    """Read what is kept, and change nothing; None: nothing is, it is damaged, or it is not this user's to see.

    Args:
        state_dir: Where the state is kept.
    """
    try:
        with (state_dir / FOLDER / STATE_NAME).open("rb") as opened:
            return State.model_validate_json(opened.read(_MOST_STATE + 1))
    except (OSError, ValidationError):
        return None


def put_aside(state_dir: Path) -> str:
    """Tell that what was kept was damaged once, and lies aside; empty: nothing does, or it is not this user's to see.

    Changes nothing.

    Args:
        state_dir: Where the state is kept.
    """
    aside = broken_file(state_dir)
    try:
        when = datetime.fromtimestamp(aside.lstat().st_mtime, UTC)
    except OSError:
        return ""
    return f"the record of releases, written at {when:%Y-%m-%d %H:%M} UTC, was damaged and is put aside as {aside}"


def broken_file(state_dir: Path) -> Path:
    """Give where what was damaged lies aside, or would.

    Args:
        state_dir: Where the state is kept.
    """
    return state_dir / FOLDER / f"{STATE_NAME}{_BROKEN}"


def how_to_forget(state_dir: Path) -> str:
    """Tell what to do about a record that lies aside, one line.

    Args:
        state_dir: Where the state is kept.
    """
    again = "edgecam model update brings a release again, which ends this"
    return f"{again}; where none is to come, see to the disk and: sudo rm {broken_file(state_dir)}"


def _remove_others(folder: Path, known: set[Path]) -> None:
    """Remove parts that nothing came of: a release has the files that were signed, and no other."""
    for path in folder.iterdir():
        if path not in known and not path.is_dir():
            path.unlink()


def _is(path: Path, file: StoredFile) -> bool:
    try:
        is_plain = path.is_file() and not path.is_symlink() and path.stat().st_size == file.size
        return is_plain and sha256_of_file(path) == file.sha256
    except OSError:
        return False


def _coming(state: State) -> frozenset[str]:
    return frozenset() if state.update is None else frozenset({state.update.release.sha256})


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"
    return str(error).partition("\n")[0]
