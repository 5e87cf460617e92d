"""Video4Linux device nodes: what the kernel says of them, by ioctl (linux/videodev2.h)."""

import errno
import fcntl
import os
import struct
from contextlib import closing
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

_QUERYCAP = 0x80685600  # VIDIOC_QUERYCAP: _IOR('V', 0, struct v4l2_capability), 104 bytes
_REQBUFS = 0xC0145608  # VIDIOC_REQBUFS: _IOWR('V', 8, struct v4l2_requestbuffers), 20 bytes
_CAPABILITY = struct.Struct("=16s32s32sIII12x")  # driver, card, bus_info, version, capabilities, device_caps
_REQUEST_BUFFERS = struct.Struct("=IIIIB3x")  # count, type, memory, capabilities, flags
_CAPTURE, _STREAMING, _DEVICE_CAPS = 0x1, 0x04000000, 0x80000000
_TYPE_CAPTURE, _MEMORY_MMAP = 1, 1
_NO_VIDEO = frozenset({errno.ENOTTY, errno.EINVAL, errno.EISDIR})
# Capture nodes that give nothing until libcamera has set up the sensor, the receiver and the ISP behind them
_OF_LIBCAMERA = frozenset({"unicam", "rp1-cfe", "bcm2835-isp", "pispbe", "bcm2835-codec", "rpi-hevc-dec", "rpivid"})


@dataclass(frozen=True, slots=True)
class Node:
    """One device node.

    Attributes:
        path: The node.
        card: The device's name, as its driver gives it; empty when it could not be asked.
        driver: The driver's name.
        is_capture: It gives pictures that OpenCV can read; false for metadata, codecs and outputs.
        is_wrong: It is there, but no camera: waiting does not cure that.
        trouble: Why it cannot be used now, with what to do about it; empty when nothing speaks against it.
    """

    path: Path
    card: str
    driver: str
    is_capture: bool
    is_wrong: bool
    trouble: str


def query_node(path: Path) -> Node:
    """Ask the kernel about a device node; starts nothing on it and takes milliseconds."""
    try:
        with closing(FileIO(os.open(path, os.O_RDWR | os.O_NONBLOCK), "r+")) as device:
            answer = fcntl.ioctl(device, _QUERYCAP, bytes(_CAPABILITY.size))
            driver, card, _, _, capabilities, own = _CAPABILITY.unpack(answer)
            caps = own if capabilities & _DEVICE_CAPS else capabilities
            is_capture = bool(caps & _CAPTURE and caps & _STREAMING)
            is_camera = is_capture and _text(driver) not in _OF_LIBCAMERA
            trouble = _try_buffers(device, path) if is_camera else _explain_node(_text(driver), path)
            return Node(path, _text(card), _text(driver), is_camera, is_wrong=not is_camera, trouble=trouble)
    except OSError as error:
        is_wrong = error.errno in _NO_VIDEO
        return Node(path, "", "", is_capture=False, is_wrong=is_wrong, trouble=explain(error.errno or 0, path))


def _explain_node(driver: str, path: Path) -> str:
    if driver in _OF_LIBCAMERA:
        return f'{path} ({driver}) is a part of the camera module\'s pipeline; use kind = "picamera2"'
    return f"{path} gives no pictures that can be read; take one of `edgecam camera list`"


def _try_buffers(device: FileIO, path: Path) -> str:
    """Find out whether another program is streaming: asking for no buffers changes nothing, but is refused then."""
    try:
        fcntl.ioctl(device, _REQBUFS, _REQUEST_BUFFERS.pack(0, _TYPE_CAPTURE, _MEMORY_MMAP, 0, 0))
    except OSError as error:
        return explain(error.errno or 0, path)
    return ""


def explain(code: int, path: Path) -> str:
    """Say what an errno of a device node means to its owner, and what to do."""
    if code in {errno.ENOENT, errno.ENODEV, errno.ENXIO}:
        return f"there is no camera at {path}; plug it in, or take another of `edgecam camera list`"
    if code in {errno.EACCES, errno.EPERM}:
        return f"permission denied for {path}; do: sudo usermod -aG video $USER, then log in again"
    if code == errno.EBUSY:
        return f"{path} is in use by another program; `sudo fuser -v {path}` names it"
    if code in _NO_VIDEO:
        return f"{path} is no Video4Linux device; take one of `edgecam camera list`"
    return f"{path}: {os.strerror(code)}"


def list_nodes(directory: Path = Path("/dev")) -> list[Node]:
    """Query every ``videoN`` below `directory`, in the order of their numbers."""
    paths = (path for path in directory.glob("video*") if path.name.removeprefix("video").isdigit())
    return [query_node(path) for path in sorted(paths, key=lambda path: int(path.name.removeprefix("video")))]


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace").strip()
