from datetime import UTC, datetime

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.core.frame import Frame, PixelLayout
from appliance.diagnostics.picture import MOST_BYTES, MOST_SIDE, encode_jpeg


def frame(image: NDArray[np.uint8], layout: PixelLayout = PixelLayout.BGR) -> Frame:
    return Frame(image, layout, image.shape[1], image.shape[0], "door", 0, datetime(2026, 1, 1, tzinfo=UTC), 0)


def decoded(jpeg: bytes) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def test_a_large_picture_is_scaled_down_and_keeps_its_shape() -> None:
    picture = decoded(encode_jpeg(frame(np.full((1080, 1920, 3), 90, np.uint8))))
    assert picture.shape == (720, MOST_SIDE, 3)
    assert abs(int(picture.mean()) - 90) <= 2


def test_noise_that_no_jpeg_makes_small_is_made_coarser_until_a_broker_takes_it() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1080, 1920, 3), np.uint8)
    jpeg = encode_jpeg(frame(noise))
    assert len(jpeg) <= MOST_BYTES
    assert decoded(jpeg).shape[0] >= 90


@pytest.mark.parametrize("layout", [PixelLayout.I420, PixelLayout.NV12])
def test_planes_become_colours(layout: PixelLayout) -> None:
    planes = np.full((96, 64), 128, np.uint8)
    planes[:64] = 200
    picture = decoded(encode_jpeg(frame(planes, layout)))
    assert picture.shape == (64, 64, 3)
    assert np.ptp(picture.mean(axis=(0, 1))) < 3, "grey"
