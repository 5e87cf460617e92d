"""A download is resumed, verified and bounded, against a real server on loopback."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from appliance.core.download import Wanted, download
from appliance.core.errors import ConfigError, ModelError, StorageError, UnavailableError
from tests.simulators.file_server import Served, serve

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8).tobytes()


def wanted(url: str, content: bytes = CONTENT, *, size: int | None = len(CONTENT), most: int = 1 << 20) -> Wanted:
    return Wanted(url, hashlib.sha256(content).hexdigest(), most, size, may_be_local=True)


def bring(served: Served, path: Path, *, size: int | None = len(CONTENT), most: int = 1 << 20) -> list[int]:
    seen: list[int] = []
    with serve(served) as url:
        download(wanted(url, size=size, most=most), path, lambda there, _: seen.append(there))
    return seen


def left(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_file_comes_whole_and_how_far_it_is_is_told(tmp_path: Path, size: int | None) -> None:
    seen = bring(Served(CONTENT), tmp_path / "model", size=size)
    assert (tmp_path / "model").read_bytes() == CONTENT
    assert left(tmp_path) == ["model"]
    assert seen == sorted(seen)
    assert seen[-1] == len(CONTENT)


def test_a_connection_that_is_cut_is_taken_up_where_it_was(tmp_path: Path) -> None:
    served = Served(CONTENT, cut_after=[100_000, 50_000])
    bring(served, tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == CONTENT
    assert [span for _, span in served.asked] == ["", "bytes=100000-", "bytes=150000-"]


def test_a_later_call_goes_on_with_what_an_earlier_one_left(tmp_path: Path) -> None:
    served = Served(CONTENT, cut_after=[100_000, 0])
    with serve(served) as url:
        with pytest.raises(UnavailableError, match="after 100000 bytes; the same command goes on"):
            download(wanted(url), tmp_path / "model", lambda *_: None)
        assert not (tmp_path / "model").exists()
        download(wanted(url), tmp_path / "model", lambda *_: None)
    assert (tmp_path / "model").read_bytes() == CONTENT
    assert served.asked[-1] == ("/file.onnx", "bytes=100000-")


def test_a_file_that_is_there_is_not_asked_for_again_unless_it_is_another(tmp_path: Path) -> None:
    bring(Served(CONTENT), tmp_path / "model")
    again = Served(CONTENT)
    assert bring(again, tmp_path / "model") == []
    assert again.asked == []
    (tmp_path / "model").write_bytes(CONTENT[:-1])
    bring(again, tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == CONTENT


def test_a_file_is_known_by_its_sha512_too(tmp_path: Path) -> None:
    digest = hashlib.sha512(CONTENT).hexdigest()
    with serve(Served(CONTENT)) as url:
        asked = Wanted(url, digest, 1 << 20, may_be_local=True, algorithm="sha512")
        download(asked, tmp_path / "model", lambda *_: None)
        other = Wanted(url, "0" * 128, 1 << 20, may_be_local=True, algorithm="sha512")
        with pytest.raises(ModelError, match="its SHA-512 is"):
            download(other, tmp_path / "other", lambda *_: None)
    assert left(tmp_path) == ["model"]


@pytest.mark.parametrize("change", ["tag", "has_ranges", "wrong_range"])
def test_what_cannot_be_gone_on_with_begins_anew(tmp_path: Path, change: str) -> None:
    served = Served(CONTENT, cut_after=[100_000, 0])
    with serve(served) as url:
        with pytest.raises(UnavailableError):
            download(wanted(url), tmp_path / "model", lambda *_: None)
        setattr(served, change, {"tag": '"two"', "has_ranges": False, "wrong_range": True}[change])
        download(wanted(url), tmp_path / "model", lambda *_: None)
    assert (tmp_path / "model").read_bytes() == CONTENT
    assert left(tmp_path) == ["model"]


def test_a_server_that_cannot_tell_versions_apart_is_asked_from_the_beginning(tmp_path: Path) -> None:
    served = Served(CONTENT, tag="", cut_after=[100_000])
    bring(served, tmp_path / "model")
    assert [span for _, span in served.asked] == ["", ""]


def test_a_part_of_another_address_or_a_damaged_note_is_not_gone_on_with(tmp_path: Path) -> None:
    for note in (json.dumps({"url": "https://x/y", "digest": "0", "tag": '"one"'}), "{", "[]", "7"):
        (tmp_path / "model.part").write_bytes(b"something else")
        (tmp_path / "model.part.json").write_text(note, encoding="utf-8")
        (tmp_path / "model").unlink(missing_ok=True)
        served = Served(CONTENT)
        bring(served, tmp_path / "model")
        assert served.asked == [("/file.onnx", "")]
        assert (tmp_path / "model").read_bytes() == CONTENT


@pytest.mark.parametrize("has_size", [True, False])
def test_a_part_that_was_whole_when_the_power_went_is_verified_and_kept(tmp_path: Path, *, has_size: bool) -> None:
    served = Served(CONTENT)
    with serve(served) as url:
        one = wanted(url, size=len(CONTENT) if has_size else None)
        (tmp_path / "model.part").write_bytes(CONTENT)
        note = {"url": url, "digest": one.digest, "tag": served.tag}
        (tmp_path / "model.part.json").write_text(json.dumps(note), encoding="utf-8")
        download(one, tmp_path / "model", lambda *_: None)
    assert (tmp_path / "model").read_bytes() == CONTENT
    assert served.asked == ([] if has_size else [("/file.onnx", "bytes=300000-"), ("/file.onnx", "")])


@pytest.mark.parametrize(
    ("served", "size", "most", "what"),
    [
        (Served(CONTENT[:-1] + b"?"), len(CONTENT), 1 << 20, "is not the file that is meant: its SHA-256 is"),
        (Served(CONTENT + b"?"), len(CONTENT), 1 << 20, "has 300001 bytes and not 300000"),
        (Served(CONTENT), None, 200_000, "has 300000 bytes and not at most 200000"),
        (Served(CONTENT, promised=-1), None, 200_000, "sends more than 200000 bytes"),
        (Served(CONTENT + b"more", promised=-1), len(CONTENT), 1 << 20, "sends more than 300000 bytes"),
        (Served(CONTENT, promised=10**15), None, 1 << 20, "has 1000000000000000 bytes and not at most"),
        (Served(CONTENT, promised=200_000), len(CONTENT), 1 << 20, "has 200000 bytes and not 300000"),
        (Served(CONTENT, promised=200_000), None, 1 << 20, "is not the file that is meant"),
    ],
)
def test_another_file_is_refused_and_nothing_of_it_kept(
    tmp_path: Path, served: Served, size: int | None, most: int, what: str
) -> None:
    with pytest.raises(ModelError, match=what):
        bring(served, tmp_path / "model", size=size, most=most)
    assert left(tmp_path) == []


def test_a_length_that_promises_more_than_comes_ends_with_the_next_step(tmp_path: Path) -> None:
    served = Served(CONTENT[:100_000], promised=300_000, has_ranges=False)
    with pytest.raises(UnavailableError, match="stopped sending"):
        bring(served, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_redirect_is_followed_to_the_file(tmp_path: Path) -> None:
    served = Served(CONTENT, redirects="/elsewhere", cut_after=[100_000])
    bring(served, tmp_path / "model")
    assert served.asked == [
        ("/file.onnx", ""),
        ("/elsewhere", ""),
        ("/file.onnx", "bytes=100000-"),
        ("/elsewhere", "bytes=100000-"),
    ]


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("/loop", "answers 302"),
        ("http://192.0.2.1/file", "leads elsewhere: .* over https only"),
        ("ftp://127.0.0.1/file", "leads elsewhere: .* over https only"),
        ("file:///etc/passwd", "answers 302"),
        ("https://[::1/file", "cannot be reached: Invalid IPv6"),
        (f"https://{'a' * 70}.example/file", "cannot be reached: .*label"),
        ("https://127.0.0.1:port/file", "cannot be reached: nonnumeric port"),
    ],
)
def test_a_redirect_that_leads_nowhere_good_is_not_followed(tmp_path: Path, target: str, what: str) -> None:
    served = Served(CONTENT, redirects=target)
    with pytest.raises(UnavailableError, match=what):
        bring(served, tmp_path / "model")
    assert len(served.asked) <= 7
    assert left(tmp_path) == []


@pytest.mark.parametrize("status", [404, 403, 500, 503])
def test_a_refusal_says_what_to_do(tmp_path: Path, status: int) -> None:
    with pytest.raises(UnavailableError, match=rf"answers {status} .*edgecam model add"):
        bring(Served(CONTENT, status=status), tmp_path / "model")


def test_what_a_server_says_cannot_write_on_a_terminal_as_it_likes(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as raised:
        bring(Served(CONTENT, status=503, reason="\x1b[2Jgone\x07 " + "x" * 10_000), tmp_path / "model")
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 500


def test_a_tag_that_may_not_stand_in_a_request_is_not_sent(tmp_path: Path) -> None:
    served = Served(CONTENT)
    with serve(served) as url:
        one = wanted(url)
        for tag in ('"one"\r\nX: y', '"\u2603"', '"' + "x" * 300):
            (tmp_path / "model.part").write_bytes(CONTENT[:1000])
            note = {"url": url, "digest": one.digest, "tag": tag}
            (tmp_path / "model.part.json").write_text(json.dumps(note), encoding="utf-8")
            download(one, tmp_path / "model", lambda *_: None)
            assert (tmp_path / "model").read_bytes() == CONTENT
    assert {span for _, span in served.asked} == {""}


def test_a_server_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with serve(Served(CONTENT)) as url:
        pass
    with pytest.raises(UnavailableError, match=r"cannot be reached: .*is this device online"):
        download(wanted(url), tmp_path / "model", lambda *_: None)


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/x", "http://localhost.example/x", "ftp://x/y", "file:///x", "https:///x"]
)
def test_only_https_is_asked_and_this_machine_in_tests(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="over https only"):
        download(wanted(url), tmp_path / "model", lambda *_: None)


def test_not_even_this_machine_is_asked_without_https_unless_that_is_meant(tmp_path: Path) -> None:
    with serve(Served(CONTENT)) as url, pytest.raises(ConfigError, match="over https only"):
        download(Wanted(url, "0" * 64, 1 << 20), tmp_path / "model", lambda *_: None)


def test_a_folder_that_is_gone_is_a_trouble_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        bring(Served(CONTENT), tmp_path / "nosuch" / "model")
