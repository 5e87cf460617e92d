import tracemalloc
from datetime import UTC, datetime

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from appliance.core.frame import Frame, PixelLayout
from appliance.core.manifest import InputSpec
from appliance.inference.preprocess import Letterbox, Preprocessor, fit

SIZES = st.integers(2, 4000)


def spec(**changes: object) -> InputSpec:
    return InputSpec.model_validate(
        {"width": 64, "height": 48, "colour": "bgr", "fit": "letterbox-topleft", "pad": 114} | changes
    )


def frame(
    image: NDArray[np.uint8], layout: PixelLayout = PixelLayout.BGR, size: tuple[int, int] | None = None
) -> Frame:
    whole = Frame(image, layout, 0, 0, "door", 0, datetime.now(UTC), 0)
    width, height = size or whole.image_size
    return Frame(image, layout, width, height, "door", 0, whole.time, 0)


def picture(width: int, height: int) -> NDArray[np.uint8]:
    """A smooth picture with all three channels different: scaling and chroma at half size change it little."""
    y, x = np.mgrid[:height, :width]
    channels = (x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height))
    return np.stack(channels, axis=2).astype(np.uint8)


def expected(image: NDArray[np.uint8], one: InputSpec, box: Letterbox) -> NDArray[np.float64]:
    """The same, the long way: whole canvas, channel by channel, in double precision."""
    flag = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}[one.interpolation]
    canvas = np.full((one.height, one.width, 3), one.pad, np.uint8)
    scaled = cv2.resize(image, (box.width, box.height), interpolation=flag)
    scaled = scaled[max(0, -box.top) :, max(0, -box.left) :][: one.height, : one.width]
    top, left = max(0, box.top), max(0, box.left)
    canvas[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    if one.colour == "rgb":
        canvas = canvas[:, :, ::-1]
    if one.colour == "grey":
        canvas = cv2.cvtColor(canvas, cv2.COLOR_BGR2GRAY)[:, :, None]
    depth = canvas.shape[2]
    whole = (canvas.astype(np.float64) - np.array(one.mean[:depth])) / np.array(one.std[:depth])
    if one.quantization is not None:
        low, high = (0, 255) if one.dtype == "uint8" else (-128, 127)
        whole = np.clip(np.round(whole / one.quantization.scale) + one.quantization.zero_point, low, high)
    elif one.dtype == "int8":
        whole -= 128
    return whole.transpose(2, 0, 1)[None] if one.layout == "nchw" else whole[None]


IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
QUANTIZED = {"scale": 0.0186, "zero_point": -14}


@pytest.mark.parametrize(
    "one",
    [
        spec(),
        spec(fit="letterbox-centre", pad=0),
        spec(fit="stretch", interpolation="cubic"),
        spec(colour="rgb", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
        spec(std=(255.0, 255.0, 255.0)),
        spec(mean=(1.0, 2.0, 3.0)),
        spec(layout="nhwc", colour="rgb", mean=(1.0, 2.0, 3.0), std=(2.0, 3.0, 4.0)),
        spec(layout="nhwc", dtype="uint8"),
        spec(layout="nhwc", dtype="uint8", colour="rgb"),
        spec(dtype="uint8", colour="rgb"),
        spec(dtype="int8", layout="nhwc", colour="rgb"),
        spec(dtype="int8"),
        spec(dtype="int8", layout="nhwc", colour="rgb", quantization=QUANTIZED, **IMAGENET),
        spec(dtype="int8", quantization=QUANTIZED, **IMAGENET),
        spec(dtype="uint8", layout="nhwc", quantization={"scale": 0.0078125, "zero_point": 128}, std=(127.5,) * 3),
        spec(colour="grey", std=(255.0, 255.0, 255.0)),
        spec(colour="grey", layout="nhwc", dtype="uint8", fit="letterbox-centre"),
        spec(colour="grey", layout="nhwc", dtype="int8"),
        spec(fit="crop-centre"),
        spec(fit="crop-centre", layout="nhwc", dtype="uint8", colour="rgb"),
        spec(fit="crop-centre", colour="grey", mean=(9.0,) * 3),
    ],
)
@pytest.mark.parametrize("size", [(128, 96), (200, 50), (50, 200), (64, 48), (31, 17)])
def test_the_tensor_is_what_the_manifest_says(one: InputSpec, size: tuple[int, int]) -> None:
    image = picture(*size)
    preprocessor = Preprocessor(one)
    box = preprocessor.write(frame(image))
    assert preprocessor.tensor.dtype == one.dtype
    np.testing.assert_allclose(preprocessor.tensor, expected(image, one, box), atol=1e-4)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("colour", ["rgb", "grey"])
def test_half_precision_is_rounded_once(layout: str, colour: str) -> None:
    numbers = IMAGENET if colour == "rgb" else {"mean": (127.5,) * 3, "std": (127.5,) * 3}
    one = spec(dtype="float16", layout=layout, colour=colour, **numbers)
    image = picture(200, 50)
    preprocessor = Preprocessor(one)
    box = preprocessor.write(frame(image))
    assert preprocessor.tensor.dtype == np.float16
    np.testing.assert_array_equal(preprocessor.tensor, expected(image, one, box).astype(np.float16))


def test_what_is_cropped_is_the_middle_of_the_frame() -> None:
    image = np.zeros((48, 200, 3), np.uint8)
    image[:, 68:132] = 255  # 64 pixels in the middle of 200
    preprocessor = Preprocessor(spec(fit="crop-centre"))
    box = preprocessor.write(frame(image))
    assert (box.left, box.top, box.width, box.height) == (-68, 0, 200, 48)
    assert preprocessor.tensor.min() == 255.0
    back = box.to_source(np.array([[0, 0, 64, 48], [-68, 10, 500, 20]], np.float32))
    assert back.tolist() == [[68, 0, 132, 48], [0, 10, 200, 20]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"dtype": "int8", "mean": (1.0, 1.0, 1.0)},
        {"quantization": QUANTIZED},
        {"colour": "grey", "mean": (1.0, 2.0, 3.0)},
    ],
)
def test_an_input_that_contradicts_itself_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        spec(**wrong)


def test_padding_is_whole_again_after_the_picture_has_changed_its_shape() -> None:
    preprocessor = Preprocessor(spec())
    preprocessor.write(frame(picture(50, 200)))
    image = picture(200, 50)
    box = preprocessor.write(frame(image))
    np.testing.assert_allclose(preprocessor.tensor, expected(image, spec(), box))


def test_the_same_tensor_is_written_every_time() -> None:
    preprocessor = Preprocessor(spec())
    before = preprocessor.tensor
    preprocessor.write(frame(picture(200, 50)))
    preprocessor.write(frame(picture(50, 200)))
    assert preprocessor.tensor is before


def to_planes(image: NDArray[np.uint8], layout: PixelLayout) -> NDArray[np.uint8]:
    i420 = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), np.uint8)
    if layout is PixelLayout.I420:
        return i420
    rows, columns = image.shape[:2]
    u, v = i420.reshape(-1)[rows * columns :].reshape(2, -1)
    both = np.stack((u, v), axis=1).reshape(-1)
    return np.concatenate((i420.reshape(-1)[: rows * columns], both)).reshape(rows * 3 // 2, columns)


@pytest.mark.parametrize("layout", [PixelLayout.I420, PixelLayout.NV12])
@pytest.mark.parametrize("kind", ["letterbox-topleft", "letterbox-centre", "stretch", "crop-centre"])
@pytest.mark.parametrize("size", [(128, 96), (128, 72), (36, 120), (64, 36), (64, 48)])
def test_planes_give_the_picture_that_bgr_gives(layout: PixelLayout, kind: str, size: tuple[int, int]) -> None:
    image = picture(*size)
    one = spec(fit=kind)
    preprocessor = Preprocessor(one)
    box = preprocessor.write(frame(to_planes(image, layout), layout))
    assert (box.width % 2, box.height % 2) == (0, 0)
    difference = np.abs(preprocessor.tensor - expected(image, one, box))
    assert difference.mean() < 2.0  # chroma at half size and two roundings
    assert difference.max() < 24.0


@pytest.mark.parametrize("layout", [PixelLayout.I420, PixelLayout.NV12])
@pytest.mark.parametrize("kind", ["letterbox-topleft", "letterbox-centre", "stretch", "crop-centre"])
@pytest.mark.parametrize("input_size", [(65, 48), (64, 47), (65, 47)])
def test_planes_fit_an_input_of_odd_size_too(layout: PixelLayout, kind: str, input_size: tuple[int, int]) -> None:
    one = spec(width=input_size[0], height=input_size[1], fit=kind)
    preprocessor = Preprocessor(one)
    for size in ((128, 96), (64, 36)):  # a frame of another size takes other buffers
        image = picture(*size)
        box = preprocessor.write(frame(to_planes(image, layout), layout))
        assert kind != "stretch" or (box.width, box.height) == input_size
        difference = np.abs(preprocessor.tensor - expected(image, one, box))
        assert difference.mean() < 2.0
        assert difference.max() < 24.0


@pytest.mark.parametrize("side", [512, 513])
@pytest.mark.parametrize("layout", [PixelLayout.I420, PixelLayout.NV12])
def test_planes_never_become_a_picture_of_the_frame_s_size(layout: PixelLayout, side: int) -> None:
    preprocessor = Preprocessor(spec(width=side, height=side, fit="stretch", layout="nhwc", dtype="uint8"))
    seen = frame(to_planes(picture(1920, 1080), layout), layout)
    tracemalloc.start()
    preprocessor.write(seen)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4.5e6, "its own buffers take 2.8 MB; the frame in BGR would take 6.2 more"


def test_the_receivers_frame_is_left_as_it_was() -> None:
    image = picture(64, 48)
    before = image.copy()
    Preprocessor(spec(mean=(9.0, 9.0, 9.0))).write(frame(image))
    assert (image == before).all()


@given(width=SIZES, height=SIZES, net_width=st.integers(16, 640), net_height=st.integers(16, 640), even=st.booleans())
def test_a_letterboxed_picture_lies_inside_and_keeps_its_shape(
    *, width: int, height: int, net_width: int, net_height: int, even: bool
) -> None:
    one = spec(width=net_width, height=net_height, fit="letterbox-centre")
    box = fit(one, (width, height), (width, height), even=even)
    assert box.left >= 0
    assert box.top >= 0
    assert box.left + box.width <= net_width
    assert box.top + box.height <= net_height
    step = 2 if even else 1
    ratio = min(net_width / width, net_height / height)
    assert abs(box.width - width * ratio) <= step + 1e-6 or box.width == step
    assert abs(box.height - height * ratio) <= step + 1e-6 or box.height == step
    if not even:
        assert box.width == net_width or box.height == net_height


@given(SIZES, SIZES, st.sampled_from(["letterbox-topleft", "letterbox-centre", "stretch", "crop-centre"]), st.data())
def test_a_box_comes_back_to_where_it_was_in_the_frame(width: int, height: int, kind: str, data: st.DataObject) -> None:
    # the picture in hand is half the frame's size, as from a camera that scales
    box = fit(spec(fit=kind), (max(1, width // 2), max(1, height // 2)), (width, height))
    x = sorted(data.draw(st.lists(st.floats(0, width), min_size=2, max_size=2)))
    y = sorted(data.draw(st.lists(st.floats(0, height), min_size=2, max_size=2)))
    in_frame = np.array([[x[0], y[0], x[1], y[1]]])
    scale = np.array([box.width / width, box.height / height] * 2)
    in_net = in_frame * scale + np.array([box.left, box.top] * 2)
    back = box.to_source(in_net.astype(np.float32))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, in_frame, atol=max(width, height) * 1e-4)


def test_boxes_are_clipped_to_the_frame() -> None:
    box = fit(spec(), (128, 96), (1280, 960))
    back = box.to_source(np.array([[-5, -5, 100, 100], [10, 10, 20, 20]], np.float32))
    assert back.tolist() == [[0, 0, 1280, 960], [200, 200, 400, 400]]


def test_no_row_is_lost_to_rounding() -> None:
    for width in range(1, 3000):
        box = fit(spec(width=416, height=416), (width, width), (width, width))
        assert (box.width, box.height) == (416, 416)
