"""Reads one picture of a real picamera2 through our camera, in the daemon's place, and writes down what came."""

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from appliance.cameras.picamera2 import Picamera2Camera
from appliance.config import Picamera2CameraSettings
from appliance.core.clock import SystemClock

STATE, PICTURE = Path("/var/lib/edgecam"), Path("/srv/pictures/0.jpg")


def _colour(picture: Any) -> Any:
    """Give how much bluer than red each pixel is: what a wrong order of the colours' planes upsets."""
    return picture[..., 0].astype(np.int16).ravel() - picture[..., 2].astype(np.int16).ravel()


def main() -> None:
    settings = Picamera2CameraSettings(
        kind="picamera2", width=640, height=480, lores_width=320, lores_height=240, fps=15
    )
    camera = Picamera2Camera("module", settings, SystemClock())
    camera.open()
    frame = camera.read(5)
    assert frame is not None
    shown = _colour(cv2.resize(cv2.imread(str(PICTURE)), (320, 240), interpolation=cv2.INTER_AREA))
    alike = {
        name: float(np.corrcoef(_colour(cv2.cvtColor(frame.image, code)), shown)[0, 1])
        for name, code in (("NV12", cv2.COLOR_YUV2BGR_NV12), ("I420", cv2.COLOR_YUV2BGR_I420))
    }
    given = camera._camera.camera_configuration()["lores"]["format"]
    camera.close()
    found = {"given": given, "layout": frame.layout.name, "shape": frame.image.shape, "alike": alike}
    found |= {"size": (frame.width, frame.height), "libraries": sorted({"picamera2", "libcamera"} & set(sys.modules))}
    (STATE / "read_back.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
