"""The whole daemon in a process whose UTC is wrong, comes late, and is set while it runs."""

from pathlib import Path

import cv2
import pytest

from appliance.messaging.payloads import parse_utc
from tests.simulators import seeing_yolox
from tests.simulators.broker import Mosquitto
from tests.simulators.faked_clock import FakedClock, true_offset_ns
from tests.simulators.models import write_folder
from tests.simulators.subscriber import Subscriber
from tests.system.process import EdgecamProcess, wait_for

HOUR, YEAR = 3600.0, 365.25 * 86400.0
WITHIN_NS = 50_000_000
CONFIG = """
[model]
use = "seeing"
directories = ["{directory}/models"]
min_score = 0.5
[tracking]
confirm_frames = 1
lost_after = 0.3
[cameras.hall]
kind = "file"
path = "{directory}/squares.avi"
loop = true
"""


def write_squares(path: Path, pictures: int = 20, each: int = 5) -> None:
    """Write a clip at 10 frames a second in which three cars stand elsewhere every half second."""
    size = (seeing_yolox.SIZE, seeing_yolox.SIZE)
    clip = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, size)
    for seed in range(pictures):
        image, _ = seeing_yolox.picture(seed)
        for _ in range(each):
            clip.write(image)
    clip.release()


def test_the_daemon_loses_reorders_and_misdates_nothing_while_its_clock_is_wrong_and_set(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    pytest.importorskip("onnx", reason="onnx makes the model of this test: the extra workbench")
    model = seeing_yolox.write_model(tmp_path / "seeing.onnx")
    write_folder(tmp_path / "models" / "seeing", {"fp32": model.read_bytes()})
    write_squares(tmp_path / "squares.avi")
    clock = FakedClock(tmp_path, wrong_s=-50 * YEAR, synced=False)
    edgecam = EdgecamProcess(
        tmp_path,
        *("--broker", mosquitto.url),
        config=CONFIG.format(directory=tmp_path),
        environment=clock.environment,
    )

    def more_events(quality: str) -> None:
        now = edgecam.wait_for_status(lambda told: told["clock"]["quality"] == quality, 30, quality)
        last = now["messaging"]["last_seq"]
        edgecam.wait_for_status(lambda told: told["messaging"]["last_seq"] >= last + 6, 30, "six events more")

    with edgecam:
        more_events("unsynced")
        clock.set(wrong_s=0.0, synced=True)
        more_events("synced")
        for wrong_s in (HOUR, -HOUR, 14 * YEAR, -10 * YEAR):
            clock.set(wrong_s=wrong_s, synced=False)
            more_events("holdover")
        edgecam.kill()
        edgecam.start()
        more_events("holdover")
        offset_ns = true_offset_ns()
        mosquitto.start()
        with Subscriber(mosquitto.port) as subscriber:
            last = edgecam.wait_for_status(
                lambda told: told["messaging"]["connected"] and told["messaging"]["rows"] < 6, 60, "delivered"
            )["messaging"]["last_seq"]
            # what waited may come behind what has happened since: none is missing once all up to here are there
            wait_for(lambda: set(range(1, last + 1)) <= set(subscriber.numbers()), 20, "all at the subscriber")
            wait_for(lambda: subscriber.bodies("hall/status"), 10, "the camera's state")
        assert edgecam.stop() == 0
        said = edgecam.errors()
    messages = [fields for fields in subscriber.numbered() if fields["seq"] <= last]
    numbers = [fields["seq"] for fields in messages]
    assert sorted(numbers) == list(range(1, last + 1)), "complete, and each once"
    events = [fields for fields in messages if "object_id" in fields]
    waited = [fields["seq"] for fields in events if fields.get("replay")]
    assert waited == sorted(waited)
    for fields in [*events, subscriber.bodies("hall/status")[-1]]:
        assert abs(parse_utc(fields["time"]) - fields["mono_ns"] - offset_ns) <= WITHIN_NS, fields
    for fields in events:
        lasted_ns = parse_utc(fields["time"]) - parse_utc(fields["start_time"])
        assert abs(lasted_ns - fields["duration"] * 1e9) <= 2_000_000
    assert {fields["clock"] for fields in events} == {"synced", "holdover"}
    assert "Traceback" not in said
