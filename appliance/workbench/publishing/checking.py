"""Looks at a repository as a device does: with the device's own client, from nothing but the root of trust."""

import hashlib
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from tuf.api.metadata import Targets

from appliance.core.errors import ConfigError, ModelError, StorageError, UnavailableError
from appliance.core.manifest import MOST_MODEL_BYTES
from appliance.updates.formats import Release, Rollout, Selection
from appliance.updates.trust import Target, Trust
from appliance.workbench.progress import with_progress
from appliance.workbench.publishing.adding import CUSTOM
from appliance.workbench.publishing.refreshing import channels_of
from appliance.workbench.publishing.repository import MODELS, read_metadata
from appliance.workbench.publishing.serving import RepositoryServer, serving

_TIMEOUT = 30.0
_MOST_ROLLOUT = 256 << 10


@dataclass(frozen=True, slots=True)
class Verified:
    """What a device would find.

    Attributes:
        releases: Name and version of each.
        rollouts: Path of each, with its state and share.
        files: How many files are there and are what was signed.
        size: Bytes of them.
    """

    releases: tuple[str, ...]
    rollouts: tuple[str, ...]
    files: int
    size: int


def verify(where: str, root: bytes, now: Callable[[], datetime] | None = None) -> Verified:
    """Verify a repository: signatures, every file, every release, every rollout and what it names.

    Args:
        where: A folder with ``metadata/`` and ``targets/``, or the address of one.
        root: The root metadata that devices have.
        now: UTC, for what has expired; by default the system's clock.

    Raises:
        ConfigError: There is no repository.
        ModelError: Something is not signed as it must be, or is another file than was signed.
        UnavailableError: It cannot be reached.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgecam-verify-")))
        url = where.rstrip("/")
        if "://" not in where:
            url = stack.enter_context(serving(RepositoryServer(Path(where))))
        trust = Trust(folder, f"{url}/metadata/", f"{url}/targets/", root, now=now)
        trust.refresh()
        return _Look(trust, folder).whole()


class _Look:
    """One look at a repository whose metadata is verified."""

    def __init__(self, trust: Trust, folder: Path) -> None:
        self._trust, self._folder = trust, folder
        self._files = self._size = 0

    def whole(self) -> Verified:
        releases, rollouts = [], []
        self._trust.find("models/any/any/manifest.toml")  # brings the role's metadata, whatever is there
        for path in with_progress(sorted(self._role(MODELS).targets), "verify"):
            target = self._look(path, MOST_MODEL_BYTES)[0]
            if CUSTOM in target.custom:
                releases.append(self._release(target))
        for role in channels_of(read_metadata(self._folder / "targets.json").signed):
            channel = role.partition("-")[2]
            self._trust.find(f"rollout/{channel}/any.json")
            rollouts += [self._rollout(path) for path in sorted(self._role(role).targets)]
        return Verified(tuple(releases), tuple(rollouts), self._files, self._size)

    def _role(self, role: str) -> Targets:
        targets: Any = read_metadata(self._folder / f"{role}.json").signed
        if not isinstance(targets, Targets):
            raise ModelError(f"{role} is no targets metadata")
        return targets

    def _look(self, path: str, most: int) -> tuple[Target, bytes]:
        """Bring a file and compare it with what was signed."""
        target = self._trust.find(path)
        if target is None:
            raise ModelError(f"{path} is signed by a role that may not sign it")
        if target.size > most:
            raise ModelError(f"{path} has {target.size} bytes, more than the {most} that devices take")
        content = _bring(target)
        if len(content) != target.size or hashlib.new(target.algorithm, content).hexdigest() != target.digest:
            raise ModelError(f"{target.url} is not what was signed")
        self._files, self._size = self._files + 1, self._size + len(content)
        return target, content

    def _release(self, target: Target) -> str:
        try:
            release = Release.model_validate(target.custom[CUSTOM])
        except ValidationError as error:
            raise ModelError(f"{target.path} is signed with a release that is none: {error}") from error
        for file in release.files.values():
            for path in (file.path, *(delta.path for delta in file.deltas)):
                if self._trust.find(path) is None:
                    raise ModelError(f"{target.path} names {path}, which nobody has signed")
        return f"{release.name} {release.version}"

    def _rollout(self, path: str) -> str:
        content = self._look(path, _MOST_ROLLOUT)[1]
        try:
            rollout = Rollout.model_validate_json(content)
        except ValidationError as error:
            raise ModelError(f"{path} is no rollout: {error}") from error
        for one in (*rollout.choose, *([rollout.rollback_to] if rollout.rollback_to else [])):
            self._check_selection(path, one)
        return f"{path} {rollout.state} {rollout.share_ppm / 10_000:g} %"

    def _check_selection(self, path: str, one: Selection) -> None:
        target = self._trust.find(one.path)
        if target is None or target.digest != one.sha256:
            raise ModelError(f"{path} names {one.path} with another digest than was signed offline")


def _bring(target: Target) -> bytes:
    request = urllib.request.Request(target.url, headers={"User-Agent": "edgecam"})  # noqa: S310 - Trust asked there too
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - likewise
            return bytes(answer.read(target.size + 1))
    except urllib.error.HTTPError as error:
        error.close()
        raise ModelError(f"{target.url} answers {error.code} {error.reason}: what was signed is not there") from error
    except (OSError, HTTPException) as error:
        raise UnavailableError(f"{target.url} cannot be reached: {getattr(error, 'reason', error)}") from error


def read_root(folder: Path) -> bytes:
    """Give the first root metadata of a repository's folder: what a device's package would have.

    Raises:
        ConfigError: There is none.
        StorageError: It cannot be read.
    """
    file = folder / "metadata" / "1.root.json"
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"{file} is missing; give the root that devices have: --root FILE") from error
    except OSError as error:
        raise StorageError(f"cannot read {file}: {error.strerror or error}") from error
