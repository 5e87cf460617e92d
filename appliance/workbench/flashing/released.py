"""Which system is written: Raspberry Pi OS Lite (64-bit), by address and hash, pinned or the newest one."""

import json
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance.core.errors import ModelError, UnavailableError
from appliance.core.web import Bounds, ask

OS_LIST: Final = "https://downloads.raspberrypi.com/os_list_imagingutility_v4.json"
NAME: Final = "Raspberry Pi OS Lite (64-bit)"
_MOST_LIST, _MOST_HASH = 16 << 20, 1024  # bytes
_DEEPEST = 4  # of the lists within the list
_TIMEOUT, _WITHIN = 30.0, 180.0  # seconds without a byte, and for all of an answer
_LARGEST = 16 << 30  # bytes of an image
_DIGEST = r"^[0-9a-f]{64}$"


class Release(BaseModel):
    """A published image, with the names that the list of Raspberry Pi Imager has (doc/json-schema/os-list-schema.json).

    Attributes:
        url: Of the .img.xz.
        image_download_sha256: Of that file; the list gives none, so it comes from beside the file.
        image_download_size: Its bytes.
        extract_sha256: Of the image in it.
        extract_size: Its bytes.
        release_date: When it was published.
        init_format: How it takes its first settings.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    url: str = Field(max_length=2048)
    image_download_sha256: str = ""
    image_download_size: int = Field(gt=0, le=_LARGEST)
    extract_sha256: str = Field(pattern=_DIGEST)
    extract_size: int = Field(gt=0, le=_LARGEST)
    release_date: str = Field(max_length=32)
    init_format: str = "none"


PINNED: Final = Release(
    url="https://downloads.raspberrypi.com/raspios_lite_arm64/images/raspios_lite_arm64-2026-06-19/"
    "2026-06-18-raspios-trixie-arm64-lite.img.xz",
    image_download_sha256="acff736ca7945e3b305f07cda4abdb870910e12634991da69783611756e381b3",
    image_download_size=524_875_608,
    extract_sha256="e235fd24fc5f039c08daba7d3abc04aecc7313f979d16d2a3fdad29dd44c33a9",
    extract_size=2_977_955_840,
    release_date="2026-06-18",
    init_format="cloudinit-rpi",
)
"""The system that the bundle was made for."""


def newest(os_list: str = OS_LIST, *, may_be_local: bool = False) -> Release:
    """Ask which release is the newest, and what its file's hash is.

    Args:
        os_list: Address of the list.
        may_be_local: ``http://`` is accepted too, for tests.

    Raises:
        ModelError: What is published cannot be used, or says two different things.
        UnavailableError: The server cannot be reached.
    """
    try:
        listed = json.loads(_fetch(os_list, _MOST_LIST, may_be_local=may_be_local))
        entries = listed["os_list"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{os_list} is no list of images; leave --newest out for {PINNED.release_date}") from error
    release = _chosen(entries, os_list)
    told = _fetch(f"{release.url}.sha256", _MOST_HASH, may_be_local=may_be_local).decode("ascii", "replace").split()
    digest = told[0].lower() if told else ""
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):  # noqa: PLR2004 - of SHA-256
        raise ModelError(f"{release.url}.sha256 is no SHA-256")
    if release.image_download_sha256 not in ("", digest):
        raise ModelError(f"{os_list} and {release.url}.sha256 say different things; nothing is written")
    return release.model_copy(update={"image_download_sha256": digest})


def _chosen(entries: Any, where: str) -> Release:
    for entry in _walk(entries, 0):
        if entry.get("name") != NAME or "url" not in entry:
            continue
        try:
            release = Release.model_validate(entry)
        except ValidationError as error:
            raise ModelError(
                f"{where}: the entry {NAME} is not as it should be: {error.error_count()} mistakes"
            ) from error
        if release.init_format != "cloudinit-rpi":
            raise ModelError(
                f"{NAME} of {release.release_date} takes its first settings by {release.init_format}, not by cloud-init"
            )
        return release
    raise ModelError(f"{where} has no {NAME}; leave --newest out for {PINNED.release_date}")


def _walk(entries: Any, depth: int) -> Iterator[dict[str, Any]]:
    if depth > _DEEPEST or not isinstance(entries, list):
        return
    for entry in entries:
        if isinstance(entry, dict):
            yield entry
            yield from _walk(entry.get("subitems"), depth + 1)


def _fetch(url: str, most: int, *, may_be_local: bool) -> bytes:
    def check(address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme != "https" and not (may_be_local and parts.hostname == "127.0.0.1"):
            raise ModelError(f"{address} is not asked: images and their hashes are brought over https only")

    check(url)
    bounds = Bounds(most=most, timeout=_TIMEOUT, within=_WITHIN)
    try:
        with ask(url, {"User-Agent": "edgecam"}, bounds, may_be_asked=check) as answer:
            content: bytes = answer.read(most + 1)
    except (UnavailableError, OSError, HTTPException) as error:
        raise UnavailableError(f"{url} cannot be had: {error}") from error
    if len(content) > most:
        raise ModelError(f"{url} has more than {most} bytes: it is not what is meant")
    return content
