"""What runs a model: tensors in, tensors out, and no idea of their meaning."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from appliance.core.manifest import TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

RUNTIMES: Final[Mapping[str, str]] = {"onnx": "appliance.inference.runtimes.onnx:OnnxRuntime"}
"""Runtime of each format of artifact; the class is imported when it is chosen."""


class Session(Protocol):
    """A model that is loaded. Used by one thread at a time."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What it takes."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What it gives, in this order."""

    def run(self, inputs: Mapping[str, "NDArray[Any]"]) -> Sequence["NDArray[Any]"]:
        """Run the model once; blocks until it is done and lets other threads run meanwhile.

        Args:
            inputs: Contiguous tensors by name; read during the call only.

        Returns:
            The outputs, the caller's own.

        Raises:
            ModelError: It could not be run with these inputs.
        """

    def close(self) -> None:
        """Let go of the model's memory."""


class Runtime(Protocol):
    """Loads models of one format."""

    def open(self, model: bytes, *, name: str, threads: int) -> Session:
        """Load a model.

        Args:
            model: The file's content; not needed after the call.
            name: What to call it in messages: the file's path.
            threads: CPU threads of one inference.

        Raises:
            ModelError: It is broken, or uses what this runtime does not know.
        """
