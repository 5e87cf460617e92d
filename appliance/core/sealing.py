"""Models that are encrypted at rest: age (https://age-encryption.org/v1) through pyrage, which nothing else imports.

Bytes in, bytes out: what is opened is in memory only.
"""

import re
from collections.abc import Iterable
from types import ModuleType
from typing import Final

from appliance.core.errors import ConfigError, ModelError, UnsupportedError

SUFFIX: Final = ".age"
"""Ends the names of encrypted files."""

RECIPIENT: Final = r"^age1[02-9ac-hj-np-z]{58}$"
"""A public key of age: X25519 in Bech32."""

MOST_KEYS: Final = 8  # of a device: of the cohorts that it counts to, and while they change
_KEY: Final = re.compile(r"^AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}$")


class Keys:
    """Private keys that open encrypted models. Never part of a message, a log or a process's arguments.

    Args:
        text: Lines of an identity file, as age-keygen writes it: a key each; ``#`` begins a comment.
        where: Where it comes from, for messages.

    Attributes:
        recipients: Their public keys.

    Raises:
        ConfigError: There is no key in it, too many are, or one is none.
        UnsupportedError: pyrage is not installed.
    """

    def __init__(self, text: str, where: str) -> None:
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        if not 1 <= len(lines) <= MOST_KEYS or not all(map(_KEY.match, lines)):
            raise ConfigError(
                f"{where}: it holds no private keys of age; accepted: 1 to {MOST_KEYS} lines AGE-SECRET-KEY-1…, as "
                "`edgecam-workbench publish cohort-key` or age-keygen writes them"
            )
        age = _library()
        try:
            self._identities = [age.x25519.Identity.from_str(line) for line in lines]
        except age.IdentityError:  # its text is not repeated: it could hold the key
            raise ConfigError(f"{where}: a private key in it is damaged; copy it again") from None
        self.recipients = frozenset(str(one.to_public()) for one in self._identities)

    def __repr__(self) -> str:
        return f"Keys({len(self.recipients)})"

    def unseal(self, content: bytes, name: str) -> bytes:
        """Give what an encrypted file holds.

        Args:
            content: The file.
            name: What to call it in messages.

        Raises:
            ModelError: It is encrypted for others, or damaged.
        """
        age = _library()
        try:
            return bytes(age.decrypt(content, self._identities))
        except age.DecryptError as error:
            raise ModelError(
                f"{name} cannot be decrypted with the {len(self._identities)} keys that are here: {error}"
            ) from error


def seal(content: bytes, recipients: Iterable[str]) -> bytes:
    """Encrypt a file so that each of the recipients can open it; never the same bytes twice.

    Args:
        content: The file.
        recipients: Public keys.

    Raises:
        ConfigError: One is no public key of age, or there is none.
        UnsupportedError: pyrage is not installed.
    """
    age = _library()
    try:
        public = [age.x25519.Recipient.from_str(one) for one in recipients]
        return bytes(age.encrypt(content, public))
    except (age.RecipientError, age.EncryptError) as error:
        raise ConfigError(f"cannot encrypt: {error}; accepted: public keys of age, age1…") from error


def make_key() -> tuple[str, str]:
    """Give a new private key, as a line of an identity file, and its public key.

    Raises:
        UnsupportedError: pyrage is not installed.
    """
    made = _library().x25519.Identity.generate()
    return str(made), str(made.to_public())


def _library() -> ModuleType:
    try:
        import pyrage  # noqa: PLC0415 - 1 MB, and an extra: only where something is encrypted
    except ImportError as error:
        raise UnsupportedError("encrypted models need pyrage; do: pip install 'edgecam[protect]'") from error
    module: ModuleType = pyrage
    return module
