"""Times the way from a frame to the model's input: what it costs that a camera gives planes or BGR.

``python tests/bench/planes.py [--json]``: CPU time per frame, the median of several runs, on one thread.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.core.frame import Frame, PixelLayout
from appliance.core.manifest import InputSpec
from appliance.inference.preprocess import Preprocessor

SIZES = ((1280, 720), (1920, 1080))
RUNS, FRAMES = 9, 40
INPUTS = {
    "320 uint8": {"width": 320, "height": 320, "dtype": "uint8", "fit": "letterbox-centre"},
    "416 float32": {"width": 416, "height": 416, "dtype": "float32", "fit": "letterbox-topleft"},
    "320 int8 NHWC": {"width": 320, "height": 320, "dtype": "int8", "layout": "nhwc", "fit": "stretch"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    rows = [row for name in INPUTS for size in SIZES for row in measure(name, *size)]
    if chosen.json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(f"{row['input']:14} {row['frame']:10} {row['way']:34} {row['cpu_us']:7.0f} us of CPU a frame")


def measure(name: str, width: int, height: int) -> list[dict[str, object]]:
    """Time the ways for one input and one size of frame."""
    spec = InputSpec.model_validate({"colour": "rgb", **INPUTS[name]})
    bgr = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    i420 = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420), np.uint8)
    whole = Preprocessor(spec)
    full = np.empty_like(bgr)

    def detour() -> None:
        cv2.cvtColor(i420, cv2.COLOR_YUV2BGR_I420, dst=full)
        whole.write(frame(full, PixelLayout.BGR))

    direct, planes = Preprocessor(spec), Preprocessor(spec)
    ways: dict[str, Callable[[], object]] = {
        "BGR from the camera": lambda: direct.write(frame(bgr, PixelLayout.BGR)),
        "I420 through full-size BGR": detour,
        "I420, plane by plane": lambda: planes.write(frame(i420, PixelLayout.I420)),
    }
    return [
        {"input": name, "frame": f"{width}x{height}", "way": way, "cpu_us": round(cpu_us(step), 1)}
        for way, step in ways.items()
    ]


def frame(image: NDArray[np.uint8], layout: PixelLayout) -> Frame:
    rows, columns = image.shape[:2]
    height = rows if layout is PixelLayout.BGR else rows * 2 // 3
    return Frame(image, layout, columns, height, "bench", 0, datetime.now(UTC), 0)


def cpu_us(step: Callable[[], object]) -> float:
    """Give microseconds of CPU time of one call."""
    step()
    times = []
    for _ in range(RUNS):
        started = time.process_time()
        for _ in range(FRAMES):
            step()
        times.append((time.process_time() - started) / FRAMES)
    return statistics.median(times) * 1e6


if __name__ == "__main__":
    main()
