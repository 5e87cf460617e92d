"""What the daemon says of the model in service."""

import json
import logging
from collections.abc import Mapping
from dataclasses import replace

import pytest

from appliance.core.health import HealthBoard, HealthState
from appliance.daemon.model import ModelReport, report_model
from appliance.inference.running import Refusal, Running
from appliance.inference.runtimes import Placement

WELL = Running("w.onnx", "onnx", (Placement("cuda", 200), Placement("cpu", 3)))
SHORT = Running("w.onnx", "onnx", (Placement("cpu", None),), ("provider cuda could not be started: no libcublas",))


def test_a_model_that_runs_as_it_was_meant_to_is_good_news() -> None:
    board = HealthBoard()
    facts = report_model([WELL], board)
    assert facts["providers"] == [{"name": "cuda", "nodes": 200}, {"name": "cpu", "nodes": 3}]
    assert board.state() is HealthState.OK


def test_what_fell_short_is_a_finding_a_log_line_and_a_fact(caplog: pytest.LogCaptureFixture) -> None:
    board = HealthBoard()
    with caplog.at_level(logging.INFO):
        facts = report_model([SHORT, SHORT], board)
    (finding,) = board.findings()
    assert (finding.component, finding.state) == ("model", HealthState.DEGRADED)
    assert finding.what == "provider cuda could not be started: no libcublas"
    assert "[model] artifact, providers" in finding.fix
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [finding.what]
    assert json.loads(json.dumps(facts))["shortfalls"] == [finding.what]


def test_one_camera_that_falls_short_is_enough() -> None:
    board = HealthBoard()
    report_model([WELL, SHORT], board)
    assert board.state() is HealthState.DEGRADED


def test_the_log_says_how_many_nodes_run_where(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        report_model([WELL], HealthBoard())
        report_model([SHORT], HealthBoard())
    said = [record.message for record in caplog.records if record.levelno == logging.INFO]
    assert said == [
        "model: w.onnx: 200 nodes on cuda, 3 nodes on cpu",
        "model: w.onnx: an unknown number of nodes on cpu",
    ]


def test_a_rung_that_failed_is_a_finding_and_one_that_is_not_for_this_machine_only_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refused = (
        Refusal("w.hef", "is for aarch64, and this is x86_64", is_expected=True),
        Refusal("w.tflite", "it is broken", is_expected=False),
    )
    board = HealthBoard()
    with caplog.at_level(logging.INFO):
        facts = report_model([Running("w.onnx", "onnx", (Placement("cpu", 9),), refused=refused)], board)
    (finding,) = board.findings()
    assert finding.what == "w.tflite was refused, w.onnx runs: it is broken"
    assert "model: w.hef was passed over: it is for aarch64, and this is x86_64" in caplog.messages
    assert json.loads(json.dumps(facts))["refused"] == [
        {"file": "w.hef", "why": "is for aarch64, and this is x86_64", "is_expected": True, "while_running": False},
        {"file": "w.tflite", "why": "it is broken", "is_expected": False, "while_running": False},
    ]


class Standing:
    """Something that climbs, and stands where it is put."""

    def __init__(self, running: Running) -> None:
        self.running = running

    def retries(self) -> Mapping[str, Mapping[str, float]]:
        return {"w.tflite": {"failures": 2, "retry_in_s": 40.0}}


FAILED = Refusal("w.tflite", "it did not answer within 3 s", is_expected=False, while_running=True)


def test_a_model_that_failed_while_it_ran_is_told_once_until_something_changes_and_then_that_it_is_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    board, camera = HealthBoard(), Standing(WELL)
    report = ModelReport([camera], lambda one: {"name": one.running.file}, board)
    with caplog.at_level(logging.INFO):
        assert report.refresh()
        assert not report.refresh()
        camera.running = replace(WELL, refused=(FAILED,))
        assert report.refresh()
        assert not report.refresh()
        (finding,) = board.findings()
        assert finding.state is HealthState.DEGRADED
        assert finding.what == "w.tflite failed while it ran, w.onnx runs: it did not answer within 3 s"
        assert "tries it again by itself" in finding.fix
        camera.running = replace(WELL, refused=(FAILED,), is_blind=True)
        assert report.refresh()
        (finding,) = board.findings()
        assert finding.state is HealthState.FAILED
        assert finding.what == "w.tflite failed while it ran, nothing runs: it did not answer within 3 s"
        assert finding.fix.startswith("nothing is seen meanwhile. ")
        camera.running = WELL
        assert report.refresh()
    assert board.state() is HealthState.OK
    levels = [record.levelno for record in caplog.records]
    assert levels == [logging.INFO, logging.INFO, logging.WARNING, logging.ERROR, logging.INFO]


def test_status_and_info_tell_of_the_camera_that_is_off_worst_and_status_when_it_is_tried_again() -> None:
    blind = replace(SHORT, refused=(FAILED,), is_blind=True)
    report = ModelReport(
        [Standing(WELL), Standing(blind), Standing(replace(WELL, refused=(FAILED,)))],
        lambda _: {"name": "w"},
        HealthBoard(),
    )
    now, info = report.now(), report.facts()
    assert (info["in_service"], info["refused"][0].keys()) == (False, {"file", "why", "is_expected", "while_running"})
    assert now["refused"] == [{**info["refused"][0], "failures": 2, "retry_in_s": 40.0}]
    assert json.loads(json.dumps(now)) == now
