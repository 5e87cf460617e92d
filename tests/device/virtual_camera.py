"""Lends the real picamera2 what Raspberry Pi OS has and libcamera's virtual camera needs, then runs a module.

``python3 virtual_camera.py MODULE ARGUMENT...`` in the daemon's place. Lent are memory for pictures (a Pi has
/dev/dma_heap), a module that picamera2 loads for its preview on a screen, and the sensor's modes, which a camera that
is none does not tell. Everything else is picamera2's and libcamera's own.
"""

import mmap
import os
import runpy
import sys
from types import ModuleType
from typing import Any


class _Names(type):
    def __getattr__(cls, name: str) -> str:
        return name


class PixelFormat(metaclass=_Names):
    """Any format by its name."""


class Mapped:
    """A picture's memory; picamera2 ends its use without the arguments that `with` gives."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory

    def __enter__(self) -> mmap.mmap:
        return self._memory

    def __exit__(self, *error: object) -> None:
        pass


def lend() -> None:
    """Change picamera2 so that it gets on without a Pi."""
    screen = ModuleType("kms")
    screen.PixelFormat = screen.PixelFormats = PixelFormat  # type: ignore[attr-defined] - a module made here
    sys.modules["kms"] = screen
    import libcamera
    import picamera2.picamera2 as vendor
    from picamera2.allocators.allocator import Allocator

    class Memory(Allocator):  # type: ignore[misc] - its base is known in the guest alone
        """Pictures in anonymous files: a plane for Y and one for UV, as the virtual camera asks for."""

        def __init__(self) -> None:
            super().__init__()
            self.sync = lambda _allocator, buffer, _write: Mapped(self._maps[buffer])
            self._files: list[int] = []
            self._buffers: dict[Any, list[Any]] = {}
            self._maps: dict[Any, mmap.mmap] = {}

        def allocate(self, libcamera_config: Any, _use_case: Any) -> None:
            for stream in libcamera_config:
                self._buffers[stream.stream] = [self._one(stream) for _ in range(stream.buffer_count)]

        def _one(self, stream: Any) -> Any:
            file = os.memfd_create("picture")
            os.ftruncate(file, stream.frame_size)
            self._files.append(file)
            planes, start = [], 0
            for rows in (stream.size.height, stream.size.height // 2):
                plane = libcamera.FrameBuffer.Plane()
                plane.fd, plane.offset, plane.length = file, start, rows * stream.stride
                start += plane.length
                planes.append(plane)
            buffer = libcamera.FrameBuffer(planes)
            self._maps[buffer] = mmap.mmap(file, stream.frame_size)
            return buffer

        def buffers(self, stream: Any) -> list[Any]:
            return self._buffers[stream]

        def close(self) -> None:
            for file in self._files:
                os.close(file)
            self._files.clear()

    vendor.DmaAllocator = Memory
    vendor.Picamera2._get_raw_modes = lambda _: [{"format": "NV12", "size": (640, 480)}]


if __name__ == "__main__":
    lend()
    module, sys.argv = sys.argv[1], sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
