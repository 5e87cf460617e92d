"""A running daemon brings a release from the fleet, tries it, and puts it in service between two frames."""

import re
from itertools import groupby
from pathlib import Path

import pytest

from tests.shared_data import needs
from tests.simulators.bad_models import released
from tests.simulators.broker import Mosquitto
from tests.simulators.fleet import Fleet, Web
from tests.simulators.subscriber import Subscriber
from tests.system.fleet_device import FOOTAGE, daemon, ended, publish, seen_by
from tests.system.process import wait_for

pytestmark = [needs(FOOTAGE), pytest.mark.timeout(600)]
STAGES = ["planned", "downloading", "verifying", "staged", "inspecting", "smoke", "shadow", "trial", "idle"]


def test_a_release_is_brought_tried_and_committed_while_frames_go_on_and_stays_after_a_restart(
    tmp_path: Path, fleet: Fleet, web: Web, broker: Mosquitto
) -> None:
    with Subscriber(broker.port) as subscriber, daemon(tmp_path, fleet, web, broker) as edgecam:
        wait_for(lambda: seen_by(subscriber, "0.2.0"), 40, "the factory model")
        publish(fleet, released(tmp_path / "v9", "9"), 9)
        committed = ended(subscriber, "9", 200)
        assert (committed["outcome"], committed["code"]) == ("committed", None)
        wait_for(lambda: seen_by(subscriber, "9"), 10, "messages that name the new version")
        status = edgecam.status()
        assert status["model"]["version"] == "9"
        assert status["cameras"]["street"]["frames_unseen"] == 0
        assert re.findall(r"updates: (\w+)$", edgecam.errors(), re.MULTILINE) == STAGES
        wait_for(lambda: subscriber.bodies("/model")[-1]["stage"] == "idle", 10, "that nothing is under way")
        stages = [one["stage"] for one in subscriber.bodies("/model")]
        begun = next(number for number, stage in enumerate(stages) if stage != "idle")
        told = [stage for stage, _ in groupby(stages[begun:])]
        assert told == [stage for stage in STAGES if stage in told]  # what is retained may skip one that was short
        assert {"downloading", "smoke", "shadow", "trial"} <= set(told)
        frames = [one["frame"] for one in subscriber.bodies("/detections")]
        assert frames == sorted(frames)
        assert edgecam.stop() == 0
        edgecam.start()
        edgecam.wait_for_status(lambda now: now["model"]["version"] == "9", 40, "the release again")
