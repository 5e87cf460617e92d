"""A session that keeps what it gave last, for those who want it beside the detections."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from appliance.inference.runtimes import Session

if TYPE_CHECKING:
    from appliance.core.manifest import TensorSpec


class Recorder:
    """A session that keeps its last outputs, as they are before they are decoded.

    Args:
        session: That runs; closed with this one.

    Attributes:
        inputs: The session's.
        outputs: The session's.
        last: What it gave last.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.inputs: tuple[TensorSpec, ...] = session.inputs
        self.outputs: tuple[TensorSpec, ...] = session.outputs
        self.last: Sequence[NDArray[Any]] = ()

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """Run the session; see `Session.run`."""
        self.last = self._session.run(inputs)
        return self.last

    def close(self) -> None:
        """Close the session."""
        self._session.close()
