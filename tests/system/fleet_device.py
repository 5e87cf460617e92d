"""A daemon with a fleet of its own: what tests of releases have in common."""

from pathlib import Path
from typing import Any

from tests.simulators.broker import Mosquitto
from tests.simulators.fleet import Fleet, Web
from tests.simulators.subscriber import Subscriber
from tests.system.fleet_config import configured
from tests.system.process import EdgecamProcess, wait_for

FOOTAGE = "footage/people-detection.preview.mp4"
OFTEN = "first = 1\ninterval = 2"  # seconds between looks at the fleet
TRIAL = {
    "shadow_frames": 10,
    "shadow_seconds": 60,
    "active_seconds": 2,
    "latency_percent": 1000,
    "memory_percent": 1000,
    "agreement_percent": 50,
}


def daemon(tmp_path: Path, fleet: Fleet, web: Web, broker: Mosquitto) -> EdgecamProcess:
    config = configured(FOOTAGE, fleet.root, web, OFTEN)
    return EdgecamProcess(tmp_path, "--broker", broker.url, config=config)


def publish(fleet: Fleet, folder: Path, counter: int, **trial: Any) -> None:
    fleet.roll_out("edgecam-nano", fleet.release(folder, counter), trial={**TRIAL, **trial})
    fleet.sign()


def ended(subscriber: Subscriber, version: str, within: float) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        told = [one for one in subscriber.bodies("/model/events") if one["release"]["version"] == version]
        return told[-1] if told else None

    return wait_for(look, within, f"what came of {version}; last: {subscriber.bodies('/model')[-1:]}")


def seen_by(subscriber: Subscriber, version: str) -> bool:
    return any(one["model"]["version"] == version for one in subscriber.bodies("/detections"))
