"""Reads the answers of a network that a camera runs, once it is sure that it is the model that was chosen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.core.answer import CameraNetwork
from appliance.core.decoding import ListedSpec
from appliance.core.errors import ModelError
from appliance.core.frame import Frame
from appliance.core.manifest import ModelManifest, TensorSpec

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


class AnswerReader:
    """Takes what a camera's network found from frames. Used by one thread.

    Args:
        manifest: Of the model that was chosen.
        sha256: Of its file.
        name: The file's path, for messages.
        outputs: Of its session.

    Attributes:
        shortfalls: What the network would need and does not get: a line each; known from the first answer on.
    """

    def __init__(self, manifest: ModelManifest, sha256: str, name: str, outputs: Sequence[TensorSpec]) -> None:
        self.shortfalls: tuple[str, ...] = ()
        self._manifest, self._sha256, self._name = manifest, sha256, name
        self._outputs = [one.name for one in outputs]
        self._network: CameraNetwork | None = None

    def read(self, frame: Frame) -> tuple[dict[str, NDArray[np.float32]], View, float]:
        """Give the tensors for the session, what the network saw, and the milliseconds that it took.

        Raises:
            ModelError: The frame has no answer, or one of another network.
        """
        answer = frame.answer
        if answer is None:
            raise ModelError(
                f'{self._name} runs in a camera of kind "imx500", and {frame.camera} gives no network\'s answers'
            )
        if answer.network != self._network:
            self._agree(answer.network)
        if len(answer.tensors) != len(self._outputs):
            raise ModelError(f"{self._name} gave {len(answer.tensors)} outputs for {len(self._outputs)}; it is broken")
        size = (self._manifest.input.width, self._manifest.input.height)
        view = View(*answer.view, size, (frame.width, frame.height))
        return dict(zip(self._outputs, answer.tensors, strict=True)), view, answer.inference_ms or 0.0

    def _agree(self, network: CameraNetwork) -> None:
        if wrong := disagreements(self._manifest, self._sha256, network):
            raise ModelError(f"{self._name} is not what its manifest says: {'; '.join(wrong)}")
        self._network, self.shortfalls = network, shortfalls(self._manifest, network)


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
