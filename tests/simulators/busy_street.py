"""A camera and a model with which the real daemon has some twenty events a second: squares that come and go."""

from pathlib import Path
from typing import Final

import cv2
import numpy as np

from tests.simulators import seeing_yolox

FPS: Final = 20
SEEN_FOR: Final = 5  # frames that each set of squares is in view
SETS: Final = 40

CONFIG: Final = """
[model]
use = "{model}"
isolate = "never"
[tracking]
confirm_frames = 1
lost_after = 0.1
[messaging]
health_interval = 1.0
{messaging}
[cameras.street]
kind = "file"
path = "{pictures}"
loop = true
fps = {fps}
"""


def write_busy_street(directory: Path, messaging: str = "") -> str:
    """Write pictures and model below a directory; give a configuration of the daemon that watches them.

    Args:
        directory: Where to.
        messaging: More lines for ``[messaging]``.
    """
    pictures = directory / "pictures"
    pictures.mkdir(parents=True)
    for number in range(SETS):
        image, _ = seeing_yolox.picture(number)
        for frame in range(SEEN_FOR):
            cv2.imwrite(str(pictures / f"{number * SEEN_FOR + frame:04}.png"), np.ascontiguousarray(image))
    model = seeing_yolox.write_model(directory / "seeing.onnx")
    return CONFIG.format(model=model, pictures=pictures, fps=FPS, messaging=messaging)
