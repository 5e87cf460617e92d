"""A daemon with others' classifier, or segmentation network, commits a good release of it, and keeps no blind one."""

from pathlib import Path
from typing import Any

import pytest

from tests.shared_data import needs
from tests.simulators.broker import Mosquitto
from tests.simulators.schemas import mistakes_on_the_wire
from tests.simulators.subscriber import Subscriber
from tests.system.process import EdgecamProcess, wait_for

pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT runs .tflite files")
pytest.importorskip("tuf", reason="needs tuf: make setup")

from tests.simulators.fleet import served
from tests.simulators.fleet_owner import Owner
from tests.simulators.task_releases import (
    DEEPLAB,
    MOBILENET,
    Kind,
    blinded,
    metrics_of,
    nudged,
    released,
    with_own_golden,
    write_album,
)
from tests.system.fleet_device import ended
from tests.system.fleet_witness import edgecam_command, hint

FILES = [path for kind in (MOBILENET, DEEPLAB) for path in (kind.file, *kind.photographs)]
pytestmark = [needs(*FILES), pytest.mark.timeout(600)]
TRIAL: dict[str, Any] = {"shadow_seconds": 120, "active_seconds": 2, "latency_percent": 1000, "memory_percent": 1000}
FACTORY, GOOD, SEEN_BLIND, PASSED_BLIND = "1.0", "2", "3", "4"
WITHIN = 200.0
TOLD = {"classify": ("classification", 26), "segment": ("segmentation", 8)}
"""By task: what is told, and the live frames that a candidate sees beside the model in service."""

CONFIG = """
[model]
use = "{model}"
[messaging]
detections_interval = 0
[cameras.hall]
kind = "file"
path = "{album}"
loop = true
fps = 10
[cameras.yard]
enabled = {has_two}
kind = "file"
path = "{album}"
loop = true
fps = 5
[fleet]
url = "{url}"
root = "{root}"
first = 1
interval = 3600
"""


def seen_by(subscriber: Subscriber, topic: str, version: str, camera: str = "hall") -> bool:
    return any(one["model"]["version"] == version for one in subscriber.bodies(f"/{camera}/{topic}"))


@pytest.mark.parametrize(
    ("kind", "cameras"), [(MOBILENET, ("hall", "yard")), (DEEPLAB, ("hall",))], ids=("classifier", "segmenter")
)
def test_a_good_release_is_committed_and_a_blind_one_never_stays(
    tmp_path: Path, broker: Mosquitto, kind: Kind, cameras: tuple[str, ...]
) -> None:
    topic, frames = TOLD[kind.task]
    owner, trial = Owner(tmp_path / "owner", kind.family), {**TRIAL, "shadow_frames": frames}
    factory = released(tmp_path / FACTORY, kind, FACTORY)
    album = write_album(tmp_path / "album", kind)

    def publish(folder: Path) -> None:
        owner.release(folder, metrics_of(folder, kind))
        owner.roll_out(folder.name, trial=trial)

    publish(released(tmp_path / GOOD, kind, GOOD, nudged(kind)))
    blind = blinded(kind)
    with served(owner.www) as web, Subscriber(broker.port) as subscriber:
        two = str("yard" in cameras).lower()
        config = CONFIG.format(model=factory, album=album, has_two=two, url=web.url, root=owner.root)
        with EdgecamProcess(tmp_path, "--broker", broker.url, config=config) as edgecam:
            wait_for(lambda: seen_by(subscriber, topic, FACTORY), 60, "the factory model")
            print(f"before: {edgecam.peak_memory_mb():.1f} MB")
            committed = ended(subscriber, GOOD, WITHIN)
            assert (committed["outcome"], committed["code"]) == ("committed", None), committed
            compared = committed["compared"]
            assert compared["frames"] >= frames
            assert 0 < compared["both"] <= min(compared["active"], compared["candidate"])
            print(compared, f"peak memory so far: {edgecam.peak_memory_mb():.1f} MB")
            for camera in cameras:
                wait_for(lambda: seen_by(subscriber, topic, GOOD, camera), 20, f"the new version at {camera}")  # noqa: B023 - at once
            assert {name: one["frames_unseen"] for name, one in edgecam.status()["cameras"].items()} == dict.fromkeys(
                cameras, 0
            )

            publish(released(tmp_path / SEEN_BLIND, kind, SEEN_BLIND, blind))
            hint(edgecam)
            refused = ended(subscriber, SEEN_BLIND, WITHIN)
            assert (refused["outcome"], refused["code"]) == ("rolled_back", "E_GOLDEN"), refused

            publish(with_own_golden(released(tmp_path / PASSED_BLIND, kind, PASSED_BLIND, blind), kind))
            hint(edgecam)
            refused = ended(subscriber, PASSED_BLIND, WITHIN)
            assert (refused["outcome"], refused["code"]) == ("rolled_back", "E_BLIND"), refused
            print(refused["why"])

            assert edgecam.status()["model"]["version"] == GOOD
            blind_ones = (SEEN_BLIND, PASSED_BLIND)
            assert not any(seen_by(subscriber, topic, one, camera) for one in blind_ones for camera in cameras)
            history = edgecam_command(edgecam, "model", "history")
            assert history.startswith(f"in service: {kind.family} {GOOD};")
            assert edgecam.stop() == 0
        assert mistakes_on_the_wire(subscriber.messages) == []
