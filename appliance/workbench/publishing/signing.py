"""Signatures of metadata that waits for them, and when there are enough. Works on a staging folder alone.

The folder is carried to whoever has a key, signed there, and carried back: no private key comes near the machine that
publishes.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from securesystemslib.signer import Signer, SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

from appliance.core.errors import ConfigError, UnavailableError
from appliance.workbench.publishing.repository import MODELS, read_metadata, versions_of, write_metadata

OFFLINE: Final = (Root.type, Targets.type, MODELS)
"""In the order in which they are accepted: each is verified by the one before it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far metadata is with its signatures.

    Attributes:
        role: Whose.
        version: Which.
        signed: Keys that have signed and count.
        wanted: How many there must be; of a root with other keys, of each set of keys.
        lacking: Ids of keys that have not signed and would count.
        is_enough: It can be published.
    """

    role: str
    version: int
    signed: int
    wanted: int
    lacking: tuple[str, ...]
    is_enough: bool


class Staging:
    """A folder of metadata that waits for signatures.

    Args:
        folder: `staging` of the publisher's folder, or a copy of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def roles(self) -> list[str]:
        """Give the roles that wait, in the order in which they are accepted."""
        return [role for role in OFFLINE if versions_of(self.folder, role)]

    def file(self, role: str) -> Path:
        """Give where the waiting metadata of a role lies.

        Raises:
            ConfigError: None waits.
        """
        versions = versions_of(self.folder, role)
        if not versions:
            raise ConfigError(f"{self.folder} has no {role} metadata that waits for signatures")
        return self.folder / f"{versions[-1]}.{role}.json"

    def staged(self, role: str) -> Metadata[Any]:
        """Give the waiting metadata of a role; see `file`."""
        return read_metadata(self.file(role))

    def before(self, role: str) -> Metadata[Any] | None:
        """Give what the waiting metadata of a role is to replace; None: it is the first."""
        file = self.folder / "before" / f"{role}.json"
        return read_metadata(file) if file.exists() else None

    def vouched(self, root: Metadata[Root]) -> dict[str, Metadata[Any]]:
        """Give what was published before, by role, as far as a signer's own root vouches for it.

        `before` comes from the machine that publishes: what was changed there as well would not show as a change.

        Args:
            root: Of the signer's own: the newest one, or one whose keys have signed that.
        """
        found: dict[str, Metadata[Any]] = {}
        delegator: Any = root.signed
        for role in OFFLINE:
            before = self.before(role)
            if before is None or not _is_verified(delegator, role, before):
                break
            if before.signed.version < (root.signed.version if role == Root.type else self._least_before(role)):
                break
            found[role], delegator = before, before.signed
        return found

    def standing(self, role: str) -> Standing:
        """Tell how far the waiting metadata of a role is.

        Raises:
            ConfigError: None waits, or what says who signs for it is missing.
        """
        metadata = self.staged(role)
        payload, signatures = metadata.signed_bytes, metadata.signatures
        if role == Root.type:
            before = self.before(role)
            try:
                both = metadata.signed.get_root_verification_result(before and before.signed, payload, signatures)
            except ValueError as error:
                raise ConfigError(f"{self.file(role)} does not follow on the root before it: {error}") from error
            wanted = max(both.first.threshold, both.second.threshold)
            return Standing(
                role, metadata.signed.version, len(both.signed), wanted, tuple(both.unsigned), both.verified
            )
        found = self._delegator(role).get_verification_result(role, payload, signatures)
        return Standing(
            role, metadata.signed.version, len(found.signed), found.threshold, tuple(found.unsigned), found.verified
        )

    def roles_of(self, key: SSlibKey) -> list[str]:
        """Give the waiting roles for which a key counts."""
        return [role for role in self.roles() if key.keyid in self._keyids(role)]

    def sign(self, role: str, signer: Signer) -> Standing:
        """Add a signature; tell how far it is now.

        Raises:
            StorageError: It cannot be written.
            UnavailableError: The key did not sign.
        """
        metadata = self.staged(role)
        try:
            metadata.sign(signer, append=True)
        except RepositoryError as error:
            raise UnavailableError(f"{role} was not signed: {error}; nothing was changed, try again") from error
        write_metadata(self.file(role), metadata)
        return self.standing(role)

    def _least_before(self, role: str) -> int:
        """Give the version that is replaced: an older one would hide what came back since."""
        return int(self.staged(role).signed.version) - 1 if versions_of(self.folder, role) else 0

    def _keyids(self, role: str) -> set[str]:
        if role == Root.type:
            before = self.before(role)
            roots = [self.staged(role).signed, *([before.signed] if before else [])]
            return {keyid for root in roots for keyid in root.roles[Root.type].keyids}
        return set(self._delegator(role).get_delegated_role(role).keyids)

    def _delegator(self, role: str) -> Any:
        name = Targets.type if role == MODELS else Root.type
        found = self.staged(name) if versions_of(self.folder, name) else self.before(name)
        if found is None:
            raise ConfigError(
                f"{self.folder} lacks before/{name}.json, which says who signs {role}; carry the whole folder"
            )
        return found.signed


def _is_verified(delegator: Any, role: str, metadata: Metadata[Any]) -> bool:
    try:
        found = delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
    except ValueError:  # it knows no such role
        return False
    return bool(found.verified)


def read_root(file: Path) -> Metadata[Root]:
    """Read a root of the signer's own.

    Raises:
        ConfigError: It is other metadata.
        ModelError: It is no metadata.
        StorageError: It cannot be read.
    """
    metadata = read_metadata(file)
    if not isinstance(metadata.signed, Root):
        raise ConfigError(f"{file} is {metadata.signed.type} metadata; accepted: a root, N.root.json")
    return metadata


def changes(staging: Staging, role: str, root: Metadata[Root] | None = None) -> list[str]:
    """Tell a signer all that the waiting metadata of a role changes, a line for each value.

    Nothing is left out, whatever it may be good for: what is signed may come from a machine that was broken into. What
    a terminal could take for a command is written as an escape.

    Args:
        staging: What waits.
        role: Of it.
        root: Of the signer's own; what it does not vouch for is shown whole, as if it were new. None: what is said to
            have been before is believed.
    """
    new = staging.staged(role).signed
    before = staging.before(role) if root is None else staging.vouched(root).get(role)
    now, was = _leaves(new.to_dict()), _leaves(before.signed.to_dict()) if before is not None else {}
    lines = [f"{role} version {new.version}, until {new.expires:%Y-%m-%d}"]
    for place in sorted(was.keys() | now.keys()):
        if now.get(place) != was.get(place):
            lines += [f"  - {place} = {was[place]}"] if place in was else []
            lines += [f"  + {place} = {now[place]}"] if place in now else []
    return lines


def _leaves(value: Any, at: str = "") -> dict[str, str]:
    """Give every value within another one by where it stands; of roles by their names, and in which order they are."""
    if isinstance(value, list) and value and all(isinstance(one, dict) and "name" in one for one in value):
        names = [one["name"] for one in value]
        value = {
            "(order)": names,
            **{f"{number}" if names.count(one["name"]) > 1 else one["name"]: one for number, one in enumerate(value)},
        }
    if not isinstance(value, dict) or not value:
        return {at: json.dumps(value)}
    found: dict[str, str] = {}
    for name, inner in value.items():
        shown = json.dumps(name)[1:-1].replace(">", "\\u003e")  # else one name could stand for several
        found |= _leaves(inner, f"{at} > {shown}" if at else shown)
    return found
