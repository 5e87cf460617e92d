"""The whole daemon with a classifier and with a segmentation network, on real pictures, against a real broker."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli.events import events
from appliance.cli.status import status
from appliance.core.rle import Rle, decode_mask
from tests.shared_data import SHARED, needs
from tests.simulators.broker import Mosquitto, find_mosquitto
from tests.simulators.schemas import mistakes_on_the_wire
from tests.simulators.subscriber import Subscriber
from tests.system.process import EdgecamProcess, wait_for

SEEN = {"zebra": "000000001818.jpg", "banana": "000000006012.jpg"}
PHOTOGRAPHS = {label: f"eval/coco_val400/images/{file}" for label, file in SEEN.items()}
CLASSIFIER, DEEPLAB = "models/mobilenet_v2_1.0_224_quant.tflite", "models/deeplabv3_mnv2_dm05_pascal_quant.tflite"
BUS, WALKERS = "models/sample_bus.jpg", "footage/one-by-one-person-detection.mp4"
pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT runs .tflite files")
pytestmark = [
    needs(*PHOTOGRAPHS.values(), CLASSIFIER, DEEPLAB, BUS, WALKERS),
    pytest.mark.skipif(not find_mosquitto(), reason="needs mosquitto"),
]

CONFIG = """
[model]
use = "{model}"
[messaging]
broker = "{broker}"
detections_interval = 0.0
{more}
[cameras.hall]
kind = "file"
path = "{source}"
pace = "fastest"
"""
ZONE = """
[cameras.hall.zones.floor]
points = [[0.0, 0.5], [1.0, 0.5], [1.0, 1.0], [0.0, 1.0]]
labels = ["person"]
"""


def test_a_classifier_tells_what_the_picture_shows_and_when_that_changes(tmp_path: Path, broker: Mosquitto) -> None:
    (tmp_path / "album").mkdir()
    for place, path in enumerate(PHOTOGRAPHS.values()):
        for number in range(12):
            shutil.copy(SHARED / path, tmp_path / "album" / f"{place}-{number:02}.jpg")
    config = CONFIG.format(
        model=SHARED / CLASSIFIER, broker=broker.url, source=tmp_path / "album", more="[tracking]\nlost_after = 600.0"
    )
    with Subscriber(broker.port) as subscriber, EdgecamProcess(tmp_path, config=config) as edgecam:
        state = edgecam.wait_for_status(
            lambda now: now["cameras"] and now["cameras"]["hall"]["frames_processed"] == 24, 60, "all photographs"
        )
        wait_for(lambda: len(subscriber.bodies("hall/changes")) == 2, within=10, what="two changes")
        assert state["cameras"]["hall"]["label"] == "banana"
        assert "banana 0." in _said(edgecam, status)
        print(f"peak memory: {edgecam.peak_memory_mb():.1f} MB")
        assert "shows banana" in _said(edgecam, events)
        assert edgecam.stop() == 0
        wait_for(lambda: len(subscriber.bodies("hall/changes")) == 3, within=10, what="the end of what was shown")
        changes, states = subscriber.bodies("hall/changes"), subscriber.bodies("hall/classification")
        info = subscriber.bodies("/info")[-1]
    assert [(body["before"], body["label"]) for body in changes] == [
        (None, "zebra"),
        ("zebra", "banana"),
        ("banana", None),
    ]
    assert [body["seq"] for body in changes] == [1, 2, 3], "durable: numbered without holes"
    assert 1.2 <= changes[1]["lasted"] <= 2.5, "twelve frames of a tenth of a second, and as long as calming takes"
    assert [body["label"] for body in states][-2:] == ["banana", None]
    assert mistakes_on_the_wire(subscriber.messages) == []
    assert (info["model"]["name"], info["model"]["task"]) == ("mobilenet", "classify")
    assert info["capabilities"] == ["classify", "outbox"]
    assert "hall  shows zebra" in edgecam.output()
    assert "Traceback" not in edgecam.errors()


def test_a_segmentation_network_tells_shares_and_masks_of_a_clip(tmp_path: Path, broker: Mosquitto) -> None:
    config = CONFIG.format(
        model=f"deeplab={SHARED / DEEPLAB}", broker=broker.url, source=SHARED / WALKERS, more="masks = true"
    )
    with Subscriber(broker.port) as subscriber, EdgecamProcess(tmp_path, config=config + ZONE) as edgecam:
        wait_for(
            lambda: [body for body in subscriber.bodies("hall/segmentation") if body["shares"].get("person", 0) > 0.05],
            within=60,
            what="somebody in the hall",
        )
        wait_for(lambda: [body for body in subscriber.bodies("hall/masks") if body["masks"]], 20, what="a mask")
        assert "person" in edgecam.status()["cameras"]["hall"]["shares"]
        print(f"peak memory: {edgecam.peak_memory_mb():.1f} MB")
        assert edgecam.peak_memory_mb() <= 140.0, "a detector's bound"
        assert edgecam.stop() == 0
        told, masks = subscriber.bodies("hall/segmentation"), subscriber.bodies("hall/masks")
        info = subscriber.bodies("/info")[-1]
    body = next(one for one in told if one["shares"].get("person", 0) > 0.05)
    assert body["zones"]["floor"]["person"] > 0
    assert set(body["zones"]["floor"]) == {"person"}, "only what the zone is for"
    assert "background" not in body["shares"]
    assert told[-1]["shares"]["person"] == 0.0, "at the end nothing is covered"
    one = next(each for each in masks if each["masks"])
    assert one["size"] == [360, 640]
    largest = one["masks"][0]
    assert decode_mask(Rle(*one["size"], largest["counts"])).mean() == pytest.approx(largest["share"], abs=1e-4)
    assert max(len(json.dumps(each)) for each in masks) < 66 << 10
    assert mistakes_on_the_wire(subscriber.messages) == []
    assert (info["model"]["task"], info["capabilities"]) == ("segment", ["segment", "zones", "outbox"])
    assert "Traceback" not in edgecam.errors()


def _said(edgecam: EdgecamProcess, command: object) -> str:
    runner = CliRunner(env={"COLUMNS": "140"})
    done = runner.invoke(command, ["--socket", str(edgecam.socket)], catch_exceptions=False, standalone_mode=False)  # type: ignore[arg-type]  # a click command, whatever its type is called
    return done.stdout
