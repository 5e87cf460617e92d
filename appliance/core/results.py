"""What a model found in one frame."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Detections:
    """Objects found in one frame, as a struct of arrays sorted by falling score.

    Attributes:
        boxes: Shape (N, 4), float32, xyxy in pixels of the source frame.
        scores: Shape (N,), float32, 0..1.
        class_ids: Shape (N,), int32, index into the model's labels.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]

    @classmethod
    def empty(cls) -> Self:
        """Nothing was found."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32))

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        """Give the chosen rows, by mask (N,) or by index (K,), as new arrays."""
        return type(self)(self.boxes[chosen], self.scores[chosen], self.class_ids[chosen])


@dataclass(frozen=True, slots=True)
class Classifications:
    """What a frame as a whole shows, as a struct of arrays sorted by falling score.

    Attributes:
        scores: Shape (N,), float32, 0..1.
        class_ids: Shape (N,), int32, index into the model's labels; each at most once.
    """

    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]

    @classmethod
    def empty(cls) -> Self:
        """Nothing was recognised."""
        return cls(np.empty(0, np.float32), np.empty(0, np.int32))

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What each pixel of one frame belongs to.

    Attributes:
        class_ids: Shape (height, width) of the source frame, uint8, index into the model's labels.
    """

    class_ids: NDArray[np.uint8]

    def mask(self, class_id: int) -> NDArray[np.bool_]:
        """Give the pixels of one class, shape (height, width)."""
        mask: NDArray[np.bool_] = self.class_ids == class_id
        return mask
