"""An image and a bundle are looked through before anything is lost."""

import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.core.errors import EdgecamError
from tests.simulators.system_image import make_image, with_table
from tests.unit.workbench.flashing.test_flash import SETUP, looped, needs_tools, run


def test_a_card_that_is_too_small_for_the_image_is_told_before_it_is_written(bundle: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(with_table(bytes(4096), end=3 << 30))
    for path, size in ((image, 3 << 30), (tmp_path / "disk", 1 << 30)):
        with path.open("ab") as file:
            file.truncate(size)
    with looped(tmp_path / "disk") as disk:
        why = run(disk, "--image", image, "--bundle", bundle, "--fixed", "--yes").exception
        assert "has 1.1 GB, and the system needs 3.2" in str(why)


def damaged(image: Path) -> None:
    packed = lzma.compress(with_table(os.urandom(1 << 20)))
    image.write_bytes(packed[:-1000])


def cut_short(image: Path) -> None:
    image.write_bytes(with_table(os.urandom(6 << 20), end=7 << 20))


def another(image: Path) -> None:
    image.write_bytes(with_table(os.urandom(6 << 20)))


def no_image(image: Path) -> None:
    image.write_bytes(b"PK" + bytes(4096))


def too_large(image: Path) -> None:
    space = os.statvfs(image.parent)
    with image.open("wb") as file:
        file.write(with_table(bytes(4096)))
        file.truncate(space.f_bavail * space.f_frsize + (2 << 30))  # a hole: it takes no room


@needs_tools
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (damaged, "is damaged"),
        (cut_short, "is cut short"),
        (another, "another image than the one that is meant"),
        (no_image, "no table of partitions"),
        (too_large, "and the system needs"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
@pytest.mark.parametrize("is_there", [True, False])
def test_an_image_is_looked_through_before_a_file_loses_what_is_in_it(
    bundle: Path, tmp_path: Path, spoil: Callable[[Path], None], said: str, *, is_there: bool
) -> None:
    card, image = tmp_path / "card.img", tmp_path / "image"
    spoil(image)
    if is_there:
        card.write_bytes(b"what was there before")
    hashed = () if spoil in (too_large, cut_short) else ("--sha256", "0" * 64)
    why = run(card, "--image", image, *hashed, "--bundle", bundle, "--yes").exception
    assert isinstance(why, EdgecamError)
    assert said in str(why)
    assert (card.read_bytes() if card.exists() else None) == (b"what was there before" if is_there else None)


@needs_tools
def test_a_packed_image_that_the_disk_has_no_room_for_once_unpacked_costs_it_nothing(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.workbench.flash._LEAST", 1 << 20)  # or it would be an image of more than 1 GB
    image, disk = tmp_path / "image.xz", tmp_path / "disk"
    image.write_bytes(lzma.compress(with_table(bytes(100 << 20)), preset=0))
    disk.write_bytes(b"what was there before")
    with disk.open("ab") as file:
        file.truncate(50 << 20)
    with looped(disk) as device:
        why = run(device, "--image", image, "--bundle", bundle, "--fixed", "--yes").exception
    assert "has 0.1 GB, and the system needs 0.1" in str(why)
    with disk.open("rb") as file:
        assert file.read(21) == b"what was there before"


@needs_tools
def test_a_file_of_the_owner_s_with_the_bundle_s_name_is_told_before_anything_is_lost(
    bundle: Path, tmp_path: Path
) -> None:
    card, image, setup = tmp_path / "card.img", tmp_path / "image", tmp_path / "my.toml"
    another(image)
    card.write_bytes(b"what was there before")
    setup.write_text(SETUP.replace("ca.pem", "meta-data"))
    (tmp_path / "meta-data").write_text("-----BEGIN CERTIFICATE-----\n")
    why = run(card, "--image", image, "--bundle", bundle, "--setup", setup, "--yes").exception
    assert "a file of the bundle is called meta-data" in str(why)
    assert card.read_bytes() == b"what was there before"


@needs_tools
def test_an_image_without_a_boot_partition_is_told(bundle: Path, tmp_path: Path) -> None:
    source = tmp_path / "other.img"
    make_image(source, kind=0x83)
    why = run(tmp_path / "card.img", "--image", source, "--bundle", bundle).exception
    assert "not FAT" in str(why)


def test_a_setup_file_that_the_device_would_refuse_is_refused_before_anything_is_written(
    bundle: Path, tmp_path: Path
) -> None:
    setup, card = tmp_path / "my.toml", tmp_path / "card.img"
    setup.write_text('hostname = "My Door"\n')
    why = run(card, "--bundle", bundle, "--image", tmp_path / "none", "--setup", setup).exception
    assert "hostname: is" in str(why)
    assert not card.exists()
