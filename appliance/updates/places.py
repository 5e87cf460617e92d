"""Where a fleet's files lie: an address, or a folder that somebody carried here. Pure."""

from pathlib import Path
from urllib.parse import quote, unquote


def local_path(url: str) -> Path | None:
    """Give the path that an address with ``file://`` names; None: it is no such address."""
    return Path(unquote(url.removeprefix("file://"))) if url.startswith("file:///") else None


def address(place: str) -> str:
    """Give the address of what the owner names: an address, or a folder's path."""
    return place if "://" in place else f"file://{quote(str(Path(place).absolute()))}"
