"""A daemon whose model fails while it runs, in every way: it sees again within seconds, says why, and climbs back."""

import json
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from appliance.core.errors import ModelError
from tests.simulators import tiny_onnx
from tests.simulators.broker import Mosquitto, find_mosquitto
from tests.simulators.faulty_runtime import faulty
from tests.simulators.models import write_ladder, yolox_answer
from tests.simulators.subscriber import Subscriber
from tests.system.process import EdgecamProcess, wait_for

SOUND = tiny_onnx.model({"images": (1, 3, 64, 64)}, {"output": yolox_answer((9, 2, 0.9))})
CONFIG = """
[model]
use = "stairs"
directories = ["{models}"]
isolate = "{isolate}"
timeout = 1.0
open_timeout = {open_timeout}
retry = 0.5
[messaging]
health_interval = 1.0
[cameras.street]
kind = "synthetic"
fps = 10
"""
FALL = 5.0  # seconds, the promise
STILL = 2.0  # seconds that the camera may give no frame; a hang alone lasts for one, and opening a file about as long
# seconds: what doubled from 0.5 with each of five failures, the trial, and one more on a machine that does other things
CLIMB = 60.0
EXPECTED = {
    "error": "failed to run: out of memory",
    "nan": "gave numbers that are not finite",
    "inf": "gave numbers that are not finite",
    "shape": "(1, 83, 85) for output float32[1,84,85]",
    "count": "gave 0 outputs for 1",
    "hang": "did not answer within 1 s",
}
APART = {
    "shape": "float32[1, 83, 85] for output float32[1,84,85]",
    "count": "0 outputs for 1",
    "segfault": "its process was ended by SIGSEGV",
}


def daemon(
    directory: Path, fault: Path, *more: bytes, isolate: str, broker: str = "none", open_timeout: float = 60.0
) -> EdgecamProcess:
    """Give a daemon whose first file has the fault that is written at `fault`, and whose others are these.

    With `auto` the first one is isolated, for it asks for a vendor's provider.
    """
    vendors = {0: 'providers = [{ kind = "openvino" }, { kind = "cpu" }]\n'} if isolate == "auto" else {}
    write_ladder(directory / "models", faulty(f"@{fault}", SOUND), *more, entries=vendors)
    config = CONFIG.format(models=directory / "models", isolate=isolate, open_timeout=open_timeout)
    return EdgecamProcess(directory, "--broker", broker, config=config, module="tests.simulators.faulty_daemon")


def sees_with(file: str, after: int = 0) -> Any:
    """Give the question whether frames are worked through with a file, more than `after`."""
    return lambda now: (
        now["model"]["file"] == file
        and now["model"]["in_service"]
        and now["cameras"]["street"]["frames_processed"] > after
    )


class Gaze:
    """Asks a question of each state, and keeps for how long the camera stood still.

    Attributes:
        longest: Seconds between two looks at which the number of its frames had grown.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._frames, self._grown = -1, time.monotonic()

    def at(self, question: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
        """Give the same question, with a look at the camera."""

        def ask(now: dict[str, Any]) -> Any:
            camera = now["cameras"]["street"]
            assert camera["state"] == "online", camera
            if camera["frames"] > self._frames:
                self.longest = max(self.longest, time.monotonic() - self._grown) if self._frames >= 0 else 0.0
                self._frames, self._grown = camera["frames"], time.monotonic()
            return question(now)

        return ask


def strike(edgecam: EdgecamProcess, fault: Path, word: str, why: str, *, is_isolated: bool) -> None:
    """Have the first file fail, see the daemon fall and say so; heal it, see it climb back."""
    started = edgecam.wait_for_status(sees_with("r0.onnx"), 40, "the first file in service")
    assert started["model"]["isolated"] is is_isolated
    before, gaze = started["cameras"]["street"], Gaze()
    fault.write_text(word)
    struck = time.monotonic()
    fallen = edgecam.wait_for_status(
        gaze.at(sees_with("r1.onnx", before["frames_processed"])), FALL, f"{word}: the second file in service"
    )
    assert time.monotonic() - struck < FALL
    (refusal,) = fallen["model"]["refused"]
    assert (refusal["file"], refusal["is_expected"], refusal["while_running"]) == ("r0.onnx", False, True)
    assert why in refusal["why"]
    assert refusal["failures"] >= 1
    (finding,) = [one for one in fallen["findings"] if one["component"] == "model"]
    assert finding["state"] == "degraded"
    assert finding["what"].startswith("r0.onnx failed while it ran, r1.onnx runs: ")
    assert "tries it again by itself" in finding["fix"]
    fault.unlink()
    healed = edgecam.wait_for_status(
        gaze.at(
            lambda now: (
                sees_with("r0.onnx")(now) and not now["model"]["refused"] and "while it ran" not in json.dumps(now)
            )
        ),
        CLIMB,
        f"{word}: back on the first file, and nothing said against it",
    )
    # ten a second, but for what a busy machine makes of it
    assert gaze.longest < STILL, "the camera stood still"
    assert healed["restarts"] == {}
    assert (healed["state"], _findings(healed)) == (started["state"], _findings(started))


def _findings(state: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["component"], one["what"]) for one in state["findings"] if one["what"]]


@pytest.mark.parametrize(
    ("isolate", "faults"),
    [
        ("never", ("error", "nan", "inf", "shape", "count", "hang")),
        ("auto", ("segfault", "error", "hang", "shape", "nan")),
    ],
)
def test_a_model_that_fails_while_it_runs_is_left_within_five_seconds_and_taken_again(
    tmp_path: Path, isolate: str, faults: Sequence[str]
) -> None:
    fault = tmp_path / "fault"
    with daemon(tmp_path, fault, SOUND, isolate=isolate) as edgecam:
        is_isolated = isolate == "auto"
        for word in faults:
            why = (APART if is_isolated else {}).get(word) or EXPECTED[word]
            strike(edgecam, fault, word, why, is_isolated=is_isolated)
        assert edgecam.stop() == 0
    said = edgecam.errors() + edgecam.output()
    assert "r0.onnx failed while it ran, r1.onnx runs: " in said
    assert "Traceback" not in said


@pytest.mark.skipif(not find_mosquitto(), reason="needs mosquitto")
def test_who_comes_later_reads_in_info_and_health_what_failed_and_that_it_is_well_again(tmp_path: Path) -> None:
    fault, broker = tmp_path / "fault", Mosquitto(tmp_path, ())
    broker.start()
    try:
        with daemon(tmp_path, fault, SOUND, isolate="never", broker=broker.url) as edgecam:
            edgecam.wait_for_status(sees_with("r0.onnx", 3), 40, "frames")
            fault.write_text("nan")
            edgecam.wait_for_status(sees_with("r1.onnx"), FALL, "the second file in service")
            with Subscriber(broker.port) as late:
                wait_for(
                    lambda: any(_told(info)[:1] == [("r0.onnx", True)] for info in late.bodies("/info")), CLIMB, "info"
                )
                assert EXPECTED["nan"] in json.dumps(late.bodies("/info")[-1]["model"]["refused"])
                said = "r0.onnx failed while it ran, r1.onnx runs: "
                wait_for(lambda: said in json.dumps(late.bodies("/health")), CLIMB, "health")
                wait_for(lambda: EXPECTED["nan"] in json.dumps(late.bodies("/health")), CLIMB, "the reason in health")
                fault.unlink()
                wait_for(lambda: _told(late.bodies("/info")[-1]) == [], CLIMB, "info without a refusal")
                wait_for(lambda: "while it ran" not in json.dumps(late.bodies("/health")[-1]), CLIMB, "good health")
            assert edgecam.stop() == 0
    finally:
        broker.stop()


def _told(info: dict[str, Any]) -> list[tuple[str, bool]]:
    return [(one["file"], one["while_running"]) for one in info["model"]["refused"]]


def test_without_a_lower_file_it_says_that_it_is_blind_opens_the_same_again_and_reads_the_camera_meanwhile(
    tmp_path: Path,
) -> None:
    fault = tmp_path / "fault"
    with daemon(tmp_path, fault, isolate="never") as edgecam:
        edgecam.wait_for_status(sees_with("r0.onnx", 3), 40, "frames")
        fault.write_text("error")
        blind = edgecam.wait_for_status(lambda now: not now["model"]["in_service"], FALL, "blind")
        assert blind["state"] == "failed"
        (finding,) = [one for one in blind["findings"] if one["component"] == "model"]
        assert finding["what"].startswith("r0.onnx failed while it ran, nothing runs: ")
        assert "nothing is seen meanwhile" in finding["fix"]
        edgecam.wait_for_status(
            lambda now: (
                now["cameras"]["street"]["frames"] > blind["cameras"]["street"]["frames"] + 5
                and now["model"]["refused"][0]["failures"] > 2
            ),
            CLIMB,
            "frames from the camera, and tries",
        )
        fault.unlink()
        seen = edgecam.wait_for_status(lambda now: now["model"]["in_service"], CLIMB, "in service again")
        assert seen["cameras"]["street"]["frames_unanswered"] == 0, "it runs no network itself"
        edgecam.wait_for_status(
            sees_with("r0.onnx", seen["cameras"]["street"]["frames_processed"]), CLIMB, "frames worked through"
        )
        assert edgecam.stop() == 0


def test_a_process_in_which_nothing_can_be_opened_any_more_ends_so_that_systemd_starts_another(tmp_path: Path) -> None:
    fault = tmp_path / "fault"
    with daemon(tmp_path, fault, isolate="never", open_timeout=3.0) as edgecam:
        edgecam.wait_for_status(sees_with("r0.onnx", 3), 40, "frames")
        fault.write_text("hang")
        assert edgecam.wait(60) == ModelError.exit_code
    assert "3 calls hang in their runtimes: it takes a new process to try again" in edgecam.errors() + edgecam.output()


def test_two_cameras_have_their_detector_in_one_process_as_an_accelerator_is_for_one(tmp_path: Path) -> None:
    write_ladder(tmp_path / "models", SOUND)
    config = CONFIG.format(models=tmp_path / "models", isolate="always", open_timeout=60.0)
    config += '[cameras.door]\nkind = "synthetic"\nfps = 10\n'
    with EdgecamProcess(tmp_path, "--broker", "none", config=config) as edgecam:
        edgecam.wait_for_status(
            lambda now: all(camera["frames_processed"] > 3 for camera in now["cameras"].values()), 40, "frames of both"
        )
        children: list[str] = []
        for task in Path(f"/proc/{edgecam.pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
                children += (task / "children").read_text().split()
        isolated = [pid for pid in children if "isolated_child" in Path(f"/proc/{pid}/cmdline").read_text()]
        assert len(isolated) == 1
        assert edgecam.stop() == 0


@pytest.mark.parametrize("isolate", ["never", "always"])
def test_a_start_in_which_a_file_hangs_has_its_time_from_systemd_and_ends_when_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolate: str
) -> None:
    fault = tmp_path / "fault"
    fault.write_text("hang")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(40)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with daemon(tmp_path, fault, isolate=isolate) as edgecam:
            assert systemd.recv(4096) == b"EXTEND_TIMEOUT_USEC=180000000"  # twice its minute, and one for the rest
            assert edgecam.stop(within=10.0) == 0
        systemd.setblocking(False)
        with pytest.raises(BlockingIOError):
            systemd.recv(4096)
    assert "Traceback" not in edgecam.errors() + edgecam.output()
