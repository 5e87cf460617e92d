"""What a model gives, and the table of its manifest that says how its outputs are read."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from appliance.core.decoding import AnyDecoder
from appliance.core.errors import ModelError
from appliance.core.part import Part

Task = Literal["detect", "classify", "segment"]

TABLES: Final = {"detect": "decoder", "classify": "classification", "segment": "segmentation"}
"""The table that a manifest of each task has, and no other."""

MOST_SEGMENTED: Final = 256
"""Labels of a segmentation network: class ids of pixels are bytes."""

Background = Annotated[str, Field(min_length=1, max_length=100)] | None


class ClassificationSpec(Part):
    """The ``[classification]`` table: one tensor with a value for each label.

    Attributes:
        activation: What makes scores of them: ``softmax`` of logits of labels of which one applies, ``sigmoid`` of
            those of labels that may apply together; ``none``: they are scores already.
        min_score: Lowest score of a label unless the owner sets another.
        top: At most so many labels of a frame are told.
        smoothing: Seconds after which a new picture has come 63 % of the way in the calmed scores; 0: each frame counts
            by itself. Where a camera is watched; a picture alone is never calmed.
        background: The label that stands for nothing, and is not told.
    """

    activation: Literal["softmax", "sigmoid", "none"]
    min_score: Annotated[float, Field(ge=0.01, le=1.0)]
    top: Annotated[int, Field(ge=1, le=20)] = 5
    smoothing: Annotated[float, Field(ge=0.0, le=3600.0)] = 1.0
    background: Background = None


class SegmentationSpec(Part):
    """The ``[segmentation]`` table: one tensor with a label, or a value for each label, at every place.

    Attributes:
        output: ``labels``: (1, rows, columns) of class ids; ``nhwc``: (1, rows, columns, classes), or ``nchw``:
            (1, classes, rows, columns), of logits or scores, the highest of which counts.
        background: The label that stands for nothing: neither its share nor its mask is told.
    """

    output: Literal["labels", "nhwc", "nchw"]
    background: Background = None


class Tasked(Part):
    """The part of a manifest that says what a model gives: for each task a table, and the one of its own is there.

    Attributes:
        name: Of the model.
        task: Objects, what a frame as a whole shows, or what each of its pixels belongs to.
        decoder_spec: How the outputs of a detector become detections; `decoder` in the file.
        classification_spec: How the output of a classifier becomes labels; `classification` in the file.
        segmentation_spec: How the output of a segmentation network becomes a label map; `segmentation` in the file.
    """

    name: str
    task: Task
    decoder_spec: Annotated[AnyDecoder | None, Field(alias="decoder")] = None
    classification_spec: Annotated[ClassificationSpec | None, Field(alias="classification")] = None
    segmentation_spec: Annotated[SegmentationSpec | None, Field(alias="segmentation")] = None

    @property
    def decoder(self) -> AnyDecoder:
        """How its outputs become detections.

        Raises:
            ModelError: It is no detector.
        """
        if self.decoder_spec is None:
            raise self._for_another("a detector")
        return self.decoder_spec

    @property
    def classification(self) -> ClassificationSpec:
        """How its output becomes labels.

        Raises:
            ModelError: It is no classifier.
        """
        if self.classification_spec is None:
            raise self._for_another("a classifier")
        return self.classification_spec

    @property
    def segmentation(self) -> SegmentationSpec:
        """How its output becomes a label map.

        Raises:
            ModelError: It is no segmentation network.
        """
        if self.segmentation_spec is None:
            raise self._for_another("a segmentation network")
        return self.segmentation_spec

    @property
    def min_score(self) -> float | None:
        """Lowest score of a detection or label unless the owner sets another; None: it gives no scores."""
        scored = self.decoder_spec or self.classification_spec
        return scored.min_score if scored is not None else None

    @property
    def background(self) -> str | None:
        """The label that stands for nothing, of a classifier or a segmentation network that has one."""
        spec = self.classification_spec or self.segmentation_spec
        return spec.background if spec is not None else None

    def _for_another(self, needed: str) -> ModelError:
        return ModelError(f"model {self.name!r} is for task {self.task!r}; this needs {needed}")


def own_tables(part: Any, ending: str = "") -> dict[str, Any]:
    """Give those of `TABLES` that a manifest (its fields' names end in ``_spec``) or an artifact of one has."""
    found = {table: getattr(part, table + ending) for table in TABLES.values()}
    return {table: spec for table, spec in found.items() if spec is not None}
