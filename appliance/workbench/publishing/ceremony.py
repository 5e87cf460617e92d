"""Who may sign what: how a fleet begins, and how a role gets other keys. What comes of it waits for signatures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from securesystemslib.signer import SSlibKey
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, Snapshot, Targets, Timestamp

from appliance.core.errors import ConfigError
from appliance.workbench.publishing.repository import (
    CHANNEL,
    MODELS,
    ROLLOUT,
    Online,
    Repository,
    expiry,
    next_version,
)

MODEL_PATHS: Final = ("models/*/*/*", "models/*/*/golden/*", "deltas/*/*")
"""What the role `models` may sign; a ``*`` does not go over a ``/``."""

_OF_ROOT = (Root.type, Targets.type, Snapshot.type, Timestamp.type)


@dataclass(frozen=True, slots=True)
class Holders:
    """Who signs for a role.

    Attributes:
        keys: Public keys.
        threshold: How many of them must sign.
    """

    keys: Sequence[SSlibKey]
    threshold: int

    def check(self, role: str) -> None:
        """Refuse what could never be signed, or by one key counted twice.

        Raises:
            ConfigError: There are fewer keys than must sign, or one is there twice.
        """
        if len({key.keyid for key in self.keys}) != len(self.keys):
            raise ConfigError(f"{role}: a key is there twice; each must be another one")
        if not 1 <= self.threshold <= len(self.keys):
            raise ConfigError(
                f"{role}: {self.threshold} of {len(self.keys)} keys must sign; accepted: 1 to {len(self.keys)}"
            )


def begin(
    repository: Repository,
    offline: Mapping[str, Holders],
    *,
    online: SSlibKey,
    address: str,
    channels: Sequence[str],
    now: datetime,
) -> None:
    """Stage the first metadata of a fleet.

    Args:
        repository: An empty publisher's folder.
        offline: Who signs for ``root``, ``targets`` and ``models``.
        online: The key of snapshot, timestamp and rollouts.
        address: Of its private key.
        channels: Of rollouts.
        now: UTC.

    Raises:
        ConfigError: There is a fleet already, or keys or channels are not accepted.
        StorageError: The folder cannot be written to.
    """
    if repository.is_begun:
        raise ConfigError(
            f"{repository.folder} has a fleet already; to change its keys: edgecam-workbench publish rotate"
        )
    for role, holders in offline.items():
        holders.check(role)
    root = Root(version=1, expires=expiry(Root.type, now), consistent_snapshot=True)
    for role in _OF_ROOT:
        _give(root, role, offline.get(role, Holders((online,), 1)))
    targets = Targets(version=1, expires=expiry(Targets.type, now), delegations=Delegations({}, {}))
    _delegate(targets, MODELS, offline[MODELS])
    for channel in channels:
        _delegate(targets, f"{ROLLOUT}{channel}", Holders((online,), 1))
    repository.write_online(Online(keys={online.keyid: address}))
    repository.stage(Root.type, Metadata(root))
    repository.stage(Targets.type, Metadata(targets))
    repository.stage(MODELS, Metadata(Targets(version=1, expires=expiry(MODELS, now))))


def rotate(repository: Repository, role: str, holders: Holders, address: str | None, now: datetime) -> list[str]:
    """Stage other keys for a role; give the roles that are to be signed now.

    A role ``rollout-CHANNEL`` that is not there yet is begun.

    Args:
        repository: The publisher's folder.
        role: Whose keys change.
        holders: Who signs for it from now on.
        address: Of the private key, for a role that is signed online.
        now: UTC.

    Raises:
        ConfigError: There is no such role, or the keys are not accepted.
    """
    holders.check(role)
    is_rollout = role.startswith(ROLLOUT)
    if role not in {*_OF_ROOT, MODELS} and not is_rollout:
        raise ConfigError(f"{role} is no role; known: {', '.join((*_OF_ROOT, MODELS))}, {ROLLOUT}CHANNEL")
    is_online = is_rollout or role in {Snapshot.type, Timestamp.type}
    if is_online != (address is not None):
        raise ConfigError(
            f"{role} is signed {'online: give --online ADDRESS' if is_online else 'offline: no --online'}"
        )
    delegator = Root.type if role in _OF_ROOT else Targets.type
    changed = draft(repository, delegator, now)
    if delegator == Root.type:
        _give(changed.signed, role, holders)
    else:
        _delegate(changed.signed, role, holders)
    repository.stage(delegator, changed)
    staged = [delegator]
    if role in {Targets.type, MODELS}:  # what the keys before have signed does not count any more
        repository.stage(role, draft(repository, role, now))
        staged.append(role)
    if address is not None:
        keys = repository.online().keys | {key.keyid: address for key in holders.keys}
        repository.write_online(Online(keys=keys))
    return staged


def draft(repository: Repository, role: str, now: datetime) -> Metadata[Any]:
    """Give metadata of a role to be changed: what is staged, else the next version; without signatures.

    Raises:
        ConfigError: There is no fleet here.
    """
    staged = repository.staged(role)
    if staged is not None:
        staged.signatures.clear()
        staged.signed.expires = expiry(role, now)
        return staged
    current = repository.current(role)
    if current is None:
        raise ConfigError(f"{repository.folder} has no {role} metadata; begin with: edgecam-workbench publish init")
    return next_version(current, role, now)


def _give(root: Root, role: str, holders: Holders) -> None:
    for keyid in list(root.roles[role].keyids):
        root.revoke_key(keyid, role)
    for key in holders.keys:
        root.add_key(key, role)
    root.roles[role].threshold = holders.threshold


def _delegate(targets: Targets, role: str, holders: Holders) -> None:
    channel = role.removeprefix(ROLLOUT)
    if role != MODELS and not CHANNEL.fullmatch(channel):
        raise ConfigError(f"{channel!r} is no name of a channel; accepted: a-z, 0-9, -, at most 32")
    paths = list(MODEL_PATHS) if role == MODELS else [f"rollout/{channel}/*"]
    delegations = targets.delegations
    if delegations is None or delegations.roles is None:
        raise ConfigError("the targets metadata has no delegations; it was not made by edgecam-workbench")
    if role in delegations.roles:
        for keyid in list(delegations.roles[role].keyids):
            targets.revoke_key(keyid, role)
    delegations.roles[role] = DelegatedRole(role, [], holders.threshold, terminating=True, paths=paths)
    for key in holders.keys:
        targets.add_key(key, role)
