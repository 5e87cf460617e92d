"""A daemon whose model has better files that do not work here: it sees all the same, and says so everywhere."""

from pathlib import Path

import pytest

from tests.simulators import tiny_onnx
from tests.simulators.broker import Mosquitto, find_mosquitto
from tests.simulators.models import write_ladder, yolox_answer
from tests.simulators.subscriber import Subscriber
from tests.system.process import EdgecamProcess, wait_for

pytestmark = pytest.mark.skipif(not find_mosquitto(), reason="needs mosquitto")

SOUND = tiny_onnx.model({"images": (1, 3, 64, 64)}, {"output": yolox_answer((9, 2, 0.9))})
CONFIG = """
[model]
use = "stairs"
directories = ["{models}"]
[cameras.street]
kind = "synthetic"
fps = 5
"""


def test_the_reason_why_a_better_file_is_not_in_use_is_in_status_info_health_and_log(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, ())
    broker.start()
    needs = {0: 'needs = { machines = ["riscv64"] }\n', 2: 'providers = [{ kind = "acl" }, { kind = "cpu" }]\n'}
    write_ladder(tmp_path / "models", SOUND, b"no model", SOUND, entries=needs)
    config = CONFIG.format(models=tmp_path / "models")
    try:
        with (
            Subscriber(broker.port) as subscriber,
            EdgecamProcess(tmp_path, "--broker", broker.url, config=config) as edgecam,
        ):
            status = edgecam.wait_for_status(
                lambda now: now["cameras"]["street"]["frames_processed"] > 2, 40, "three frames"
            )
            info = wait_for(lambda: subscriber.bodies("/info"), within=10, what="info")[-1]
            health = wait_for(lambda: subscriber.bodies("/health"), within=10, what="health")[-1]
            assert edgecam.stop() == 0
    finally:
        broker.stop()
    model = status["model"]
    assert (model["file"], [one["name"] for one in model["providers"]]) == ("r2.onnx", ["cpu"])
    assert [(one["file"], one["is_expected"]) for one in model["refused"]] == [("r0.onnx", True), ("r1.onnx", False)]
    for one in model["refused"]:  # what changes with every look is told by status alone
        one.pop("failures", None)
        one.pop("retry_in_s", None)
    assert info["model"] == model
    for findings in (status["findings"], health["findings"]):
        (finding,) = [one for one in findings if one["component"] == "model"]
        assert finding["state"] == "degraded"
        assert "r1.onnx was refused, r2.onnx runs: " in finding["what"]
        assert "provider acl not in ONNX Runtime " in finding["what"]
    assert "r1.onnx was refused, r2.onnx runs: " in edgecam.output() + edgecam.errors()
    assert "r0.onnx was passed over: it is for riscv64" in edgecam.output() + edgecam.errors()
