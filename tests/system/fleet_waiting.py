"""A daemon with a fleet that begins nothing by itself: its window opens in hours, and it looks when it is told to."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from tests.simulators.bad_models import released
from tests.simulators.broker import Mosquitto
from tests.simulators.fleet import Fleet, Web
from tests.system.fleet_config import configured
from tests.system.process import EdgecamProcess

FOOTAGE = "footage/people-detection.preview.mp4"
FACTORY, VERSION = "0.2.0", "9"
HINT = "fleet/hint"
MORE = """first = 3600
interval = 3600
hint = "{hint}"
hint_spread = 0
window = ["{begin}", "{end}"]
[messaging]
commands = true
[messaging.homeassistant]
enabled = true"""
TRIAL: Final = {"shadow_frames": 0, "active_seconds": 3, "latency_percent": 1000, "memory_percent": 1000}
"""What a candidate must stand: other tests look at that."""


def daemon(tmp_path: Path, fleet: Fleet, web: Web, broker: Mosquitto) -> EdgecamProcess:
    """Give a daemon that obeys commands and hints."""
    now = datetime.now().astimezone()
    begin, end = ((now + timedelta(hours=hours)).strftime("%H:%M") for hours in (9, 10))
    config = configured(FOOTAGE, fleet.root, web, MORE.format(hint=HINT, begin=begin, end=end))
    return EdgecamProcess(tmp_path, "--broker", broker.url, config=config)


def publish(tmp_path: Path, fleet: Fleet) -> None:
    """Have the fleet offer a good release to everybody."""
    fleet.roll_out("edgecam-nano", fleet.release(released(tmp_path / "release", VERSION), 9), trial=TRIAL)
    fleet.sign()
