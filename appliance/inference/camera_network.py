"""Tells whether a network that a camera runs is the model that its manifest describes. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.core.answer import CameraNetwork
from appliance.core.decoding import ListedSpec
from appliance.core.manifest import ModelManifest

_TASK = "object detection"


@dataclass(frozen=True, slots=True)
class View:
    """What a network in a camera saw of a frame.

    Attributes:
        left: Pixels of the frame; the network may have seen more than the frame shows.
        top: Likewise.
        width: Likewise.
        height: Likewise.
        input_size: Width and height of the network's input, pixels.
        source_size: Width and height of the frame, pixels.
    """

    left: float
    top: float
    width: float
    height: float
    input_size: tuple[int, int]
    source_size: tuple[int, int]

    def to_source(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give boxes in pixels of the source frame, clipped to it.

        Args:
            boxes: Shape (N, 4), float32, xyxy in pixels of the network's input.
        """
        scale = np.array((self.width / self.input_size[0], self.height / self.input_size[1]) * 2, np.float32)
        corner = np.array((self.left, self.top) * 2, np.float32)
        limits = np.array(self.source_size * 2, np.float32)
        moved = boxes * scale
        moved += corner
        np.maximum(moved, 0.0, out=moved)
        np.minimum(moved, limits, out=moved)
        return moved


def disagreements(manifest: ModelManifest, sha256: str, network: CameraNetwork) -> list[str]:
    """Tell where a camera's network is not what the manifest says; what its file does not tell is not looked at.

    Args:
        manifest: Of the model that was chosen.
        sha256: Of the model's file.
        network: What the camera has loaded.
    """
    found = []
    if network.sha256 != sha256:
        return ["the camera has loaded another file; give the model's own as the camera's `network`"]
    size = (manifest.input.width, manifest.input.height)
    if (network.width, network.height) != size:
        found.append(f"its input is {network.width} x {network.height}, the manifest's {size[0]} x {size[1]}")
    if network.task not in {"", _TASK}:
        found.append(f"its task is {network.task!r}, not {_TASK!r}")
    if network.labels and not _are_the_same(network.labels, manifest):
        found.append(f"its {len(network.labels)} labels are not the manifest's")
    if isinstance(manifest.decoder, ListedSpec):
        found += _boxes(manifest.decoder, network)
    return found


def shortfalls(manifest: ModelManifest, network: CameraNetwork) -> tuple[str, ...]:
    """Tell what a network would need and does not get: a line each."""
    if network.keeps_aspect_ratio and manifest.input.fit == "stretch":
        return ("it was made for pictures that keep their aspect ratio, and the camera stretches the whole one",)
    return ()


def _boxes(spec: ListedSpec, network: CameraNetwork) -> list[str]:
    found = []
    order = {"yx": "yxyx", "xy": "xyxy"}.get(network.box_order, spec.box_order)
    if order != spec.box_order:
        found.append(f"its boxes are {order}, decoder.box_order is {spec.box_order}")
    if network.boxes_are_pixels is not None:
        unit = "pixels" if network.boxes_are_pixels else "normalised"
        if unit != spec.unit:
            found.append(f"its boxes are in {unit}, decoder.unit is {spec.unit}")
    return found


def _are_the_same(told: tuple[str, ...], manifest: ModelManifest) -> bool:
    """Compare labels by the network's own numbers; what it calls ``-`` is no class."""
    numbers = manifest.decoder.class_numbers if isinstance(manifest.decoder, ListedSpec) else ()
    chosen = numbers or range(len(manifest.labels))
    classes = {number: label for number, label in enumerate(told) if label not in {"", "-"}}
    return classes == dict(zip(chosen, manifest.labels, strict=True))
