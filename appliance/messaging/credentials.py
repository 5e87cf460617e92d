"""What a device shows the broker: read anew when its files change, the old kept until the new has worked."""

import ssl
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from appliance.config import MessagingSettings, Secret
from appliance.core.errors import ConfigError

Stamp = tuple[tuple[str, int, int, int] | None, ...]
"""Of each file its path, inode, time of change and size; None: it is not there. Differs when any was replaced."""


@dataclass(frozen=True, slots=True)
class Papers:
    """User name, password and certificates of one moment.

    Attributes:
        stamp: Of the files they were read from.
        username: None: without.
        password: None: without. Never shown.
        context: For TLS; None: without.
    """

    stamp: Stamp
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    context: "ssl.SSLContext | None" = field(default=None, repr=False)


class Credentials:
    """Gives the papers to connect with. Owned by the link's thread.

    Args:
        settings: Where they are.
        is_secure: TLS is spoken.
        monotonic: The clock, in seconds.

    Attributes:
        complaint: What is the matter with the newest papers while older ones are in use; empty: nothing.
    """

    REFUSED_FOR = 900.0
    """Seconds for which papers that were refused are not shown again while others work and no file changes."""

    def __init__(
        self, settings: MessagingSettings, *, is_secure: bool, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.complaint = ""
        self._settings, self._is_secure, self._monotonic = settings, is_secure, monotonic
        self._proven: Papers | None = None
        self._seen: Stamp = self._stamp()
        self._bad: Stamp | None = None
        self._bad_until = 0.0

    def choose(self) -> Papers:
        """Give the newest papers; those that worked last while the newest cannot be read or were refused.

        Raises:
            ConfigError: They cannot be read, and there are none that worked before.
        """
        stamp = self._seen = self._stamp()
        if self._proven is not None and stamp == self._bad and self._monotonic() < self._bad_until:
            return self._proven
        try:
            return self._read(stamp)
        except ConfigError as error:
            if self._proven is None:
                raise
            self._note_bad(stamp, str(error))
            return self._proven

    def worked(self, papers: Papers) -> None:
        """Note that the broker took these: older ones are forgotten."""
        self._proven = papers
        if papers.stamp == self._bad or self._bad != self._stamp():
            self._bad, self.complaint = None, ""

    def refused(self, papers: Papers, why: str) -> bool:
        """Note that these were refused; tell whether others are worth a try at once."""
        if self._proven is None:
            return False
        if papers is self._proven:
            self._bad = None  # the newest may have become right meanwhile
            return False
        self._note_bad(papers.stamp, why)
        return True

    def have_changed(self) -> bool:
        """Tell whether a file was replaced since papers were chosen or checked last."""
        return self._stamp() != self._seen

    def check(self) -> bool:
        """Tell whether the newest papers can be read, and note in `complaint` why not."""
        stamp = self._seen = self._stamp()
        try:
            self._read(stamp)
        except ConfigError as error:
            self._note_bad(stamp, str(error))
            return False
        return True

    def _note_bad(self, stamp: Stamp, why: str) -> None:
        self._bad, self._bad_until, self.complaint = stamp, self._monotonic() + self.REFUSED_FOR, why

    def _stamp(self) -> Stamp:
        tls = self._settings.tls
        files = [_path_of(secret) for _, secret in self._secrets()]
        if self._is_secure:
            files += [tls.ca_file, tls.cert_file, tls.key_file]
        return tuple(None if file is None else _stamp_of(file) for file in files)

    def _secrets(self) -> list[tuple[str, Secret]]:
        both = (("username_from", self._settings.username_from), ("password", self._settings.password))
        return [(name, value) for name, value in both if value is not None]

    def _read(self, stamp: Stamp) -> Papers:
        read = {name: secret.read(f"messaging.{name}") for name, secret in self._secrets()}
        return Papers(
            stamp,
            read.get("username_from", self._settings.username),
            read.get("password"),
            self._tls_context() if self._is_secure else None,
        )

    def _tls_context(self) -> "ssl.SSLContext":
        tls = self._settings.tls
        try:
            context = ssl.create_default_context(cafile=tls.ca_file)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise ConfigError(f"[messaging.tls] certificates cannot be used: ca_file {tls.ca_file}: {error}") from error
        if not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if tls.cert_file is not None and tls.key_file is not None:
            _load_own(context, tls.cert_file, tls.key_file)
        return context


def _load_own(context: "ssl.SSLContext", cert_file: Path, key_file: Path) -> None:
    def no_passphrase() -> str:
        raise ValueError(
            f"{key_file} is encrypted; write it without a passphrase, mode 0600"
        )  # else it asks a terminal

    try:
        if stat.S_IMODE(key_file.stat().st_mode) & 0o077:
            raise ConfigError(f"[messaging.tls] key_file: others can read {key_file}; do: chmod 600 {key_file}")
        context.load_cert_chain(cert_file, key_file, password=no_passphrase)
    except (OSError, ValueError) as error:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            what = f"key_file {key_file} does not belong to cert_file {cert_file}"
        else:
            what = f"cert_file {cert_file}, key_file {key_file}: {error}"
        raise ConfigError(f"[messaging.tls] certificates cannot be used: {what}") from error


def _path_of(secret: Secret) -> Path | None:
    try:
        return secret.path("")
    except ConfigError:
        return None  # whoever reads it is told


def _stamp_of(file: Path) -> tuple[str, int, int, int] | None:
    try:
        found = file.stat()  # behind a link: credentials are often rotated by pointing it elsewhere
    except OSError:
        return None
    return str(file), found.st_ino, found.st_mtime_ns, found.st_size
