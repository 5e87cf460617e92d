"""Puts a release among what waits for signatures, its files among what is published, and deltas beside them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from pydantic import ValidationError
from tuf.api.metadata import TargetFile, Targets

from appliance.core.errors import ConfigError, ModelError
from appliance.core.manifest import MANIFEST_NAME
from appliance.updates.formats import Delta, Licence, Plain, Release, ReleaseFile
from appliance.workbench.progress import with_progress
from appliance.workbench.publishing.ceremony import draft
from appliance.workbench.publishing.deltas import Made, is_tried, make_delta
from appliance.workbench.publishing.release import Contents
from appliance.workbench.publishing.repository import MODELS, Repository
from appliance.workbench.publishing.sealing import sealed

CUSTOM: Final = "edgecam"
"""Under what a release stands in a target's custom metadata."""

WITHDRAWN: Final = "x-withdrawn"
"""Field of the role's metadata with the counters that are used up; devices do not look at it."""

BASES: Final = 3
"""Of how many releases before a delta is made."""


@dataclass(frozen=True, slots=True)
class Released:
    """A release that is signed, or waits to be.

    Attributes:
        path: Of its manifest, in the repository.
        sha256: Of its manifest.
        release: What is said about it.
    """

    path: str
    sha256: str
    release: Release


@dataclass(frozen=True, slots=True)
class TriedDelta:
    """A delta, kept or not.

    Attributes:
        file: Name of the file that it leads to.
        version: Of the release that it begins with.
        size: Bytes.
        whole: Bytes of the whole file.
        packed: Bytes of the whole file, compressed.
        is_kept: It is published.
    """

    file: str
    version: str
    size: int
    whole: int
    packed: int
    is_kept: bool


@dataclass(frozen=True, slots=True)
class Added:
    """What came of adding a model.

    Attributes:
        released: The release.
        size: Bytes of all its files.
        deltas: What was tried.
    """

    released: Released
    size: int
    deltas: tuple[TriedDelta, ...]


def releases_in(targets: Targets, name: str | None = None) -> list[Released]:
    """Give the releases that metadata of the role `models` has, by name, then rising counter.

    Args:
        targets: The metadata.
        name: Of one model; None: of all.

    Raises:
        ModelError: One is not as the format has it.
    """
    found = []
    for path, target in targets.targets.items():
        custom = (target.unrecognized_fields.get("custom") or {}).get(CUSTOM)
        if custom is None:
            continue
        try:
            release = Release.model_validate(custom)
        except ValidationError as error:
            raise ModelError(f"{path} is signed with a release that is none: {error}") from error
        found.append(Released(path, target.hashes["sha256"], release))
    found.sort(key=lambda one: (one.release.name, one.release.counter))
    return [one for one in found if name in {None, one.release.name}]


def find_release(targets: Targets, name: str, version: str) -> Released:
    """Give one release.

    Raises:
        ConfigError: There is none; the message names those that there are.
    """
    released = releases_in(targets, name)
    found = next((one for one in released if one.release.version == version), None)
    if found is None:
        known = ", ".join(one.release.version for one in released) or "none"
        raise ConfigError(f"there is no release {version} of {name}; known: {known}")
    return found


def add(
    repository: Repository,
    contents: Contents,
    now: datetime,
    *,
    security_floor: int = 0,
    may_return_to: Sequence[str] = (),
    encrypt_to: Sequence[str] = (),
) -> Added:
    """Stage a release.

    Args:
        repository: The publisher's folder, locked.
        contents: Of the model's folder.
        now: UTC.
        security_floor: Counter below which nothing runs any more once this release was seen.
        may_return_to: Versions that a rollout of this release may go back to.
        encrypt_to: Public keys of age that its weights are encrypted for; empty: they are published in the clear.

    Raises:
        ConfigError: Its version is there already, or what it may return to is not.
        StorageError: The folder cannot be written to.
    """
    metadata = draft(repository, MODELS, now)
    targets: Targets = metadata.signed
    name, version = contents.manifest.name, contents.manifest.version
    before = releases_in(targets, name)
    if any(one.release.version == version for one in before):
        raise ConfigError(
            f"{name} {version} is there already, and a release never changes; give the manifest another version"
        )
    if security_floor > (counter := _next_counter(targets, name)):
        raise ConfigError(
            f"a security floor of {security_floor} would forbid this release itself, which is number {counter}"
        )
    contents, files, tried, deltas = _prepared(repository, contents, before, targets, encrypt_to)
    release = Release(
        schema=1,
        name=name,
        version=version,
        counter=counter,
        task=contents.manifest.task,
        requires=contents.terms.requires,
        metrics=contents.metrics,
        licence=_licence(contents),
        provenance=contents.provenance,
        files=files,
        security_floor=security_floor,
        may_downgrade_to=tuple(find_release(targets, name, one).sha256 for one in may_return_to),
        recipients=tuple(encrypt_to),
    )
    for path, content in deltas.items():
        _sign_for(targets, repository, path, content)
    for file, content in contents.files.items():
        _sign_for(targets, repository, files[file].path, content)
    custom = release.model_dump(mode="json", by_alias=True, exclude_none=True)
    _sign_for(targets, repository, path := f"{_folder(contents)}/{MANIFEST_NAME}", contents.text, custom)
    repository.stage(MODELS, metadata)
    size = len(contents.text) + sum(map(len, contents.files.values()))
    return Added(Released(path, hashlib.sha256(contents.text).hexdigest(), release), size, tuple(tried))


def _next_counter(targets: Targets, name: str) -> int:
    """Give the number of the next release: above all there were, those that were withdrawn included."""
    given = [one.release.counter for one in releases_in(targets, name)]
    return max([_withdrawn(targets).get(name, 0), *given]) + 1


def withdraw(repository: Repository, name: str, version: str, now: datetime) -> Released:
    """Stage the releases without one; give it. Its files stay where they are, signed by nobody.

    Raises:
        ConfigError: There is no such release.
    """
    metadata = draft(repository, MODELS, now)
    targets: Targets = metadata.signed
    gone = find_release(targets, name, version)
    del targets.targets[gone.path]
    highest = max(gone.release.counter, _withdrawn(targets).get(name, 0))
    targets.unrecognized_fields[WITHDRAWN] = _withdrawn(targets) | {name: highest}
    named = {path for one in releases_in(targets, name) for path in _named(one)}  # a delta may be another's as well
    for path in _named(gone):
        if path not in named:
            targets.targets.pop(path, None)
    repository.stage(MODELS, metadata)
    return gone


def _withdrawn(targets: Targets) -> dict[str, int]:
    """Give the highest counter of a release that was withdrawn, by the model's name: no other one gets it."""
    return dict(targets.unrecognized_fields.get(WITHDRAWN) or {})


def _named(released: Released) -> list[str]:
    files = released.release.files.values()
    return [path for file in files for path in (file.path, *(delta.path for delta in file.deltas))]


def _prepared(
    repository: Repository, contents: Contents, before: list[Released], targets: Targets, encrypt_to: Sequence[str]
) -> tuple[Contents, dict[str, ReleaseFile], list[TriedDelta], dict[str, bytes]]:
    """Give what is published of a model, how it is signed, and its deltas, those that do not pay among the tried."""
    plain: Mapping[str, Plain] = {}
    if encrypt_to:
        contents, plain = sealed(contents, encrypt_to, partial(_sealed_before, repository, before, targets, encrypt_to))
    folder = _folder(contents)
    files, tried, deltas = _files(repository, contents, before[-BASES:], targets, folder)
    files |= {file: files[file].model_copy(update={"plain": held}) for file, held in plain.items()}
    return contents, files, tried, deltas


def _folder(contents: Contents) -> str:
    return f"models/{contents.manifest.name}/{contents.manifest.version}"


def _files(
    repository: Repository, contents: Contents, bases: Iterable[Released], targets: Targets, folder: str
) -> tuple[dict[str, ReleaseFile], list[TriedDelta], dict[str, bytes]]:
    files, tried, kept = {}, [], {}
    weights = {artifact.file for artifact in contents.manifest.artifacts}
    for name in with_progress(list(contents.files), "deltas"):
        content = contents.files[name]
        deltas: list[Delta] = []
        for base in reversed(list(bases)) if name in weights and is_tried(content) else ():
            found = _delta(repository, base, targets, name, content)
            if found is None:
                continue
            from_digest, made = found
            tried.append(TriedDelta(name, base.release.version, made.size, made.whole, made.packed, made.is_worth_it))
            if made.is_worth_it and all(delta.base != from_digest for delta in deltas):
                to_digest = hashlib.sha256(content).hexdigest()
                path = f"deltas/{contents.manifest.name}/{from_digest[:16]}-{to_digest[:16]}.bsdiff4"
                deltas.append(Delta(base=from_digest, path=path))
                kept[path] = made.content
        files[name] = ReleaseFile(path=f"{folder}/{name}", deltas=tuple(deltas))
    return files, tried, kept


def _sealed_before(
    repository: Repository, before: Sequence[Released], targets: Targets, recipients: Sequence[str], sha256: str
) -> bytes | None:
    """Give an encrypted file of an earlier release that holds the same for the same recipients; None: there is none."""
    for one in before:
        for file in one.release.files.values() if set(one.release.recipients) == set(recipients) else ():
            target = targets.targets.get(file.path)
            if file.plain is not None and file.plain.sha256 == sha256 and target is not None:
                return repository.read_file(file.path, target.hashes["sha256"])
    return None


def _delta(
    repository: Repository, base: Released, targets: Targets, name: str, content: bytes
) -> tuple[str, Made] | None:
    """Give what a file was in another release, and the delta from there; None: it was not there, or the same."""
    file = base.release.files.get(name)
    target = targets.targets.get(file.path) if file is not None else None
    if file is None or target is None:
        return None
    digest = target.hashes["sha256"]
    if digest == hashlib.sha256(content).hexdigest():
        return None
    return digest, make_delta(repository.read_file(file.path, digest), content)


def _sign_for(
    targets: Targets, repository: Repository, path: str, content: bytes, custom: dict[str, Any] | None = None
) -> None:
    """Have the metadata speak for a file, and put it where it is published."""
    target = TargetFile.from_data(path, content, ["sha256"])
    if custom is not None:
        target.unrecognized_fields["custom"] = {CUSTOM: custom}
    repository.add_file(path, content)
    targets.targets[path] = target


def _licence(contents: Contents) -> Licence:
    terms = contents.terms
    return Licence(spdx=contents.manifest.licence, notice=terms.notice, uses=terms.uses, expires=terms.expires)
