"""Golden frames of segmentation networks: which part of each is covered by which label."""

from collections.abc import Mapping
from itertools import combinations
from typing import Annotated, Final, Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from appliance.core.errors import ModelError
from appliance.core.manifest import Label
from appliance.core.part import Part
from appliance.core.rle import Rle, decode_mask, encode_mask
from appliance.core.tasks import MOST_SEGMENTED
from appliance.inference.golden import Deviation, Expectation, GoldenContent, Tolerance, frame_of
from appliance.inference.segmenter import Segmenter

LONGEST: Final = 160
"""Pixels of the longer side of a map that is written down."""

_LEAST_IOU: Final = 0.05  # of pictures, where the tolerance is so wide that none tell two networks apart for certain
LEAST_SHARE: Final = 0.02  # of the picture; an edge is a large part of what is smaller


class GoldenMask(Part):
    """What a label covers of a golden frame.

    Attributes:
        label: The label.
        counts: Runs of the mask, as COCO writes them; see `appliance.core.rle`.
    """

    label: Label
    counts: Annotated[str, Field(min_length=1, max_length=64 << 10)]


class GoldenMap(Part):
    """What covers a golden frame.

    Attributes:
        width: Of the map, pixels.
        height: Of the map, pixels.
        masks: Of each label that is told and there; the background is what they leave.
    """

    width: Annotated[int, Field(ge=1, le=LONGEST)]
    height: Annotated[int, Field(ge=1, le=LONGEST)]
    masks: Annotated[tuple[GoldenMask, ...], Field(max_length=MOST_SEGMENTED)]

    @model_validator(mode="after")
    def _masks_are_of_its_size(self) -> Self:
        try:
            self.by_label()
        except ModelError as error:
            raise ValueError(str(error)) from error
        return self

    def by_label(self) -> dict[str, NDArray[np.bool_]]:
        """Give the mask of each label that is there, shape (height, width)."""
        return {one.label: decode_mask(Rle(self.height, self.width, one.counts)) for one in self.masks}


class MappedArtifact(Expectation):
    """What one file of weights sees in the frames.

    Attributes:
        frames: For each frame, in their order, its map.
    """

    frames: tuple[GoldenMap, ...]


class MappedSet(GoldenContent[MappedArtifact]):
    """The content of golden.json of a segmentation network."""


class GoldenMaps:
    """What golden frames are to segmentation networks; see `GoldenTask`."""

    content: Final = MappedSet
    of: Final = "areas"

    def look(self, model: Segmenter, image: NDArray[np.uint8]) -> GoldenMap:
        """Give the map of a picture; see `GoldenTask.look`."""
        class_ids = model.segment(frame_of(image), LONGEST).class_ids
        labels = model.manifest.labels
        there = [int(one) for one in np.unique(class_ids) if model.wanted[one]]
        masks = tuple(GoldenMask(label=labels[one], counts=encode_mask(class_ids == one).counts) for one in there)
        height, width = class_ids.shape
        return GoldenMap(width=width, height=height, masks=masks)

    def expect(self, model: Segmenter, images: Mapping[str, NDArray[np.uint8]], tolerance: Tolerance) -> MappedArtifact:
        """Give the maps of pictures; see `GoldenTask.expect`.

        Raises:
            ModelError: A network that draws the same whatever it sees would pass.
        """
        frames = tuple(self.look(model, image) for image in images.values())
        # 1 - IoU is a distance (Kosub, 2019): what is within the tolerance of both of two is within twice of it between
        twice = tolerance.model_copy(update={"iou": max(2 * tolerance.iou - 1, _LEAST_IOU)})
        pairs = ((one, _as_large_as(one, other)) for one, other in combinations(frames, 2))
        if not any(self.compare("", *pair, twice) for pair in pairs):
            raise ModelError(
                f"{model.path} sees much the same in all golden frames (an IoU of {twice.iou:.2f} or more), or "
                "nothing: they would prove nothing; give pictures of your own that show different things: --frames "
                "FOLDER"
            )
        return MappedArtifact(sha256=model.digest, frames=frames)

    def summary(self, expected: GoldenMap) -> list[str]:
        """Give the labels that are there; see `GoldenTask.summary`."""
        return [one.label for one in expected.masks]

    def required(self, expected: GoldenMap, _least: float = 0.0) -> int:
        """Tell how many labels must be where they were; see `GoldenTask.required`."""
        return sum(mask.mean() >= LEAST_SHARE for mask in expected.by_label().values())

    def compare(
        self, frame: str, expected: GoldenMap, found: GoldenMap, tolerance: Tolerance, _least: float = 0.0
    ) -> list[Deviation]:
        """Compare maps of one size: each label that covers some of either must overlap as the tolerance says. Pure.

        Args:
            frame: What the frame is called.
            expected: As it was where it was made.
            found: Here.
            tolerance: Least intersection over union of what a label covers.
        """
        before, now = expected.by_label(), found.by_label()
        nothing = np.zeros((expected.height, expected.width), np.bool_)
        deviations = []
        for label in dict.fromkeys((*before, *now)):
            first, second = before.get(label, nothing), now.get(label, nothing)
            if first.shape != second.shape:
                deviations.append(Deviation(frame, "missing", label, 0.0))
                continue
            overlap = float((first & second).sum() / max((first | second).sum(), 1))
            if max(first.mean(), second.mean()) >= LEAST_SHARE and overlap < tolerance.iou:
                is_expected = bool(first.mean() >= LEAST_SHARE)
                what: Literal["missing", "unexpected"] = "missing" if is_expected else "unexpected"
                deviations.append(Deviation(frame, what, label, round(overlap, 4)))
        return deviations


def _as_large_as(first: GoldenMap, other: GoldenMap) -> GoldenMap:
    """Give another picture's map in the size of the first: what is the same in both is the same network's habit."""
    size = (first.width, first.height)
    scaled = {
        label: cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        for label, mask in other.by_label().items()
    }
    masks = tuple(GoldenMask(label=label, counts=encode_mask(mask).counts) for label, mask in scaled.items())
    return GoldenMap(width=first.width, height=first.height, masks=masks)
