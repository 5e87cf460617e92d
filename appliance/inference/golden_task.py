"""What golden frames are to models of a task: one module a task, imported only for such a model."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.core.registry import load

if TYPE_CHECKING:
    from appliance.inference.golden import Deviation, Expectation, GoldenContent, Tolerance

TASKS: Final = {
    "detect": "appliance.inference.golden_objects:GoldenObjects",
    "classify": "appliance.inference.golden_labels:GoldenLabels",
    "segment": "appliance.inference.golden_maps:GoldenMaps",
}
"""What fits `GoldenTask`, by task."""


class GoldenTask(Protocol):
    """What golden frames are to models of one task."""

    @property
    def content(self) -> "type[GoldenContent[Any]]":
        """Of golden.json."""

    @property
    def of(self) -> str:
        """What is found in a frame, for people."""

    def look(self, model: Any, image: NDArray[np.uint8]) -> Any:
        """Have a model look at a picture, shape (H, W, 3), BGR; give what it finds, as it is written down.

        Raises:
            ModelError: The model could not be run, or gave numbers that are not finite.
        """

    def expect(self, model: Any, images: Mapping[str, NDArray[np.uint8]], tolerance: "Tolerance") -> "Expectation":
        """Give what a model finds in pictures, shape (H, W, 3), BGR, by name.

        Raises:
            ModelError: Likewise; or it finds what a broken one might find too, so that it would prove nothing.
        """

    def summary(self, expected: Any) -> Any:
        """Tell in short what is expected of a frame, JSON types only."""

    def required(self, expected: Any, least: float) -> int:
        """Tell how much must be found in a frame, from which score on."""

    def compare(self, frame: str, expected: Any, found: Any, tolerance: "Tolerance", least: float) -> "list[Deviation]":
        """Compare what was found in a frame with what was expected; see `compare_golden`."""


def golden_task(task: str) -> GoldenTask:
    """Give what golden frames are to models of a task."""
    kind = load(TASKS, task, "task")
    made: GoldenTask = kind()
    return made
