"""Keys that sign for a fleet: key files of our own, and whatever securesystemslib reaches by an address."""

import getpass
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.exceptions import KeyMismatchError, UnsupportedLibraryError
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, Signer, SSlibKey

from appliance.core.command import answered
from appliance.core.errors import ConfigError, EdgecamError, StorageError, UnsupportedError
from appliance.core.files import make_folder, write_atomically

FILE: Final = "file2:"
"""Scheme of a key file's address, as securesystemslib has it."""

PUBLIC: Final = ".pub"
"""What the name of a public key's file ends with, beside its private one."""

PASSPHRASE_FILE: Final = "EDGECAM_PASSPHRASE_FILE"  # noqa: S105 - the name of a variable
"""Variable of the environment that names a file with a passphrase or a PIN, for where there is no terminal."""

_MOST_KEY = 64 << 10
_MOST_SECRET = 1024  # bytes; more than anybody types
_WITHOUT_TERMINAL = f"run it in a terminal, or name a file that holds it and is yours alone: {PASSPHRASE_FILE}=FILE"
_SEALED = b"ENCRYPTED PRIVATE KEY"

AskSecret = Callable[[str], str]
"""Is told what is wanted (``passphrase of root-1.pem``), and gives it."""


def ask_secret(what: str) -> str:
    """Ask a person for a passphrase or a PIN, which is not shown, or take it from the file that was named.

    Raises:
        ConfigError: Nobody is there to be asked, or the file holds none or can be read by others.
        StorageError: The file cannot be read.
    """
    if (given := _given_secret()) is not None:
        return given
    with answered(what, _WITHOUT_TERMINAL):
        return getpass.getpass(f"{what}: ")


def ask_new_secret(what: str) -> str:
    """Ask a person for a new passphrase, twice, or take it from the file that was named; see `ask_secret`."""
    if (given := _given_secret()) is not None:
        return given
    with answered(what, _WITHOUT_TERMINAL):
        while True:
            first = getpass.getpass(f"{what}: ")
            if first and first == getpass.getpass("The same again: "):
                return first
            click.echo("the two are not the same" if first else "it must not be empty", err=True)


def make_key(file: Path, passphrase: str) -> SSlibKey:
    """Make an Ed25519 key pair: `file`, which only its owner reads, and beside it the public key that is given away.

    Args:
        file: Of the private key, PEM (PKCS#8).
        passphrase: That it is encrypted with; empty: it is not.

    Raises:
        ConfigError: One of that name is there.
        StorageError: It cannot be written.
    """
    if file.exists() or _public_file(file).exists():
        raise ConfigError(f"{file} is there already and is not written over; give another name")
    make_folder(file.parent)
    key = Ed25519PrivateKey.generate()
    seal = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    write_atomically(file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, seal), mode=0o600)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    try:
        write_atomically(_public_file(file), public)
    except StorageError:
        file.unlink()  # else the name is taken, by a key that nobody can be given
        raise
    return SSlibKey.from_crypto(key.public_key())


def read_public(file: Path) -> SSlibKey:
    """Read a public key: PEM, as `make_key`, openssl, PKCS#11 tools and key services give it.

    Raises:
        ConfigError: There is none in that file, or of a kind that nobody verifies.
        StorageError: It cannot be read.
    """
    try:
        return SSlibKey.from_crypto(load_pem_public_key(_read(file)))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{file} is no public key in PEM: {error}; accepted: Ed25519, ECDSA (P-256, P-384), RSA; a private key's "
            f"public one lies beside it: {_public_file(Path('KEY.pem'))}"
        ) from error


def public_of(address: str, public: Path | None) -> SSlibKey:
    """Give the public key that belongs to the private one of an address.

    Args:
        address: Of the private key.
        public: File of the public one; None: it lies beside the private one's file.

    Raises:
        ConfigError: It is none, or not to be found.
        StorageError: It cannot be read.
    """
    if public is None and not address.startswith(FILE):
        raise ConfigError(f"{address} needs --public FILE as well: the public key that belongs to it, in PEM")
    return read_public(public or _public_file(Path(address.removeprefix(FILE))))


def lasting(address: str) -> str:
    """Give an address that stands for the same key wherever a command is run from: a timer's folder is another one."""
    return f"{FILE}{Path(address.removeprefix(FILE)).absolute()}" if address.startswith(FILE) else address


def check_address(address: str) -> None:
    """See that what an address names can be there: a key file's does not have to be opened for that.

    Raises:
        ConfigError: There is no such file, or no such kind of address.
    """
    scheme = address.partition(":")[0]
    if scheme not in SIGNER_FOR_URI_SCHEME:
        known = ", ".join(f"{one}:" for one in sorted(SIGNER_FOR_URI_SCHEME))
        raise ConfigError(f"{address} is no address of a key; known: {known}")
    if address.startswith(FILE) and not Path(address.removeprefix(FILE)).is_file():
        raise ConfigError(f"{address}: there is no such file; make a key: edgecam-workbench publish key FILE")


def open_signer(address: str, key: SSlibKey, ask: AskSecret = ask_secret) -> Signer:
    """Give what signs with a private key.

    Args:
        address: ``file2:FILE``, ``hsm:…`` (PKCS#11), ``awskms:…``, ``gcpkms:…``, ``azurekms:…``, ``hv:…``.
        key: The public key that belongs to it.
        ask: For a passphrase or a PIN.

    Raises:
        ConfigError: The key is not there, is another one, or the passphrase is wrong.
        StorageError: Its file cannot be read.
        UnsupportedError: What reaches such keys is not installed.
    """
    check_address(address)
    if address.startswith(FILE):
        return _from_file(Path(address.removeprefix(FILE)), key, ask)
    try:
        return Signer.from_priv_key_uri(address, key, ask)
    except UnsupportedLibraryError as error:
        raise _not_installed(address.partition(":")[0], error) from error
    except EdgecamError:  # of whom was asked for the PIN
        raise
    except Exception as error:  # its documentation says that vendors' errors come through as they are
        raise ConfigError(f"the key {address} cannot be used: {error}") from error


def _from_file(file: Path, key: SSlibKey, ask: AskSecret) -> Signer:
    """Give what signs with a key file; the library's own would not open one with a passphrase."""
    content = _read_own(file)
    secret = ask(f"passphrase of {file}").encode() if _SEALED in content else None
    try:
        return CryptoSigner(load_pem_private_key(content, secret), key)
    except KeyMismatchError as error:
        raise ConfigError(f"{file} is not the private key of the public key {key.keyid[:12]}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{file} cannot be opened: {error}; was the passphrase right, and is it a private key in PEM (PKCS#8)?"
        ) from error


def _given_secret() -> str | None:
    """Give the first line of the file that was named; None: none was."""
    if not (name := os.environ.get(PASSPHRASE_FILE)):
        return None
    line = _read_own(Path(name)).split(b"\n", 1)[0].removesuffix(b"\r")
    try:
        secret = line.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{PASSPHRASE_FILE}: the first line of {name} is no UTF-8") from error
    if not 0 < len(line) <= _MOST_SECRET:
        raise ConfigError(f"{PASSPHRASE_FILE}: the first line of {name} has 1 to {_MOST_SECRET} bytes, not {len(line)}")
    return secret


def _read_own(file: Path) -> bytes:
    return _read(file, is_own=True)


def _read(file: Path, *, is_own: bool = False) -> bytes:
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode  # of what is read, whatever has the name by then
            if is_own and stat.S_ISREG(mode) and mode & 0o077:
                raise ConfigError(f"{file} can be read by others than its owner; do: chmod 600 {file}")
            content = opened.read(_MOST_KEY + 1)
    except OSError as error:
        raise StorageError(f"cannot read {file}: {error.strerror or error}") from error
    if len(content) > _MOST_KEY:
        raise ConfigError(f"{file} is larger than {_MOST_KEY} bytes: it is no key")
    return content


def _public_file(file: Path) -> Path:
    return file.with_name(f"{file.name}{PUBLIC}")


def _not_installed(scheme: str, error: Exception) -> UnsupportedError:
    extra = {"hsm": "hsm", "awskms": "awskms", "gcpkms": "gcpkms", "azurekms": "azurekms", "hv": "vault"}.get(scheme)
    do = f"; do: pip install 'securesystemslib[{extra}]'" if extra else ""
    return UnsupportedError(f"keys of {scheme}: need more than is installed: {error}{do}")
