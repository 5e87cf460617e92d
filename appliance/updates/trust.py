"""What the fleet has signed: the only module that speaks to the TUF library.

The root of trust comes with the package and is given anew at every start, so that nothing on disk can replace it. What
was verified is kept, so that older metadata is known for what it is; it is written so that a power cut leaves the old
or the new, never an empty file (the library itself does not sync).

The Update Framework, specification 1.0.34: https://theupdateframework.github.io/specification/latest/.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

from tuf.api import exceptions as tuf
from tuf.api.metadata import TargetFile, Timestamp
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from appliance.core.errors import StorageError, UnavailableError
from appliance.core.files import make_folder, sync_directory, write_atomically
from appliance.updates.fetcher import MetadataFetcher
from appliance.updates.refusals import Code, RefusedError

_CODES: Final[tuple[tuple[type[Exception], Code], ...]] = (
    (tuf.EqualVersionNumberError, Code.ROLLBACK),
    (tuf.BadVersionNumberError, Code.ROLLBACK),
    (tuf.ExpiredMetadataError, Code.EXPIRED),
    (tuf.UnsignedMetadataError, Code.BAD_SIGNATURE),
    (tuf.LengthOrHashMismatchError, Code.HASH),
    (tuf.DownloadLengthMismatchError, Code.ENDLESS),
    (tuf.RepositoryError, Code.INVALID),
)
_MOMENT: Final = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z"
_DIGITS: Final[dict[Literal["sha256", "sha512"], int]] = {"sha256": 64, "sha512": 128}


@dataclass(frozen=True, slots=True)
class Target:
    """A file that the fleet has signed.

    Attributes:
        path: In the repository.
        url: Where it lies.
        size: Bytes.
        algorithm: Of the digest: ``sha256`` or ``sha512``.
        digest: Of its content, in hexadecimal, lower case.
        custom: What is signed about it.
    """

    path: str
    url: str
    size: int
    algorithm: Literal["sha256", "sha512"]
    digest: str
    custom: dict[str, Any] = field(default_factory=dict)


class Trust:
    """A fleet's signed metadata. One instance is one check: `refresh` once, then `find`. Owned by one thread.

    Args:
        folder: Where verified metadata is kept; made when it is not there.
        metadata_url: Where the fleet's metadata lies.
        targets_url: Where its files lie.
        root: The root metadata that came with the package.
        now: UTC, for what has expired; by default the system's clock.
        fetcher: Brings metadata.

    Raises:
        RefusedError: The root of trust is none.
        StorageError: The folder cannot be written to.
    """

    def __init__(
        self,
        folder: Path,
        metadata_url: str,
        targets_url: str,
        root: bytes,
        *,
        now: Callable[[], datetime] | None = None,
        fetcher: FetcherInterface | None = None,
    ) -> None:
        make_folder(folder / "root_history")
        self._targets_url = targets_url if targets_url.endswith("/") else f"{targets_url}/"
        with _explained():
            self._updater = _DurableUpdater(
                str(folder), metadata_url, fetcher=fetcher or MetadataFetcher(), config=UpdaterConfig(), bootstrap=root
            )
        if now is not None:
            self._updater.judge_by(now().astimezone(UTC))

    def refresh(self) -> None:
        """Bring and verify what has changed.

        Raises:
            RefusedError: Something is not signed as it must be, older than what was seen, expired, or too large.
            StorageError: It cannot be kept.
            UnavailableError: The fleet cannot be reached, or sends too slowly.
        """
        with _explained():
            self._updater.refresh()

    def find(self, path: str) -> Target | None:
        """Look for a file through the roles that may sign it; None when none of them does.

        Raises:
            RefusedError: As for `refresh`; also when no digest that is known is signed.
            StorageError: As for `refresh`.
            UnavailableError: As for `refresh`.
        """
        with _explained():
            found = self._updater.get_targetinfo(path)
        return None if found is None else self._target(found)

    @property
    def timestamp(self) -> int:
        """Version of the timestamp that was verified."""
        return self._updater.timestamp.version

    @property
    def issued(self) -> str | None:
        """When the timestamp was signed, as it says itself, UTC; None: it does not say.

        Raises:
            RefusedError: It names no time, or one at which what was signed offline has ended: it would be kept, and
                nothing that anybody signs could be believed again.
        """
        told = self._updater.timestamp.unrecognized_fields.get("x-issued")
        if told is None:
            return None
        end = self._updater.offline_until
        try:
            is_time = bool(re.fullmatch(_MOMENT, told)) and datetime.fromisoformat(told) <= end
        except (TypeError, ValueError):
            is_time = False
        if not is_time:
            why = f"the timestamp says that it was signed at {str(told)[:40]!r}"
            accepted = f"a time in UTC until {end:%Y-%m-%d}, when root or targets end"
            raise RefusedError(Code.INVALID, f"{why}; accepted: {accepted}")
        return str(told)

    def _target(self, found: TargetFile) -> Target:
        algorithm = next((name for name in _DIGITS if _is_digest(found.hashes.get(name, ""), _DIGITS[name])), None)
        if algorithm is None:
            raise RefusedError(Code.INVALID, f"{found.path} is signed without a SHA-256 or SHA-512 in lower case")
        digest = found.hashes[algorithm]
        folder, slash, name = found.path.rpartition("/")
        stored = f"{folder}{slash}{digest}.{name}" if self._updater.is_consistent else found.path
        custom = found.unrecognized_fields.get("custom") or {}
        return Target(found.path, self._targets_url + quote(stored), found.length, algorithm, digest, custom)


def _is_digest(text: str, digits: int) -> bool:
    return len(text) == digits and not set(text) - set("0123456789abcdef")


class _DurableUpdater(Updater):
    """The library's workflow; what it keeps survives power cuts."""

    @property
    def is_consistent(self) -> bool:
        """Whether files lie under names that begin with their hash."""
        return bool(self._trusted_set.root.consistent_snapshot)

    @property
    def timestamp(self) -> Timestamp:
        """The timestamp that was verified."""
        return self._trusted_set.timestamp

    @property
    def offline_until(self) -> datetime:
        """When the first of root and targets ends."""
        return min(self._trusted_set.root.expires, self._trusted_set.targets.expires)

    def judge_by(self, now: datetime) -> None:
        """Take another time for the present."""
        self._trusted_set.reference_time = now

    def _persist_file(self, filename: str, data: bytes) -> None:
        _keep(Path(filename), data)

    def _update_root_symlink(self) -> None:
        # never read again, for the root comes with the package; there for people
        version, history = self._trusted_set.root.version, Path(self._dir, "root_history")
        if not (history / f"{version + 1}.root.json").exists():  # else a later one is found in a moment
            _keep(Path(self._dir, "root.json"), (history / f"{version}.root.json").read_bytes())


def _keep(path: Path, data: bytes) -> None:
    """Write a file that survives power cuts; one that is there already is not written again, which spares the flash."""
    try:
        is_there = path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        is_there = False
    if is_there:
        sync_directory(path.parent)  # whoever wrote it may have been killed before
    else:
        write_atomically(path, data)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (tuf.DownloadLengthMismatchError, tuf.RepositoryError) as error:
        code = next(code for kind, code in _CODES if isinstance(error, kind))
        raise RefusedError(code, f"the fleet's metadata is refused: {error}") from error
    except tuf.DownloadError as error:
        raise UnavailableError(f"the fleet cannot be asked: {error}; it is tried again") from error
    except OSError as error:
        raise StorageError(f"the fleet's metadata cannot be kept: {error}; is the disk full or read-only?") from error
