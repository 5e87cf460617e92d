"""An image is written wholly or so that it does not start, and what comes back is compared."""

import hashlib
import lzma
import os
from pathlib import Path

import pytest

from appliance.core.errors import ModelError, StorageError
from appliance.workbench.flashing.writing import claimed, read_back, write_image
from tests.simulators.system_image import with_table


def write(source: Path, target: Path, wanted: str | None = None, size: int | None = None) -> tuple[str, int]:
    with claimed(target) as disk:
        return write_image(source, disk, wanted, size, quiet)


def quiet(_there: int, _whole: int | None) -> None:
    """Show nothing."""


def test_another_image_than_the_one_that_is_meant_leaves_nothing_that_starts(tmp_path: Path) -> None:
    source, card = tmp_path / "image", tmp_path / "card"
    source.write_bytes(with_table(os.urandom(6 << 20)))
    card.write_bytes(b"what was there before" * 100)
    with pytest.raises(ModelError, match="another image"):
        write(source, card, "0" * 64)
    assert card.read_bytes()[: 1 << 20] == bytes(1 << 20)


def test_a_damaged_download_is_told(tmp_path: Path) -> None:
    source = tmp_path / "image.xz"
    source.write_bytes(lzma.compress(with_table(os.urandom(1 << 20)))[:-1000])
    with pytest.raises(ModelError, match="is damaged"):
        write(source, tmp_path / "card")


def test_more_in_an_image_than_was_published_is_not_written_on(tmp_path: Path) -> None:
    source = tmp_path / "image.xz"
    source.write_bytes(lzma.compress(with_table(bytes(64 << 20))))
    with pytest.raises(ModelError, match="more than 1000 bytes"):
        write(source, tmp_path / "card", None, 1000)


def test_an_image_that_was_cut_short_is_told_though_nobody_knows_its_hash(tmp_path: Path) -> None:
    source, card = tmp_path / "image", tmp_path / "card"
    source.write_bytes(with_table(os.urandom(6 << 20), end=7 << 20))
    with pytest.raises(ModelError, match=f"cut short: its partitions end at byte {7 << 20}, and it has {6 << 20}"):
        write(source, card)
    assert card.read_bytes()[: 1 << 20] == bytes(1 << 20)


@pytest.mark.parametrize("what", ["image", "packed image"])
def test_the_hash_of_the_packed_file_does_as_well(tmp_path: Path, what: str) -> None:
    content = with_table(os.urandom(6 << 20))
    source, packed = tmp_path / "image.xz", lzma.compress(content, preset=0)
    source.write_bytes(packed)
    wanted = hashlib.sha256(content if what == "image" else packed).hexdigest()
    assert write(source, tmp_path / "card", wanted) == (hashlib.sha256(content).hexdigest(), len(content))


def test_what_is_no_image_at_all_costs_the_card_nothing(tmp_path: Path) -> None:
    source, disk = tmp_path / "thesis.zip", tmp_path / "disk"
    source.write_bytes(b"PK" + bytes(4096))
    disk.write_bytes(b"what was there before")
    with disk.open("r+b") as card, pytest.raises(ModelError, match=r"accepted: \.img or \.img\.xz"):
        write_image(source, card, None, None, quiet)
    assert disk.read_bytes() == b"what was there before"


def test_an_image_with_nothing_in_it_is_told_and_costs_the_card_nothing(tmp_path: Path) -> None:
    source, disk = tmp_path / "image", tmp_path / "disk"
    disk.write_bytes(b"what was there before")
    for content in (b"", lzma.compress(b"")):
        source.write_bytes(content)
        with disk.open("r+b") as card, pytest.raises(ModelError, match=r"has nothing in it; accepted: \.img"):
            write_image(source, card, None, None, quiet)
    assert disk.read_bytes() == b"what was there before"


def test_an_image_that_cannot_be_read_is_not_held_against_the_card(tmp_path: Path) -> None:
    for source, size in ((tmp_path / "none.img", None), (tmp_path, 1000)):  # before the first byte, and at it
        with pytest.raises(StorageError, match=f"{source} cannot be read: .*not the card"):
            write(source, tmp_path / "card", None, size)


def test_a_card_that_gives_back_other_bytes_is_told(tmp_path: Path) -> None:
    source, card = tmp_path / "image", tmp_path / "card"
    source.write_bytes(with_table(os.urandom(1 << 20)))
    written = write(source, card)
    with card.open("r+b") as file:
        file.seek(5000)
        file.write(b"worn out")
    with pytest.raises(StorageError, match="the card is broken"):
        read_back(card, *written, quiet)
