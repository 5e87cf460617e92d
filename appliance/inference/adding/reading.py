"""What is seen of a network, and what it could be by that."""

from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

from appliance.core.manifest import TensorSpec

Task = Literal["detect", "classify", "segment", "pose"]


@dataclass(frozen=True, slots=True)
class Picture:
    """The input that takes the picture.

    Attributes:
        spec: As in the file.
        layout: Order of its axes.
        width: Pixels.
        height: Pixels.
        channels: 3, or 1 for grey.
    """

    spec: TensorSpec
    layout: Literal["nchw", "nhwc"]
    width: int
    height: int
    channels: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor, all axes known."""
        size = (self.height, self.width)
        return (1, self.channels, *size) if self.layout == "nchw" else (1, *size, self.channels)

    def cells(self, *strides: int) -> int:
        """Count the cells of the maps with these strides."""
        return sum(-(-self.height // one) * -(-self.width // one) for one in strides)


@dataclass(frozen=True, slots=True)
class Seen:
    """A network and what it gave for some pictures.

    Attributes:
        picture: Its input.
        inputs: All inputs.
        outputs: Names and types of its outputs, with the sizes that they had.
        values: What each output was, for each of the pictures, one after the other along the first axis.
    """

    picture: Picture
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    values: tuple[NDArray[Any], ...]

    def shape(self, at: int) -> tuple[int, ...]:
        """Give the sizes of an output for one picture."""
        return tuple(size or 0 for size in self.outputs[at].shape)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a network could be.

    Attributes:
        family: In words.
        task: What it gives.
        classes: How many it tells apart; None: its tensors do not say.
        decoder: The manifest's table that says how the outputs are read, whatever its name is for this task.
        outputs: Shapes of the outputs, with the words of `signature`.
        constants: The signature's, likewise.
        input: What is usual in this family: entries of the manifest's table.
        labels: The family's own, where its tensors tell so; else empty.
        url: The family's project.
        licence: Of the family's own weights; empty: it depends.
        is_known: A manifest of Edgecam's own speaks of exactly these tensors.
    """

    family: str
    task: Task
    classes: int | None
    decoder: dict[str, Any] = field(default_factory=dict)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    constants: list[dict[str, Any]] = field(default_factory=list)
    input: dict[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    url: str = ""
    licence: str = ""
    is_known: bool = False
