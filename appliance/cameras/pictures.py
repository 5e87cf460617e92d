"""Pictures on disk: what is accepted, and how large a picture is before it is unpacked."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.core.errors import ConfigError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
ACCEPTED = "JPEG, PNG, BMP or WebP up to 64 megapixels"
MOST_PIXELS = 64_000_000  # 192 MB unpacked: beyond any camera, and a bound on what a hostile file can make us take
MOST_BYTES = 256 << 20
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # ITU-T T.81, table B.1: start of frame, any process


def list_pictures(folder: Path) -> list[Path]:
    """Give the pictures in a folder by name; hidden files and other kinds are left out.

    Raises:
        ConfigError: The folder cannot be read.
    """
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise ConfigError(f"cannot read the folder {folder}: {error.strerror}") from error
    return [folder / name for name in names if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")]


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a picture; shape (H, W, 3), BGR, turned upright as its EXIF orientation says.

    Raises:
        ConfigError: It is missing, broken, too large, or no picture.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{path} has more than {MOST_BYTES >> 20} MiB; accepted: {ACCEPTED}")
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the picture {path}: {error.strerror}; remove or replace it") from error
    size = picture_size(content)
    if size is None:
        raise ConfigError(f"{path} is no picture that can be read; accepted: {ACCEPTED}; remove or replace it")
    require_bounded(*size, str(path))
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ConfigError(f"{path} is a broken picture ({error.err}); remove or replace it") from error
    if image is None:
        raise ConfigError(f"{path} is a broken picture; remove or replace it")
    return np.asarray(image, np.uint8)


def require_bounded(width: int, height: int, where: str) -> None:
    """Refuse a picture that would take too much memory.

    Raises:
        ConfigError: It has more than 64 megapixels.
    """
    if width * height > MOST_PIXELS:
        raise ConfigError(f"{where} has {width}x{height} pixels; accepted: up to {MOST_PIXELS // 1_000_000} megapixels")


def picture_size(content: bytes) -> tuple[int, int] | None:
    """Give width and height in pixels as a picture's header states them; None: not a kind that is accepted."""
    if content[:8] == b"\x89PNG\r\n\x1a\n" and len(content) >= 24:  # noqa: PLR2004 - up to the end of width and height
        return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    if content[:2] == b"BM" and len(content) >= 26:  # noqa: PLR2004 - BITMAPINFOHEADER up to the height
        width, height = (int.from_bytes(content[at : at + 4], "little", signed=True) for at in (18, 22))
        return abs(width), abs(height)  # a negative height means rows from the top
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp_size(content)
    return _jpeg_size(content) if content[:2] == b"\xff\xd8" else None


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(content) and content[at] == 0xFF:  # noqa: PLR2004 - a marker's first byte
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == 0xFF:  # noqa: PLR2004 - fill byte before a marker
            at += 1
            continue
        if marker in _SOF:
            return int.from_bytes(content[at + 7 : at + 9], "big"), int.from_bytes(content[at + 5 : at + 7], "big")
        at += 2 + length
    return None


def _webp_size(content: bytes) -> tuple[int, int] | None:
    """RFC 9649, sections 2.5 to 2.7."""
    kind, data = content[12:16], content[20:30]
    if len(data) < 10:  # noqa: PLR2004 - the longest of the three headers
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[4:7], "little"), 1 + int.from_bytes(data[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (6, 8))
        return width, height
    return None
