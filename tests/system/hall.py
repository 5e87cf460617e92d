"""A hall through which people walk: footage of it, a detector that finds them, and a daemon's configuration."""

import pytest

from tests.shared_data import SHARED, needs
from tests.simulators.broker import Mosquitto, find_mosquitto

MODEL, WALKERS = "models/fastestdet_352_coco80.onnx", "footage/one-by-one-person-detection.mp4"
NEEDS = [needs(MODEL, WALKERS), pytest.mark.skipif(not find_mosquitto(), reason="needs mosquitto")]


def hall(broker: Mosquitto, messaging: str, more: str = "", *, pace: str = "fastest") -> str:
    """Give a configuration.

    Args:
        broker: Where to.
        messaging: The rest of ``[messaging]``, and sections below it.
        more: The rest of the zone, and other sections behind it.
        pace: Of the camera.
    """
    return f"""
[model]
use = "{SHARED / MODEL}"
[messaging]
broker = "{broker.url}"
health_interval = 1.0
{messaging}
[cameras.hall]
kind = "file"
path = "{SHARED / WALKERS}"
pace = "{pace}"
loop = true
[cameras.hall.zones.floor]
points = [[0.0, 0.3], [1.0, 0.3], [1.0, 1.0], [0.0, 1.0]]
{more}
"""
