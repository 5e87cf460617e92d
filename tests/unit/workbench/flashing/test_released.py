"""Which system is written: what the list of Raspberry Pi Imager says, and its hash."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from appliance.core.errors import ModelError, UnavailableError
from appliance.workbench.flashing.released import NAME, PINNED, Release, newest
from tests.simulators.listening import answering

FILE = "/raspios-lite.img.xz"
DIGEST = "ab" * 32
ENTRY = {
    "name": NAME,
    "description": "A port of Debian",
    "icon": "",
    "url": FILE,
    "extract_size": 2_977_955_840,
    "extract_sha256": "cd" * 32,
    "image_download_size": 524_875_608,
    "image_download_sha256": "",  # as it is published
    "release_date": "2026-09-15",
    "init_format": "cloudinit-rpi",
    "devices": ["pi5-64bit", "pi4-64bit"],
}


@contextmanager
def publisher(files: Mapping[str, bytes]) -> Iterator[str]:
    """A server on loopback with these files."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path)
            if content is not None and content.startswith(b"http"):
                self.send_response(302)
                self.send_header("Location", content.decode())
                content = b""
            else:
                self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with answering(Handler) as url:
        yield url


def ask(changes: Mapping[str, Any], hash_file: bytes = f"{DIGEST}  raspios-lite.img.xz\n".encode()) -> Release:
    files: dict[str, bytes] = {f"{FILE}.sha256": hash_file}
    with publisher(files) as address:
        entry = {**ENTRY, "url": address + FILE, **changes}
        nested = {"os_list": [{"name": "Raspberry Pi OS (other)", "subitems": [{"name": "another"}, entry]}]}
        files["/list.json"] = json.dumps(nested).encode()
        return newest(f"{address}/list.json", may_be_local=True)


def test_the_entry_is_found_within_lists_and_its_file_s_hash_beside_the_file() -> None:
    release = ask({})
    assert (release.image_download_sha256, release.extract_sha256) == (DIGEST, "cd" * 32)
    assert release.extract_size == 2_977_955_840


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"init_format": "systemd"}, "takes its first settings by systemd, not by cloud-init"),
        ({"extract_sha256": "short"}, "not as it should be"),
        ({"extract_size": 1 << 60}, "not as it should be"),
        ({"name": "Another system"}, f"has no {NAME}"),
        ({"image_download_sha256": "ef" * 32}, "say different things"),
    ],
)
def test_what_cannot_be_used_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match="(?s)" + said.replace("(", r"\(").replace(")", r"\)")):
        ask(changes)


def test_a_hash_that_is_none_is_refused() -> None:
    with pytest.raises(ModelError, match="is no SHA-256"):
        ask({}, b"<html>moved</html>")


def test_a_redirect_to_an_address_that_is_not_encrypted_is_not_followed() -> None:
    with (
        publisher({"/list.json": b"http://images.example.org/list.json"}) as address,
        pytest.raises(ModelError, match="https only"),
    ):
        newest(f"{address}/list.json", may_be_local=True)


def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(UnavailableError, match="cannot be had"):
        newest("http://127.0.0.1:1/list.json", may_be_local=True)


def test_the_pinned_system_is_whole() -> None:
    assert Release.model_validate(PINNED.model_dump()) == PINNED
    assert len(PINNED.image_download_sha256) == len(PINNED.extract_sha256) == 64
    assert PINNED.url.startswith("https://")
