"""What a file says of itself: read where it is there, and never trusted further than it is bounded."""

import json
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.inference.adding import onnx_about, tflite_about
from appliance.inference.adding.about import MOST_LABELS, MOST_TEXT, About, parse_lines, parse_names
from tests.shared_data import SHARED, needs
from tests.simulators import tflite_metadata, tiny_onnx

ULTRALYTICS = {
    "description": "Ultralytics YOLO11n model trained on coco.yaml",
    "author": "Ultralytics",
    "license": "AGPL-3.0 License (https://ultralytics.com/license)",
    "task": "detect",
    "imgsz": "[480, 640]",
    "names": "{0: 'person', 1: 'hot dog', 2: \"farmer's cart\"}",
}


def onnx_file(entries: dict[str, str]) -> bytes:
    """An ONNX file with entries as its exporter left them: field 14 of ModelProto, a key and a value each."""
    whole = tiny_onnx.model({"images": (1, 3, 64, 64)}, {"output": np.zeros((1, 7, 84), np.float32)})
    for key, value in entries.items():
        pair = b"".join(
            bytes([tag]) + _length(text) + text for tag, text in ((0x0A, key.encode()), (0x12, value.encode()))
        )
        whole += b"\x72" + _length(pair) + pair
    return whole


def _length(content: bytes) -> bytes:
    size, out = len(content), bytearray()
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes((*out, size))


def test_what_ultralytics_exporters_leave_in_an_onnx_file_is_read() -> None:
    about = onnx_about.read_about(onnx_file(ULTRALYTICS))
    assert about == About(
        labels=("person", "hot dog", "farmer's cart"),
        colour="rgb",
        fit="letterbox-centre",
        mean=(0.0,),
        std=(255.0,),
        task="detect",
        size=(640, 480),
        title="Ultralytics YOLO11n model trained on coco.yaml",
        licence="AGPL-3.0",
        url="https://github.com/ultralytics/ultralytics",
        precision="fp32",
    )


def test_what_onnx_itself_says_of_pictures_is_read() -> None:
    about = onnx_about.read_about(
        onnx_file({"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "Normalized_1_1"})
    )
    assert (about.colour, about.mean, about.std) == ("bgr", (127.5,), (127.5,))


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("['a', 'b']", ("a", "b")),
        ('["a", "b"]', ("a", "b")),
        ('{"0": "a", "1": "b"}', ("a", "b")),
        ("{0: 'a', 2: 'c'}", ("a", "", "c")),
        ("a\nb\n", ("a", "b")),
        ("a, b", ("a", "b")),
        ("", ()),
        ("{'one': 'a'}", ()),
        ("{0: 'a', 99999: 'b'}", ()),
        ("(" * 5000, ()),
        ("[" * 100_000, ()),
        ("{0: __import__('os').system('true')}", ()),
    ],
)
def test_names_are_read_as_values_only(text: str, labels: tuple[str, ...]) -> None:
    assert parse_names(text) == labels


def test_a_label_file_is_read_by_place_or_by_number() -> None:
    assert parse_lines("person\nbicycle\n\n") == ("person", "bicycle")
    assert parse_lines("0  person\n2 motor cycle\n") == ("person", "", "motor cycle")
    assert parse_lines("???\nperson\nn/a\ncar") == ("", "person", "", "car")
    assert parse_lines("3d printer\n2nd hand car\n") == ("3d printer", "2nd hand car")
    assert parse_lines("a\x1b[31mred\n") == ("a [31mred",)
    assert parse_lines(f"{'x' * 60}, {'y' * 60}\n{'z' * 101}") == ("x" * 60, "z" * 100)


@pytest.mark.parametrize("text", ["x" * 301, "\n".join(map(str, range(MOST_LABELS + 1))), "\n\n", "\x00"])
def test_what_is_no_list_of_labels_gives_none(text: str) -> None:
    assert parse_lines(text) == ()


def test_the_real_label_file_with_numbers_keeps_its_gaps() -> None:
    path = SHARED / "models" / "coco_labels.txt"
    if not path.exists():
        pytest.skip(f"needs {path}")
    labels = parse_lines(path.read_text(encoding="utf-8"))
    assert (len(labels), sum(1 for one in labels if one)) == (90, 80)
    assert (labels[0], labels[11], labels[89]) == ("person", "", "toothbrush")


def test_metadata_of_a_tflite_file_is_read_with_the_labels_that_are_packed_behind_it() -> None:
    content = tflite_metadata.model(
        packed={"labels.txt": b"robin\nwren\n", "readme.txt": b"crow\n"}, weights={9: 99, 0: 1}
    )
    about = tflite_about.read_about(content)
    assert about == About(
        labels=("robin", "wren"), colour="rgb", mean=(127.5,), std=(127.5,), title="Finds birds", precision="int8"
    )


@pytest.mark.parametrize("wrong", [{"mean": (float("nan"),)}, {"std": (0.0,)}, {"std": (1.0, 2.0)}, {"mean": (1e30,)}])
def test_a_normalisation_that_cannot_be_is_taken_for_missing(wrong: dict[str, tuple[float, ...]]) -> None:
    about = tflite_about.read_about(tflite_metadata.model(**wrong))
    assert (about.mean, about.std, about.colour) == (None, None, "rgb")


def test_ultralytics_table_in_a_tflite_file_is_read() -> None:
    table = {key: value for key, value in ULTRALYTICS.items() if key != "names"} | {"names": {0: "robin", 1: "wren"}}
    for text in (str(table), json.dumps(table)):
        about = tflite_about.read_about(tflite_metadata.model(packed={"temp_meta.txt": text.encode()}))
        assert (about.labels, about.task, about.colour) == (("robin", "wren"), "detect", "rgb")


@pytest.mark.parametrize(
    "packed",
    [
        {"labels.txt": b"a\n" * MOST_TEXT},
        {f"{number}.txt": b"a" for number in range(33)},
        {"../labels.txt": b"a\nb"},
    ],
)
def test_an_archive_beyond_its_bounds_or_with_other_names_gives_no_labels(packed: dict[str, bytes]) -> None:
    about = tflite_about.read_about(tflite_metadata.model(packed=packed))
    assert about.labels == ()
    assert about.title == "Finds birds"


def test_a_file_without_a_name_or_packed_in_an_odd_way_is_left_out() -> None:
    named = tflite_metadata.model(packed={"ZZZZ": b"x", "labels.txt": b"robin\nwren\n"})
    nameless = named.replace(b"ZZZZ", b"\0ZZZ")  # a name ends where there is a zero
    assert tflite_about.read_about(nameless).labels == ("robin", "wren")
    content = bytearray(tflite_metadata.model(packed={"labels.txt": b"robin\nwren\n"}))
    at = content.rfind(b"PK\x01\x02") + 10
    content[at : at + 2] = zipfile.ZIP_LZMA.to_bytes(2, "little")
    assert tflite_about.read_about(bytes(content)).labels == ()


def test_a_directory_that_tells_its_size_elsewhere_is_not_read() -> None:
    content = tflite_metadata.model(packed={"labels.txt": b"robin\nwren\n"})
    at = content.rfind(b"PK\x05\x06")
    _, _, _, _, count, size, start, _ = struct.unpack_from("<4s4H2LH", content, at)
    end = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)  # PKWARE's APPNOTE, sections 4.3.14 and 4.3.15
    assert tflite_about.read_about(content[:at] + end + locator + content[at:]).labels == ()


@given(data=st.data())
def test_no_damage_to_a_file_is_more_than_that_nothing_is_known(data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from([_TFLITE, _ONNX])))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    for read in (tflite_about.read_about, onnx_about.read_about):
        assert isinstance(read(content), About)


@needs("models/mobilenet_v2_1.0_224_quant.tflite")
def test_a_real_file_of_google_says_what_it_takes() -> None:
    path = SHARED / "models" / "mobilenet_v2_1.0_224_quant.tflite"
    about = tflite_about.read_about(path.read_bytes())
    assert (about.colour, about.mean, about.std, about.precision) == ("rgb", (127.5,), (127.5,), "int8")
    assert (len(about.labels), about.labels[:2], max(map(len, about.labels))) == (
        1001,
        ("background", "tench, Tinca tinca"),
        100,
    )
    file = (SHARED / "models" / "imagenet_labels.txt").read_text(encoding="utf-8").splitlines()
    assert all(whole.startswith(label) for label, whole in zip(about.labels, file, strict=True))


_TFLITE = tflite_metadata.model(packed={"labels.txt": b"robin\nwren\n"})
_ONNX = onnx_file(ULTRALYTICS)
