"""SHA-256 without loading OpenSSL for it."""

import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

LARGE = 16 << 20  # bytes; from here on OpenSSL's 4 MB of memory are worth being 30 times as quick (0.07 s for 3.7 MB)


_CHUNK = 1 << 20


def sha256_hex(content: bytes) -> str:
    """Give the SHA-256 of `content`, 64 hexadecimal digits."""
    return str(_begun(len(content), content).hexdigest())


def sha256_of_file(path: Path) -> str:
    """Give the SHA-256 of a file, 64 hexadecimal digits; no more than a part of it is in memory at once.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        digest = _begun(path.stat().st_size, b"")
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return str(digest.hexdigest())


def _begun(size: int, content: bytes) -> Any:
    if size < LARGE and "_hashlib" not in sys.modules:
        for lean in ("_sha2", "_sha256"):  # Python's own, from 3.12 on and before; as its module random takes them
            with suppress(ImportError):
                return import_module(lean).sha256(content)
    return import_module("hashlib").sha256(content)
