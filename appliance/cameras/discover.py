"""Which cameras are attached, and which of them can be opened; loads neither OpenCV nor NumPy by itself."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from appliance.cameras.nodes import list_nodes
from appliance.core.errors import EdgecamError

_MODEL = Path("/proc/device-tree/model")
_INSTALL = "picamera2 is not installed; do: sudo apt install python3-picamera2 --no-install-recommends"


@dataclass(frozen=True, slots=True)
class Found:
    """One camera, or one that could be there.

    Attributes:
        kind: Kind of camera, as in the configuration.
        address: What to give `--camera`: ``/dev/video0``, ``picamera2:0``, ``synthetic``.
        title: Its name for people.
        is_usable: Nothing is known that speaks against opening it now.
        why: Why it cannot be opened and what to do; empty when it can.
    """

    kind: str
    address: str
    title: str
    is_usable: bool
    why: str


def find_cameras() -> list[Found]:
    """List the cameras of this machine, the best first: camera modules, Video4Linux devices, then the drawn street.

    Starts none of them. Takes milliseconds for Video4Linux, a second where picamera2 has to be loaded.
    """
    return [*_find_modules(), *_find_devices(), Found("synthetic", "synthetic", "a drawn street", True, "")]


def _find_devices() -> list[Found]:
    return [
        Found("v4l2", str(node.path), node.card or node.path.name, not node.trouble, node.trouble)
        for node in list_nodes()
        if not node.is_wrong
    ]


def _find_modules() -> list[Found]:
    if find_spec("picamera2") is None:
        return [Found("picamera2", "picamera2", "camera module", False, _INSTALL)] if is_raspberry_pi() else []
    from appliance.cameras.picamera2 import list_modules  # noqa: PLC0415 - it loads NumPy: only where it is of use

    try:
        return [Found("picamera2", f"picamera2:{place}", title, True, "") for place, title in enumerate(list_modules())]
    except EdgecamError as error:
        return [Found("picamera2", "picamera2", "camera module", False, str(error))]


def is_raspberry_pi(model: Path = _MODEL) -> bool:
    """Tell whether this is a Raspberry Pi, by the device tree's model."""
    try:
        return "raspberry pi" in model.read_text(encoding="utf-8", errors="replace").lower()
    except OSError:  # no device tree: a PC
        return False
