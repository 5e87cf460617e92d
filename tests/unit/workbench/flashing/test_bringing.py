"""The system that is published is brought once, and only that one is kept."""

import hashlib
import os
from pathlib import Path

import pytest

from appliance.core.errors import ModelError, UnavailableError
from appliance.workbench.flash import bring
from appliance.workbench.flashing.released import Release
from tests.simulators.file_server import Served, serve


def published(address: str, content: bytes) -> Release:
    return Release(
        url=address,
        image_download_sha256=hashlib.sha256(content).hexdigest(),
        image_download_size=len(content),
        extract_sha256="cd" * 32,
        extract_size=1,
        release_date="2026-06-18",
    )


def test_a_system_is_brought_once_and_gone_on_with_where_it_was_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    content = os.urandom(300_000)
    served = Served(content, cut_after=[100_000])
    with serve(served) as address:
        release = published(address, content)
        for _ in range(2):
            assert bring(release, is_quiet=True, may_be_local=True).read_bytes() == content
    assert [wanted for _, wanted in served.asked] == ["", "bytes=100000-"]


def test_another_system_than_the_published_one_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    content = os.urandom(300_000)
    with serve(Served(content[::-1])) as address, pytest.raises(ModelError, match="not the file that is meant"):
        bring(published(address, content), is_quiet=True, may_be_local=True)
    assert list((tmp_path / "edgecam/images").iterdir()) == []


def test_a_system_that_was_kept_and_is_damaged_is_told_removed_and_brought_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    content = os.urandom(300_000)
    kept = tmp_path / "edgecam/images/system.img.xz"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with serve(Served(content)) as address:
        release = published(address, content).model_copy(update={"url": f"{address}/system.img.xz"})
        assert bring(release, is_quiet=True, may_be_local=True).read_bytes() == content
        told = capsys.readouterr().err
        assert f"{kept} is damaged" in told
        assert "removed and brought again" in told
        # and without a network it is not taken for whole
        kept.write_bytes(content[::-1])
    with pytest.raises(UnavailableError, match=r"bring .* by hand"):
        bring(release, is_quiet=True, may_be_local=True)
    assert not kept.exists()


def test_without_a_network_it_says_what_to_bring_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UnavailableError, match="by hand, and name it: --image FILE --sha256 cdcd"):
        bring(published("http://127.0.0.1:1/system.img.xz", b"x"), is_quiet=True, may_be_local=True)
