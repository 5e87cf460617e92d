"""What runs a model: tensors in, tensors out, and no idea of their meaning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from appliance.core.manifest import Signature, TensorSpec
from appliance.core.providers import AnyProvider, Delegate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from appliance.inference.watch import Watch

RUNTIMES: Final[Mapping[str, str]] = {
    "onnx": "appliance.inference.runtimes.onnx:OnnxRuntime",
    "tflite": "appliance.inference.runtimes.litert:LiteRtRuntime",
    "hef": "appliance.inference.runtimes.hailo:HailoRuntime",
    "rpk": "appliance.inference.runtimes.imx500:Imx500Runtime",
}
"""Runtime of each format of artifact; the class is imported when it is chosen."""

RUN_BY_CAMERA: Final = frozenset({"rpk"})
"""Formats whose networks the camera runs: their sessions take its tensors, by the outputs' names, for a picture."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a file is to be run, where the runtime has a choice.

    Attributes:
        providers: Of ONNX Runtime, best first; without ``cpu`` among them not the CPU alone. Empty: the CPU.
        delegate: Of LiteRT; None: the CPU.
        cache: Folder for what a provider compiles for this machine; None: it is compiled anew each time.
        watch: How long to wait for it, and in which process it runs, which is no runtime's concern; None: in the
            caller's thread, without end.
        is_plain: LiteRT's own kernels alone, without XNNPACK.
        threads: CPU threads of one inference, in place of those that are given beside the plan; None: those.
        signature: What the manifest promises, for a file that does not tell its own tensors.
    """

    providers: tuple[AnyProvider, ...] = ()
    delegate: Delegate | None = None
    cache: Path | None = None
    watch: "Watch | None" = None
    is_plain: bool = False
    threads: int | None = None
    signature: Signature | None = None


NO_PLAN: Final = Plan()
"""On the CPU, and nothing is kept."""


@dataclass(frozen=True, slots=True)
class Placement:
    """How much of a network one provider or delegate has taken.

    Attributes:
        provider: Its name: ``cpu``, ``cuda``, ``xnnpack``, ``libedgetpu``.
        nodes: Nodes of the network that it runs; None: this version of the runtime cannot tell.
    """

    provider: str
    nodes: int | None


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
            UnavailableError: It is watched, and did not answer in time, or its process died: it is of no more use.
        """

    def close(self) -> None:
        """Let go of the model's memory."""


class OpenedSession(Session, Protocol):
    """A session as a runtime gives it: it also tells on what it runs."""

    @property
    def placements(self) -> tuple[Placement, ...]:
        """What runs it, in the order in which it was asked for."""

    @property
    def shortfalls(self) -> tuple[str, ...]:
        """What was asked for and is not so, and why: a line each."""


class Runtime(Protocol):
    """Loads models of one format."""

    def open(self, model: bytes, *, name: str, threads: int, plan: Plan = NO_PLAN) -> OpenedSession:
        """Load a model.

        Args:
            model: The file's content; not needed after the call.
            name: What to call it in messages: the file's path.
            threads: CPU threads of one inference.
            plan: How to run it, where there is a choice.

        Raises:
            ModelError: It is broken, or uses what this runtime does not know.
            UnsupportedError: Nothing that may run it does so here.
        """


def fits(promised: tuple[int | None, ...], given: tuple[int, ...]) -> bool:
    """Tell whether a tensor's shape is the promised one; None there leaves an axis open."""
    return promised == given or (
        len(promised) == len(given)
        and all(size is None or size == found for size, found in zip(promised, given, strict=True))
    )
