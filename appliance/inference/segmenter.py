"""From a frame to what each of its pixels belongs to: the one path that the daemon and the commands share."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from appliance.core.frame import Frame
from appliance.core.results import Segmentation
from appliance.inference.artifacts import ResolvedModel
from appliance.inference.opened import OpenModel, wanted_labels
from appliance.inference.running import Running
from appliance.inference.segmentation import fit_to_frame, to_label_map

if TYPE_CHECKING:
    from appliance.inference.runtimes import Session


class Segmenter(OpenModel):
    """A segmentation network that is loaded and warm; see `OpenModel`. Used by one thread.

    Args:
        model: What the loaded file is.
        session: The loaded file; closed by `close`.
        labels: Only these, or the labels of these groups, are told of; empty: all the model knows but its background.
        running: What it runs on; None: nobody knows.

    Attributes:
        wanted: Shape (labels,): those that are told of. A pixel of another keeps its class id all the same.

    Raises:
        ConfigError: A label is neither one of the model's nor a group.
        ModelError: It is no segmentation network, cannot be run, or gives what is no label map.
    """

    def __init__(
        self,
        model: ResolvedModel,
        session: "Session",
        *,
        labels: tuple[str, ...] = (),
        running: Running | None = None,
    ) -> None:
        super().__init__(model, session, running)
        self._spec = self.manifest.segmentation
        self.wanted = wanted_labels(self.manifest, labels)
        self._label_map()  # warm: the first frame need not wait for it

    def segment(self, frame: Frame, longest: int | None = None) -> Segmentation:
        """Give what each pixel of a frame belongs to.

        Args:
            frame: The frame.
            longest: Most pixels of the longer side: of a larger frame every so many-th pixel alone is told of, which
                costs less; None: all.

        Raises:
            ModelError: The model could not be run, or gave what is no label map.
            UnavailableError: It is watched, and did not answer in time, or its process died.
        """
        started = time.perf_counter()
        letterbox = self._write(frame)
        label_map = self._label_map()
        width, height = told_size(frame.width, frame.height, longest)
        told = replace(letterbox, source_width=width, source_height=height)
        spec = self.manifest.input
        segmentation = fit_to_frame(label_map, told, (spec.width, spec.height))
        self.last_total_ms = (time.perf_counter() - started) * 1e3
        return segmentation

    def _label_map(self) -> NDArray[np.uint8]:
        [output] = self._run(self._inputs)
        return to_label_map(output, len(self.manifest.labels), self._spec.output)


def told_size(width: int, height: int, longest: int | None) -> tuple[int, int]:
    """Give width and height of a picture whose longer side is made to have at most `longest` pixels; None: as it is."""
    if longest is None or max(width, height) <= longest:
        return width, height
    scale = longest / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))
