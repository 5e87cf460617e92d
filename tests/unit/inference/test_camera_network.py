"""Whether a camera's network is the model that was chosen, and where its boxes lie in the frame."""

from typing import Any

import numpy as np
import pytest

from appliance.core.answer import CameraNetwork
from appliance.core.manifest import ModelManifest
from appliance.inference.camera_network import View, disagreements, shortfalls
from tests.unit.inference.decoders.reference import manifest_of

SHA = "a" * 64
AGREEING: dict[str, Any] = {
    "task": "object detection",
    "labels": ("a", "b", "c"),
    "box_order": "yx",
    "boxes_are_pixels": True,
    "keeps_aspect_ratio": False,
}


def manifest(**decoder: Any) -> ModelManifest:
    return manifest_of({"kind": "listed", "box_order": "yxyx", "unit": "pixels", **decoder}, tensors=4)


def told(**other: Any) -> list[str]:
    return disagreements(manifest(), SHA, CameraNetwork(**{"sha256": SHA, "width": 96, "height": 64, **other}))


def test_what_the_file_tells_and_what_it_leaves_out_agree() -> None:
    assert told() == []
    assert told(**AGREEING) == []


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"width": 320}, "its input is 320 x 64, the manifest's 96 x 64"),
        ({"task": "classification"}, "its task is 'classification', not 'object detection'"),
        ({"labels": ("a", "c", "b")}, "its 3 labels are not the manifest's"),
        ({"labels": ("a", "b")}, "its 2 labels are not the manifest's"),
        ({"box_order": "xy"}, "its boxes are xyxy, decoder.box_order is yxyx"),
        ({"boxes_are_pixels": False}, "its boxes are in normalised, decoder.unit is pixels"),
    ],
)
def test_each_thing_that_differs_is_named(other: dict[str, Any], expected: str) -> None:
    assert told(**{**AGREEING, **other}) == [expected]


def test_another_file_is_told_alone() -> None:
    (line,) = told(sha256="b" * 64, width=1)
    assert "the camera has loaded another file" in line


def test_labels_are_compared_by_the_networks_own_numbers() -> None:
    network = CameraNetwork(SHA, 96, 64, labels=("-", "a", "b", "-", "c"))
    assert disagreements(manifest(class_numbers=(1, 2, 4)), SHA, network) == []
    assert disagreements(manifest(class_numbers=(0, 1, 2)), SHA, network) != []


def test_a_network_that_is_given_a_stretched_picture_and_wants_another_is_a_shortfall() -> None:
    assert shortfalls(manifest(), CameraNetwork(SHA, 96, 64, keeps_aspect_ratio=False)) == ()
    (line,) = shortfalls(manifest(), CameraNetwork(SHA, 96, 64, keeps_aspect_ratio=True))
    assert "keep their aspect ratio" in line


def test_boxes_come_from_the_networks_view_into_the_frame_and_no_further() -> None:
    # the network sees twice as high a picture as the frame shows, from 360 pixels above it
    view = View(0.0, -360.0, 1280.0, 1440.0, input_size=(320, 320), source_size=(1280, 720))
    boxes = np.array([[80, 160, 160, 200], [0, 0, 320, 320], [0, 0, 10, 10]], np.float32)
    expected = [[320, 360, 640, 540], [0, 0, 1280, 720], [0, 0, 40, 0]]
    np.testing.assert_allclose(view.to_source(boxes), expected)
