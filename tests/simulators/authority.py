"""A certificate authority for tests, by the `openssl` command."""

import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest


@dataclass(frozen=True)
class Pair:
    """A certificate and its key.

    Attributes:
        certificate: PEM.
        key: PEM, mode 0600.
    """

    certificate: Path
    key: Path


WRONG: Final = pytest.mark.parametrize(
    ("hosts", "days", "begin", "words", "fix"),
    [
        ("DNS:broker.example", 30, -1, "for another name", "[messaging] broker"),
        ("DNS:localhost", -1, -9, "has expired", "renew"),
        ("DNS:localhost", 30, 5, "not valid yet", "clock"),
    ],
    ids=["another name", "expired", "of tomorrow"],
)
"""What a broker's certificate can be wrong in, as `Authority.issue` makes it; what is told of it, and to be done."""


class Authority:
    """Signs certificates; skips the test where there is no openssl.

    Args:
        directory: Where its files go.
        name: Its common name.
    """

    def __init__(self, directory: Path, name: str = "Test authority") -> None:
        if shutil.which("openssl") is None:
            pytest.skip("openssl makes the certificates of this test, and is not installed")
        self._directory = directory
        self._name = name.replace(" ", "-")
        self._own = self._key(self._name)
        self.certificate = directory / f"{self._name}.pem"
        options = ["-x509", "-key", str(self._own), "-days", "3650", "-subj", f"/CN={name}"]
        _openssl("req", *options, "-out", str(self.certificate))

    def issue(self, name: str, *, hosts: str = "", days: int = 30, begin: int = -1, passphrase: str = "") -> Pair:
        """Give a certificate for a name.

        Args:
            name: Common name, and the files' name.
            hosts: subjectAltName: ``DNS:localhost,IP:127.0.0.1``; empty: none.
            days: Until when it is valid, in days from now; below zero: it has expired.
            begin: From when, likewise.
            passphrase: Of its key; empty: none.
        """
        key, certificate = self._key(name), self._directory / f"{name}.pem"
        request, config = self._directory / f"{name}.csr", self._directory / f"{name}.cnf"
        _openssl("req", "-new", "-key", str(key), "-subj", f"/CN={name}", "-out", str(request))
        names = f"subjectAltName={hosts}" if hosts else "basicConstraints=CA:FALSE"
        (self._directory / "index").touch()
        config.write_text(_CONFIG.format(directory=self._directory, names=names))
        dates = ["-startdate", _date(min(begin, days - 1)), "-enddate", _date(days)]
        signer = ["-cert", str(self.certificate), "-keyfile", str(self._own)]
        files = ["-config", str(config), "-in", str(request), "-out", str(certificate)]
        _openssl("ca", "-batch", "-notext", *signer, *files, *dates)
        if passphrase:
            locked = key.with_suffix(".locked")
            _openssl("ec", "-in", str(key), "-aes256", "-passout", f"pass:{passphrase}", "-out", str(locked))
            locked.chmod(0o600)
            return Pair(certificate, locked)
        return Pair(certificate, key)

    def _key(self, name: str) -> Path:
        key = self._directory / f"{name}.key"
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key))
        key.chmod(0o600)
        return key


_CONFIG = """
[ca]
default_ca = here
[here]
database = {directory}/index
new_certs_dir = {directory}
default_md = sha256
policy = any
rand_serial = yes
unique_subject = no
x509_extensions = names
[any]
commonName = supplied
[names]
{names}
"""


def _date(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y%m%d%H%M%SZ")


def _openssl(*arguments: str) -> None:
    made = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
