from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.cameras.pictures import list_pictures, picture_size, read_picture
from appliance.core.errors import ConfigError
from tests.simulators.cameras import png_header


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
@pytest.mark.parametrize("size", [(1, 1), (333, 77), (1280, 720)])
def test_the_header_tells_the_size_that_opencv_decodes(suffix: str, size: tuple[int, int]) -> None:
    width, height = size
    good, content = cv2.imencode(suffix, np.full((height, width, 3), 128, np.uint8))
    assert good
    assert picture_size(content.tobytes()) == size


def test_lossless_and_progressive_headers_are_read_too() -> None:
    image = np.random.default_rng(1).integers(0, 255, (61, 143, 3), np.uint8)
    for suffix, option in ((".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]), (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])):
        assert picture_size(cv2.imencode(suffix, image, option)[1].tobytes()) == (143, 61)


def test_garbage_has_no_size() -> None:
    random = np.random.default_rng(2)
    for start in (b"", b"\xff\xd8", b"RIFF\0\0\0\0WEBPVP8 ", b"BM", b"\x89PNG\r\n\x1a\n"):
        for length in (0, 1, 7, 40):
            size = picture_size(start + random.bytes(length))
            assert size is None or len(size) == 2


def test_a_picture_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_header(30_000, 30_000))
    with pytest.raises(ConfigError, match=r"bomb\.png has 30000x30000 pixels; accepted: up to 64 megapixels"):
        read_picture(bomb)


@pytest.mark.parametrize("content", [b"", b"not a picture", png_header(64, 64), b"\xff\xd8\xff\xe0"], ids=range(4))
def test_a_broken_picture_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"broken\.png .*remove or replace it"):
        read_picture(path)


def test_pictures_are_listed_by_name_without_other_files(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "c.webp", ".hidden.jpg", "notes.txt", "labels.json"):
        (tmp_path / name).touch()
    assert [path.name for path in list_pictures(tmp_path)] == ["a.jpg", "b.PNG", "c.webp"]
