"""What the online keys do: take over what was signed offline, and sign rollouts, snapshot and timestamp.

Run after every change and by a timer: it is what tells devices that the fleet is alive.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from securesystemslib.signer import SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from appliance.core.errors import ConfigError, UnavailableError
from appliance.workbench.publishing.keys import AskSecret, ask_secret, open_signer
from appliance.workbench.publishing.repository import (
    MODELS,
    ROLLOUT,
    Repository,
    expiry,
    is_due,
    next_version,
)
from appliance.workbench.publishing.signing import OFFLINE, Staging, Standing

ISSUED: Final = "x-issued"
"""Field of the timestamp with the time at which it was signed: the lowest that a device without a clock takes."""

_REMIND = 60  # days before what is signed offline expires


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh did.

    Attributes:
        accepted: Roles whose waiting metadata is published now.
        waiting: What lacks signatures.
        signed: Roles that were signed online.
        reminders: What is to be signed offline soon.
        timestamp: Version of the timestamp.
    """

    accepted: tuple[str, ...]
    waiting: tuple[Standing, ...]
    signed: tuple[str, ...]
    reminders: tuple[str, ...]
    timestamp: int


def refresh(repository: Repository, now: datetime, ask: AskSecret = ask_secret) -> Refreshed:
    """Publish what has its signatures, and sign what is signed online.

    Nothing of it is seen by devices before the timestamp is there, which is written last.

    Args:
        repository: The publisher's folder, locked.
        now: UTC.
        ask: For secrets of the online keys.

    Raises:
        ConfigError: An online key is not there; or nothing is published, and nothing has its signatures.
        StorageError: The folder cannot be written to.
        UnavailableError: A key did not sign.
    """
    accepted, waiting = _accept(repository)
    root, targets = repository.current(Root.type), repository.current(Targets.type)
    if root is None or targets is None or repository.current(MODELS) is None:
        lacking = "; ".join(f"{one.role} has {one.signed} of {one.wanted} signatures" for one in waiting)
        raise ConfigError(f"nothing can be published yet: {lacking}; sign it: edgecam-workbench publish sign STAGING")
    online = _Online(repository, ask)
    signed = [role for role in channels_of(targets.signed) if _rollout(repository, online, targets.signed, role, now)]
    snapshot = _snapshot(repository, online, root.signed, now)
    signed += [Snapshot.type] if snapshot is not None else []
    timestamp = _timestamp(repository, online, root.signed, now)
    return Refreshed(tuple(accepted), tuple(waiting), (*signed, Timestamp.type), _reminders(repository, now), timestamp)


def publish_rollout(
    repository: Repository, role: str, change: Callable[[Targets], None], now: datetime, ask: AskSecret = ask_secret
) -> None:
    """Change the files of an online role, and sign it; devices see it after the next `refresh`.

    Args:
        repository: The publisher's folder, locked.
        role: ``rollout-CHANNEL``.
        change: Is given the next version, to change it.
        now: UTC.
        ask: For secrets of the online keys.

    Raises:
        ConfigError: There is no such channel, or its key is not there.
        UnavailableError: The key did not sign.
    """
    targets = delegator_of(repository, role)
    current = repository.current(role)
    metadata = (
        Metadata(Targets(version=1, expires=expiry(role, now))) if current is None else next_version(current, role, now)
    )
    change(metadata.signed)
    _Online(repository, ask).sign(metadata, role, targets)
    repository.publish(role, metadata)


def delegator_of(repository: Repository, role: str) -> Targets:
    """Give the published targets metadata, which says who signs a channel's rollouts.

    Args:
        repository: The publisher's folder.
        role: ``rollout-CHANNEL``.

    Raises:
        ConfigError: There is no such channel, or no fleet in the folder.
    """
    repository.online()
    targets: Any = repository.current(Targets.type)
    known = channels_of(targets.signed) if targets is not None else []
    if role not in known:
        channels = ", ".join(one.removeprefix(ROLLOUT) for one in known) or "none is published"
        raise ConfigError(f"there is no channel {role.removeprefix(ROLLOUT)}; known: {channels}")
    delegator: Targets = targets.signed
    return delegator


def channels_of(targets: Targets) -> list[str]:
    """Give the online roles that targets metadata delegates to."""
    roles = (targets.delegations and targets.delegations.roles) or {}
    return [name for name in roles if name.startswith(ROLLOUT)]


class _Online:
    """The keys that sign online, opened when they are needed."""

    def __init__(self, repository: Repository, ask: AskSecret) -> None:
        self._addresses = repository.online().keys
        self._ask = ask

    def sign(self, metadata: Metadata[Any], role: str, delegator: Any) -> None:
        """Sign with as many keys as it takes."""
        wanted = delegator.get_delegated_role(role)
        held = [keyid for keyid in wanted.keyids if keyid in self._addresses]
        if len(held) < wanted.threshold:
            raise ConfigError(
                f"{role} needs {wanted.threshold} online keys, and online.json knows {len(held)} of them; do: "
                f"edgecam-workbench publish rotate {role} --key PUBLIC --online ADDRESS"
            )
        metadata.signatures.clear()
        for keyid in held[: wanted.threshold]:
            key = delegator.get_key(keyid)
            if not isinstance(key, SSlibKey):
                raise ConfigError(f"{role}: the key {keyid[:16]} is of a kind that does not sign online")
            try:
                metadata.sign(open_signer(self._addresses[keyid], key, self._ask), append=True)
            except RepositoryError as error:
                raise UnavailableError(f"{role} was not signed: {error}; try again") from error


def _accept(repository: Repository) -> tuple[list[str], list[Standing]]:
    """Publish what has its signatures; give its roles, and how far the rest is."""
    staging = Staging(repository.staging)
    accepted: list[str] = []
    waiting: list[Standing] = []
    for role in OFFLINE:
        if role not in staging.roles():
            continue
        if repository.current(role) == staging.staged(role):  # a refresh was cut short after it had published this
            staging.file(role).unlink()
            continue
        standing = staging.standing(role)
        is_verified_by_waiting = any(one.role in {Root.type, Targets.type} for one in waiting)
        if not standing.is_enough or is_verified_by_waiting:
            waiting.append(standing)
            continue
        repository.publish(role, staging.staged(role))
        repository.put_before()
        staging.file(role).unlink()
        accepted.append(role)
    return accepted, waiting


def _rollout(repository: Repository, online: _Online, targets: Targets, role: str, now: datetime) -> bool:
    """Sign a channel's rollouts anew where that is due; tell whether it was."""
    current = repository.current(role)
    if current is not None and _is_verified(targets, role, current) and not is_due(role, current.signed, now):
        return False
    metadata = (
        Metadata(Targets(version=1, expires=expiry(role, now))) if current is None else next_version(current, role, now)
    )
    online.sign(metadata, role, targets)
    repository.publish(role, metadata)
    return True


def _snapshot(repository: Repository, online: _Online, root: Root, now: datetime) -> Metadata[Snapshot] | None:
    """Sign a snapshot where there is another version of anything, or it is due."""
    targets = repository.current(Targets.type)
    roles = [Targets.type, MODELS, *(channels_of(targets.signed) if targets is not None else ())]
    held = {f"{role}.json": MetaFile(found.signed.version) for role in roles if (found := repository.current(role))}
    current = repository.current(Snapshot.type)
    if current is None:
        metadata = Metadata(Snapshot(version=1, expires=expiry(Snapshot.type, now)))
    elif (
        current.signed.meta == held
        and _is_verified(root, Snapshot.type, current)
        and not is_due(Snapshot.type, current.signed, now)
    ):
        return None
    else:
        metadata = next_version(current, Snapshot.type, now)
    metadata.signed.meta = held
    online.sign(metadata, Snapshot.type, root)
    repository.publish(Snapshot.type, metadata)
    return metadata


def _timestamp(repository: Repository, online: _Online, root: Root, now: datetime) -> int:
    """Sign a timestamp, which says that all this is so now."""
    snapshot, current = repository.current(Snapshot.type), repository.current(Timestamp.type)
    if snapshot is None:
        raise ConfigError(f"{repository.folder} has no snapshot metadata; was it removed? Do: publish refresh")
    metadata = (
        Metadata(Timestamp(version=1, expires=expiry(Timestamp.type, now)))
        if current is None
        else next_version(current, Timestamp.type, now)
    )
    content = (repository.metadata / f"{snapshot.signed.version}.{Snapshot.type}.json").read_bytes()
    metadata.signed.snapshot_meta = MetaFile.from_data(snapshot.signed.version, content, ["sha256"])
    metadata.signed.unrecognized_fields[ISSUED] = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    online.sign(metadata, Timestamp.type, root)
    repository.publish(Timestamp.type, metadata)
    return int(metadata.signed.version)


def _is_verified(delegator: Any, role: str, metadata: Metadata[Any]) -> bool:
    return bool(delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures).verified)


def _reminders(repository: Repository, now: datetime) -> tuple[str, ...]:
    told = []
    for role in OFFLINE:
        found = repository.current(role)
        if found is not None and (left := (found.signed.expires - now).days) < _REMIND:
            do = f"edgecam-workbench publish renew {repository.folder} {role}"
            told.append(f"{role} expires in {left} days; sign it anew: {do}")
    return tuple(told)
