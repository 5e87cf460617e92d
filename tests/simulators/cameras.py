"""What camera tests play: clips and folders made on the spot, and the vendor's picamera2 replaced."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import pytest

from tests.simulators.rtsp_server import draw_numbered


def write_clip(path: Path, frames: int, fps: float = 10.0, size: tuple[int, int] = (320, 240)) -> Path:
    """A Motion JPEG clip whose pictures carry their numbers."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), fps, size)
    assert writer.isOpened()
    for number in range(frames):
        writer.write(draw_numbered(number, *size))
    writer.release()
    return path


def write_folder(folder: Path, sizes: list[tuple[int, int]]) -> Path:
    """PNG pictures 000.png, 001.png … of the given sizes, with their numbers in them."""
    folder.mkdir()
    for number, (width, height) in enumerate(sizes):
        assert cv2.imwrite(str(folder / f"{number:03}.png"), draw_numbered(number, width, height))
    return folder


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims to be so large."""
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes(13)


def install_picamera2(monkeypatch: pytest.MonkeyPatch, **sensor: Any) -> ModuleType:
    """Put a fresh stand-in for the vendor's library in place, with one sensor that behaves as told."""
    path = Path(__file__).with_name("vendor_picamera2.py")
    spec = importlib.util.spec_from_file_location("picamera2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "picamera2", module)
    spec.loader.exec_module(module)
    module.Picamera2.sensors = [module.Sensor(**sensor)]
    return module
