"""Encrypts a release's weights for the cohorts that may run it, and makes the cohorts' keys."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from appliance.core.errors import ConfigError, StorageError
from appliance.core.files import make_folder
from appliance.core.sealing import RECIPIENT, SUFFIX, make_key, seal
from appliance.inference.runtimes import RUN_BY_CAMERA
from appliance.updates.formats import Plain
from appliance.workbench.publishing.release import Contents

PUBLIC: Final = ".pub"
MOST_RECIPIENTS: Final = 32  # as a release has it
_MOST_FILE = 64 << 10


def read_recipients(given: Iterable[str]) -> tuple[str, ...]:
    """Give public keys of age, each once.

    Args:
        given: Public keys, or files with one in each line; ``#`` begins a comment there.

    Raises:
        ConfigError: One is neither, or there are too many.
    """
    found: dict[str, None] = {}
    for one in given:
        for line in (one,) if re.match(RECIPIENT, one) else _lines(Path(one)):
            if not re.match(RECIPIENT, line):
                raise ConfigError(
                    f"--encrypt-to {one}: {line[:80]!r} is no public key of age; accepted: age1…, or a file"
                )
            found[line] = None
    if len(found) > MOST_RECIPIENTS:
        raise ConfigError(f"--encrypt-to: {len(found)} keys; a release can be for at most {MOST_RECIPIENTS}")
    return tuple(found)


def sealed(
    contents: Contents, recipients: Iterable[str], known: Callable[[str], bytes | None] = lambda _: None
) -> tuple[Contents, Mapping[str, Plain]]:
    """Give the same model with its weights encrypted, and what the encrypted files hold, by their names.

    Manifest, labels and golden frames stay in the clear: devices choose by the first, and check by the last.

    Args:
        contents: Of the model's folder.
        recipients: Public keys; a device needs the private key of one.
        known: Gives what a file was encrypted to for the same recipients before, by the SHA-256 of what it holds;
            devices that have it need not bring it again.

    Raises:
        ConfigError: A file of weights cannot be used encrypted, or a key is none.
        UnsupportedError: pyrage is not installed.
    """
    recipients = tuple(recipients)
    files, plain = dict(contents.files), {}
    for artifact in contents.manifest.artifacts:
        if artifact.format in RUN_BY_CAMERA:
            raise ConfigError(
                f"{artifact.file} is read from a file by the camera's own software, and cannot be encrypted; release "
                "it in the clear, or the model without it"
            )
        content = files.pop(artifact.file)
        name = f"{artifact.file}{SUFFIX}"
        digest = hashlib.sha256(content).hexdigest()
        files[name] = known(digest) or seal(content, recipients)
        plain[name] = Plain(sha256=digest, size=len(content))
    return replace(contents, files=files), plain


def make_cohort_key(file: Path) -> str:
    """Make a cohort's key: `file`, which its devices get as a credential, and beside it the public key; give that.

    Raises:
        ConfigError: One of that name is there.
        StorageError: It cannot be written.
        UnsupportedError: pyrage is not installed.
    """
    private, public = make_key()
    make_folder(file.parent)
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as out:
            out.write(f"# public key: {public}\n{private}\n")
            out.flush()
            os.fsync(out.fileno())
        file.with_name(f"{file.name}{PUBLIC}").write_text(f"{public}\n", encoding="ascii")
    except FileExistsError as error:
        raise ConfigError(f"{file} is there already, and what it opens would be lost; give another name") from error
    except OSError as error:
        raise StorageError(f"cannot write {file}: {error.strerror or error}") from error
    return public


def _lines(file: Path) -> list[str]:
    try:
        with file.open(encoding="ascii") as opened:
            text = opened.read(_MOST_FILE)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--encrypt-to {file}: it is no public key of age (age1…), and no file that can be read"
        ) from error
    found = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not found:
        raise ConfigError(f"--encrypt-to {file}: there is no public key of age in it")
    return found
