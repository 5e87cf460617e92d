"""The whole daemon, on real footage, against a real broker."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.shared_data import SHARED, needs
from tests.simulators.broker import Mosquitto, find_mosquitto
from tests.simulators.rtsp_server import RtspServer
from tests.simulators.subscriber import Subscriber
from tests.system.process import EdgecamProcess, wait_for

YOLOX, QUICK = "models/yolox_nano_416_coco80.onnx", "models/fastestdet_352_coco80.onnx"
WALKERS, SHORT = "footage/one-by-one-person-detection.mp4", "footage/one-by-one-person-6s.mjpeg.avi"
NEEDS = [needs(YOLOX, QUICK, WALKERS, SHORT), pytest.mark.skipif(not find_mosquitto(), reason="needs mosquitto")]
pytestmark = NEEDS

LOOPED = """
[cameras.hall]
kind = "file"
path = "{clip}"
pace = "fastest"
loop = true
"""


@pytest.fixture
def broker(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Mosquitto]:
    """A broker as Debian sets it up, whose sessions outlive a restart; with the parameter "forgets", one without."""
    directory = tmp_path / "broker"
    directory.mkdir()
    keeps = ("persistence true", f"persistence_location {directory}/")
    mosquitto = Mosquitto(directory, () if getattr(request, "param", "") == "forgets" else keeps)
    yield mosquitto
    mosquitto.stop()


def shared(name: str) -> str:
    return str(SHARED / name)


def test_footage_becomes_events_and_an_interrupt_ends_it_cleanly(tmp_path: Path, broker: Mosquitto) -> None:
    broker.start()
    options = ["--camera", shared(WALKERS), "--model", shared(YOLOX), "--broker", broker.url]
    with Subscriber(broker.port) as subscriber, EdgecamProcess(tmp_path, *options) as edgecam:
        assert subscriber.subscribed.wait(10)
        wait_for(
            lambda: [body for body in subscriber.bodies("/events") if body["label"] == "person"],
            within=40,
            what="a person event",
        )
        assert edgecam.stop(signal.SIGINT) == 0
        wait_for(lambda: subscriber.bodies("/availability")[-1] == "offline", within=5, what="availability offline")
    first = subscriber.bodies("/events")[0]
    assert (first["type"], first["width"], first["height"], first["camera"]) == ("start", 768, 432, "camera")
    x1, y1, x2, y2 = first["box"]
    assert 0 <= x1 < x2 <= 768
    assert 0 <= y1 < y2 <= 432
    ended = {body["object_id"] for body in subscriber.bodies("/events") if body["type"] == "end"}
    assert ended == {body["object_id"] for body in subscriber.bodies("/events")}, "a clean end ends every object"
    assert subscriber.bodies("/availability")[0] == "online"
    assert subscriber.bodies("camera/status")[-1]["state"] == "offline"
    assert subscriber.bodies("/info")[-1]["model"]["name"] == "yolox"
    assert "person 1 appeared" in edgecam.output()
    assert f"mosquitto_sub -h 127.0.0.1 -p {broker.port}" in edgecam.output()
    assert "Traceback" not in edgecam.errors()


def test_once_ends_by_itself_when_the_broker_has_everything(tmp_path: Path, broker: Mosquitto) -> None:
    options = ["--camera", shared(SHORT), "--model", shared(YOLOX), "--broker", broker.url, "--once"]
    with Subscriber(broker.port, within=None) as subscriber, EdgecamProcess(tmp_path, *options) as edgecam:
        wait_for(lambda: "has ended after 60 frames" in edgecam.errors(), within=60, what="the end of the clip")
        assert edgecam.is_running(), "messages still wait for the broker"
        broker.start()
        assert edgecam.wait(30) == 0
        numbers = wait_for(lambda: [body["seq"] for body in subscriber.numbered()], within=10, what="durable messages")
        assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert {"start", "end"} <= {body["type"] for body in subscriber.bodies("/events")}


@pytest.mark.parametrize("broker", ["keeps", "forgets"], indirect=True)
def test_nothing_is_lost_when_the_daemon_is_killed_twice_while_the_broker_is_away(
    tmp_path: Path, broker: Mosquitto
) -> None:
    config = LOOPED.format(clip=shared(WALKERS))
    options = ["--model", shared(QUICK), "--broker", broker.url]
    broker.start()
    edgecam = EdgecamProcess(tmp_path, *options, config=config)
    with Subscriber(broker.port) as subscriber, edgecam:
        wait_for(lambda: len(subscriber.numbered()) >= 3, within=60, what="the first events")
        broker.stop()
        for _ in range(2):
            before = edgecam.status()["messaging"]["last_seq"]
            edgecam.wait_for_status(
                lambda now, at=before: now["messaging"]["last_seq"] > at + 8, 60, "events while offline"
            )
            edgecam.kill()
            edgecam.start()
            edgecam.wait_for_status(lambda now: now["cameras"]["hall"]["frames_processed"], 30, "frames again")
        edgecam.wait_for_status(lambda now: now["messaging"]["oldest_age_s"] > 6, 30, "messages that are late")
        broker.start()
        state = edgecam.wait_for_status(lambda now: now["messaging"]["connected"], 90, "the broker is there again")
        waited = set(range(1, state["messaging"]["last_seq"] + 1))
        wait_for(lambda: waited <= set(subscriber.numbers()), within=90, what="what waited is delivered")
        assert edgecam.stop() == 0
        with closing(sqlite3.connect(edgecam.state_dir / "outbox.db")) as outbox:
            ((last,),) = outbox.execute("SELECT max((SELECT max(seq) FROM outbox), last) FROM generation").fetchall()
        assert last >= state["messaging"]["last_seq"]
        ever = set(range(1, last + 1))
        wait_for(lambda: ever <= set(subscriber.numbers()), within=20, what="all that was ever numbered")
        numbered = subscriber.numbered()
    assert {body["seq"] for body in numbered} == ever, "none missing"
    events = [body["seq"] for body in numbered if "reason" not in body]  # gap records go before all else
    assert is_of_two_lanes(events), "what waited, and what happens now, each in order"
    assert [body["reason"] for body in numbered if "reason" in body] == ["restart", "restart"], (
        "each kill is owned up to"
    )
    assert len({body["gen"] for body in numbered}) == 1
    assert any(body.get("replay") for body in numbered)
    starts = [body["object_id"] for body in numbered if body.get("type") == "start"]
    assert len(starts) == len(set(starts)), "no object's id is used again"


def is_of_two_lanes(numbers: list[int]) -> bool:
    """Tell whether numbers are those of two lanes, each rising: none has two before it of which each is larger."""
    backlog = live = 0
    for number in numbers:
        if number > live:
            live = number
        elif number > backlog:
            backlog = number
        else:
            return False
    return True


def test_memory_stays_within_its_bound_and_workstation_libraries_stay_out(tmp_path: Path, broker: Mosquitto) -> None:
    broker.start()
    options = ["--camera", shared(WALKERS), "--model", shared(YOLOX), "--broker", broker.url]
    with EdgecamProcess(tmp_path, *options) as edgecam:
        edgecam.wait_for_status(lambda now: now["cameras"]["camera"]["frames_processed"] > 150, 60, "150 frames")
        mapped = Path(f"/proc/{edgecam.pid}/maps").read_text()
        assert edgecam.peak_memory_mb() <= 140.0
        assert "/scipy" not in mapped
        assert "/_ssl." not in mapped, "nobody asked for TLS"
        assert "/_hashlib." not in mapped, "OpenSSL would come with it"
        assert edgecam.stop() == 0


def test_a_whole_run_loads_no_workstation_library(tmp_path: Path) -> None:
    script = (
        "import json, sys\n"
        "from appliance.daemon.main import main\n"
        "status = main(sys.argv[1:])\n"
        "print(json.dumps([status, sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    options = [
        "--config",
        os.devnull,
        "--camera",
        shared(SHORT),
        "--model",
        shared(QUICK),
        "--broker",
        "none",
        "--once",
    ]
    done = subprocess.run(
        [sys.executable, "-c", script, *options, "--state-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "EDGECAM_SOCKET": str(tmp_path / "sock")},
    )
    status, loaded = json.loads(done.stdout.splitlines()[-1])
    assert status == 0
    assert {"cv2", "onnxruntime", "paho"} <= set(loaded)
    assert not set(loaded) & {"scipy", "torch", "onnx", "matplotlib", "supervision", "pycocotools", "click", "rich"}


def test_the_end_of_a_file_is_told_with_what_to_do_and_the_daemon_stays(tmp_path: Path) -> None:
    # at its own pace a clip's overdue frames would be left out on a busy machine
    config = f'[cameras.camera]\nkind = "file"\npath = "{shared(SHORT)}"\npace = "fastest"\n'
    options = ["--model", shared(QUICK), "--broker", "none"]
    with EdgecamProcess(tmp_path, *options, config=config) as edgecam:
        state = edgecam.wait_for_status(lambda now: "ended" in now["cameras"]["camera"]["why"], 60, "the end")
        assert state["state"] == "degraded"
        finding = state["findings"][0]
        assert finding["component"] == "camera:camera"
        assert "ended after 60 frames" in finding["what"]
        assert "loop = true" in finding["fix"]
        assert edgecam.stop() == 0


def test_a_killed_stream_is_noticed_and_comes_back_by_itself(tmp_path: Path) -> None:
    with RtspServer() as server:
        options = ["--camera", server.url, "--model", shared(QUICK), "--broker", "none"]
        with EdgecamProcess(tmp_path, *options) as edgecam:
            edgecam.wait_for_status(lambda now: now["cameras"]["camera"]["frames_processed"] > 3, 30, "frames")
            server.kill()
            state = edgecam.wait_for_status(lambda now: now["cameras"]["camera"]["state"] != "online", 10, "its death")
            assert state["findings"][0]["component"] == "camera:camera"
            assert state["findings"][0]["what"]
            seen = state["cameras"]["camera"]["frames_processed"]
            server.start()
            edgecam.wait_for_status(
                lambda now: (
                    now["cameras"]["camera"]["state"] == "online"
                    and now["cameras"]["camera"]["frames_processed"] > seen
                ),
                40,
                "frames again",
            )
            assert edgecam.stop() == 0
            assert "Traceback" not in edgecam.errors()


def test_a_broker_that_accepts_and_says_nothing_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        broker = f"mqtt://127.0.0.1:{mute.getsockname()[1]}"
        options = ["--camera", shared(WALKERS), "--model", shared(QUICK), "--broker", broker]
        with EdgecamProcess(tmp_path, *options) as edgecam:
            edgecam.wait_for_status(lambda now: now["cameras"]["camera"]["frames_processed"] > 3, 30, "frames")
            assert edgecam.stop(within=15.0) == 0


def test_a_demonstration_s_broker_that_dies_comes_back_at_its_place(tmp_path: Path) -> None:
    options = ["--camera", shared(WALKERS), "--model", shared(QUICK), "--broker", "embedded"]
    with EdgecamProcess(tmp_path, *options) as edgecam:
        before = edgecam.wait_for_status(lambda now: now["messaging"]["connected"], 30, "the broker")
        subprocess.run(["pkill", "-KILL", "-f", str(edgecam.state_dir)[-40:] + "/mosquitto.conf"], check=True)
        after = edgecam.wait_for_status(lambda now: now["messaging"]["connects"] > 1, 30, "the broker again")
        assert after["messaging"]["broker"] == before["messaging"]["broker"]
        assert edgecam.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_full_disk_is_told_and_survived(tmp_path: Path, broker: Mosquitto) -> None:
    small = tmp_path / "state"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(small)], check=False)
    if mounted.returncode:
        pytest.skip("tmpfs cannot be mounted here")
    config = LOOPED.format(clip=shared(WALKERS))
    options = ["--model", shared(QUICK), "--broker", broker.url]
    ballast = small / "ballast"
    try:
        with EdgecamProcess(tmp_path, *options, config=config) as edgecam:
            edgecam.wait_for_status(lambda now: now["messaging"]["last_seq"] > 3, 60, "events")
            _fill(ballast)
            state = edgecam.wait_for_status(lambda now: _finding(now, "outbox")["state"] != "ok", 60, "a full disk")
            finding = _finding(state, "outbox")
            assert "full" in finding["what"]
            assert finding["fix"]
            ballast.unlink()
            edgecam.wait_for_status(lambda now: _finding(now, "outbox")["state"] == "ok", 60, "recovery")
            broker.start()
            with Subscriber(broker.port) as subscriber:
                edgecam.wait_for_status(
                    lambda now: now["messaging"]["rows"] == 0 and now["messaging"]["connected"], 60, "drained"
                )
                assert edgecam.stop() == 0
                assert subscriber.subscribed.wait(10)
            assert "Traceback" not in edgecam.errors()
    finally:
        subprocess.run(["umount", str(small)], check=True)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return


def _finding(state: dict[str, Any], component: str) -> dict[str, Any]:
    return next((one for one in state["findings"] if one["component"] == component), {"state": "ok"})


def test_the_broker_of_a_demonstration_comes_and_goes_with_the_daemon(tmp_path: Path) -> None:
    options = ["--camera", shared(WALKERS), "--model", shared(QUICK), "--broker", "embedded"]
    with EdgecamProcess(tmp_path, *options) as edgecam:
        state = edgecam.wait_for_status(lambda now: now["messaging"]["connected"], 30, "the broker")
        port = int(state["messaging"]["broker"].rpartition(":")[2])
        with Subscriber(port) as subscriber:
            wait_for(lambda: "online" in subscriber.bodies("/availability"), within=10, what="availability")
            edgecam.kill()
            wait_for(lambda: _is_free(port), within=10, what="the end of the broker")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
