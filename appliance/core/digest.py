"""SHA-256 without loading OpenSSL for it."""

import sys
from contextlib import suppress
from importlib import import_module

LARGE = 16 << 20  # bytes; from here on OpenSSL's 4 MB of memory are worth being 30 times as quick (0.07 s for 3.7 MB)


def sha256_hex(content: bytes) -> str:
    """Give the SHA-256 of `content`, 64 hexadecimal digits."""
    if len(content) < LARGE and "_hashlib" not in sys.modules:
        for lean in ("_sha2", "_sha256"):  # Python's own, from 3.12 on and before; as its module random takes them
            with suppress(ImportError):
                return str(import_module(lean).sha256(content).hexdigest())
    return str(import_module("hashlib").sha256(content).hexdigest())
