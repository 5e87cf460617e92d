"""`edgecam status` as an operator meets it, from a real server and the daemon's own status."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.text import Text

from appliance.cli.status import FAILED, _sight, status
from appliance.config import MessagingSettings, ModelSettings, Settings, SyntheticCameraSettings
from appliance.core.clock import SystemClock, read_boot_id
from appliance.core.health import HealthBoard, HealthState
from appliance.core.message import Message
from appliance.daemon.chain import build_chain
from appliance.daemon.status import Status
from appliance.diagnostics.feed import Feed
from appliance.diagnostics.server import Server
from appliance.inference.detector import open_detector
from appliance.inference.running import Refusal
from appliance.inference.tuning import Tuned
from appliance.messaging.worker import Messaging
from tests.simulators.models import write_yolox, yolox_answer


@contextmanager
def daemon(
    directory: Path,
    broker: str,
    board: HealthBoard,
    tuning: Tuned = Tuned("none"),  # noqa: B008 - is frozen
    **more: object,
) -> Iterator[Path]:
    """Serve the status of a device with one camera, `door`, that is not started; one message is published.

    Args:
        directory: Of its state.
        broker: Its broker.
        board: Its health board.
        tuning: What was measured of its model.
        more: What else is said of its model.
    """
    clock = SystemClock()
    messaging = Messaging(
        device_id="porch",
        settings=MessagingSettings(broker=broker),
        state_dir=directory,
        clock=clock,
        boot_id=read_boot_id(),
        board=board,
    )
    camera = SyntheticCameraSettings(kind="synthetic")
    model = write_yolox(directory / "yolox.onnx", yolox_answer())
    with open_detector(ModelSettings(use=str(model))) as detector:
        passed = Refusal("yolox.hef", "needs /dev/hailo0, which is not there", is_expected=True)
        running = replace(detector.running, refused=(passed,))
        chain = build_chain(
            "door",
            camera,
            detector,
            settings=Settings(),
            run="test",
            clock=clock,
            board=board,
            publish=messaging.publish,
            tell=lambda _event, _message: None,
            is_end_expected=False,
        )
        model = {"name": "yolox", "version": "1.0", "digest": "0123456789abcdef", **running.facts(), **more}
        figures = Status(
            device_id="porch",
            chains={"door": chain},
            model=lambda: model,
            info=lambda: model,
            messaging=messaging.figures,
            restarts=dict,
            board=board,
            clock=messaging.clock,
            state_dir=directory,
            tuning=tuning.facts,
        )
        messaging.publish(Message("door/status"))
        server, stop = Server(directory / "edgecam.sock", figures, Feed()), threading.Event()
        server.open()
        thread = threading.Thread(target=server.run, args=(stop,))
        thread.start()
        try:
            yield server.path
        finally:
            stop.set()
            thread.join(10)


def shown(path: Path) -> tuple[int, str]:
    """Run the command and give its exit status and what it wrote on standard output."""
    runner = CliRunner(env={"COLUMNS": "120"})
    done = runner.invoke(status, ["--socket", str(path)], catch_exceptions=False, standalone_mode=False)
    return done.return_value, done.stdout


def test_one_screen_has_camera_model_broker_outbox_clock_and_machine(tmp_path: Path) -> None:
    with daemon(tmp_path, "mqtt://127.0.0.1:1", HealthBoard()) as path:
        exit_status, said = shown(path)
    assert exit_status == 0, said
    rows = {line.split()[0]: line for line in said.splitlines() if line}
    assert "offline" in rows["door"]
    assert "yolox 1.0  0123456789ab" in rows["model"]
    assert re.search(r"cpu \(\d+ nodes\)  yolox\.onnx", said)
    assert "yolox.hef  needs /dev/hailo0, which is not there" in rows["passed"]
    assert "mqtt://127.0.0.1:1" in rows["broker"]
    assert "not connected" in rows["broker"]
    assert "0 waiting" in rows["outbox"]
    assert {"clock", "machine"} <= rows.keys()


def test_without_a_broker_it_says_that_messages_stay_here(tmp_path: Path) -> None:
    with daemon(tmp_path, "none", HealthBoard()) as path:
        exit_status, said = shown(path)
    assert exit_status == 0, said
    assert "none: messages stay here (1 published)" in said
    assert "outbox" not in said


@pytest.mark.parametrize(("state", "exit_status"), [(HealthState.DEGRADED, 1), (HealthState.FAILED, FAILED)])
def test_what_is_wrong_is_told_with_what_to_do_and_in_the_exit_status(
    tmp_path: Path, state: HealthState, exit_status: int
) -> None:
    board = HealthBoard()
    board.report("disk", state, "it is full", "make room")
    with daemon(tmp_path, "none", board) as path:
        given, said = shown(path)
    assert given == exit_status != 2  # which is a mistake on the command line
    assert "it is full" in said
    assert "-> make room" in said


def test_a_model_that_failed_while_it_ran_is_told_with_when_it_is_tried_again(tmp_path: Path) -> None:
    failed = {"file": "yolox.hef", "why": "it hung", "is_expected": False, "while_running": True}
    refused = [{**failed, "failures": 3, "retry_in_s": 130.0}]
    with daemon(tmp_path, "none", HealthBoard(), refused=refused, isolated=True) as path:
        _, said = shown(path)
    assert "tried again  yolox.hef  in 2 min, failed 3 times" in said
    assert "yolox.onnx, in a process of its own" in said


def test_where_nothing_of_the_model_works_it_does_not_look_as_if_it_did(tmp_path: Path) -> None:
    with daemon(tmp_path, "none", HealthBoard(), in_service=False) as path:
        _, said = shown(path)
    assert re.search(r"runs on +nothing; last yolox\.onnx", said)


def test_a_reason_that_names_a_section_is_told_whole(tmp_path: Path) -> None:
    with daemon(tmp_path, "none", HealthBoard(), Tuned("off", "[model] tune is off [/]")) as path:
        _, said = shown(path)
    assert "off: [model] tune is off [/]" in said


def test_what_a_model_sees_is_told_whatever_its_task() -> None:
    for camera, words in (
        ({"objects": 2}, "2"),
        ({"label": "cat", "score": 0.834}, "cat 0.83"),
        ({"label": None, "score": 0.0}, "nothing sure"),
        ({"shares": {"road": 0.5, "grass": 0.254, "sky": 0.1, "cow": 0.05}}, "road 50%, grass 25%, sky 10%"),
        ({"shares": {"road": 0.0}}, "nothing"),
        ({"label": "[/unused]", "score": 0.5}, "[/unused] 0.50"),
        ({"shares": {"[red]": 0.5}}, "[red] 50%"),
    ):
        assert Text.from_markup(_sight({"looking": True} | camera)).plain == words
    assert _sight({"looking": False, "objects": 0}) == "not looking"
