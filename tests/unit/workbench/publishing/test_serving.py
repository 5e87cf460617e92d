"""The server for trying a fleet on one machine."""

import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from appliance.core.digest import sha256_hex
from appliance.core.download import Wanted, download
from appliance.core.errors import ConfigError
from appliance.workbench.publishing.serving import RepositoryServer, Span, serving, span_of

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "repository"
    (folder / "metadata").mkdir(parents=True)
    (folder / "targets" / "models").mkdir(parents=True)
    (folder / "metadata" / "timestamp.json").write_bytes(b"{}")
    (folder / "targets" / "models" / "a b.onnx").write_bytes(CONTENT)
    (tmp_path / "online.json").write_bytes(b"secret")
    (folder / "targets" / "out").symlink_to(tmp_path)
    with serving(RepositoryServer(folder)) as address:
        yield address


def ask(url: str, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_a_file_comes_whole_with_its_tag_and_how_long_it_may_be_kept(url: str) -> None:
    status, headers, body = ask(url, "/targets/models/a%20b.onnx")
    assert (status, body) == (200, CONTENT)
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert ask(url, "/metadata/timestamp.json")[1]["Cache-Control"] == "public, max-age=60"
    assert ask(url, "/targets/models/a%20b.onnx", If_None_Match=headers["ETag"])[0] == 304
    assert ask(url, "/targets/models/a%20b.onnx", "HEAD")[::2] == (200, b"")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=100-199", 100, 200), ("bytes=10000-", 10_000, 10_240), ("bytes=-5", 10_235, 10_240)],
)
def test_a_part_comes_where_one_is_asked_for(url: str, asked: str, start: int, end: int) -> None:
    status, headers, body = ask(url, "/targets/models/a%20b.onnx", Range=asked)
    assert (status, body) == (206, CONTENT[start:end])
    assert headers["Content-Range"] == f"bytes {start}-{end - 1}/10240"


def test_a_part_of_another_version_is_not_given(url: str) -> None:
    status, _, body = ask(url, "/targets/models/a%20b.onnx", Range="bytes=100-", If_Range='"other"')
    assert (status, body) == (200, CONTENT)


def test_what_lies_behind_the_end_is_refused(url: str) -> None:
    status, headers, _ = ask(url, "/targets/models/a%20b.onnx", Range="bytes=10240-")
    assert (status, headers["Content-Range"]) == (416, "bytes */10240")


@pytest.mark.parametrize(
    "path",
    [
        "/online.json",
        "/../online.json",
        "/targets/../../online.json",
        "/targets/out/online.json",
        "/targets/%00",
        "/metadata",
    ],
)
def test_nothing_but_the_repository_s_files_is_given(url: str, path: str) -> None:
    assert ask(url, path)[0] == 404


def test_the_device_s_download_goes_on_from_a_part(url: str, tmp_path: Path) -> None:
    file = tmp_path / "here.onnx"
    address = f"{url}/targets/models/a%20b.onnx"
    wanted = Wanted(address, sha256_hex(CONTENT), len(CONTENT), len(CONTENT), may_be_local=True)
    download(wanted, file, lambda _done, _whole: None)
    assert file.read_bytes() == CONTENT


def test_headers_that_are_no_single_part_mean_the_whole_file() -> None:
    assert [span_of(text, 10) for text in ("bytes=0-1,4-5", "lines=1-2", "bytes=-", "nonsense")] == [None] * 4
    assert span_of("bytes=3-99", 10) == Span(3, 10)
    assert span_of("bytes=-99", 10) == Span(0, 10)
    for text in ("bytes=5-4", "bytes=-0", "bytes=10-11"):
        with pytest.raises(ValueError, match="nothing lies at"):
            span_of(text, 10)


def test_a_folder_without_metadata_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no metadata/"):
        RepositoryServer(tmp_path)
