"""How the daemon starts: what it tells systemd, what it refuses, and what a signal does meanwhile."""

import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from tests.system.process import EdgecamProcess, wait_for
from tests.system.test_daemon import NEEDS, QUICK, SHORT, WALKERS, YOLOX, shared

pytestmark = NEEDS


def test_systemd_is_told_when_it_is_ready_alive_and_stopping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        monkeypatch.setenv("WATCHDOG_USEC", "2000000")
        options = ["--camera", shared(WALKERS), "--model", shared(QUICK), "--broker", "none"]
        told: list[str] = []

        def heard(state: str) -> None:
            while not any(line.startswith(state) for line in told):
                told.extend(systemd.recv(4096).decode().splitlines())

        with EdgecamProcess(tmp_path, *options) as edgecam:
            for state in ("READY=1", "WATCHDOG=1", "STATUS=camera"):
                heard(state)
            edgecam.stop()
            heard("STOPPING=1")


def test_a_reload_starts_anew_with_what_was_written_and_keeps_on_with_what_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notify"
    street = '[messaging]\nbroker = "none"\n[cameras.{}]\nkind = "synthetic"\n'
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        told: list[str] = []

        def heard(state: str) -> None:
            while not any(line.startswith(state) for line in told):
                told.extend(systemd.recv(4096).decode().splitlines())

        with EdgecamProcess(tmp_path, config=street.format("first")) as edgecam:
            heard("READY=1")
            (tmp_path / "edgecam.toml").write_text(street.format("third") + "nonsense = 1\n")
            os.kill(edgecam.pid, signal.SIGHUP)
            wait_for(lambda: "the configuration is not applied" in edgecam.errors(), 30, "the refusal")
            assert "first" in edgecam.status()["cameras"]
            (tmp_path / "edgecam.toml").write_text(street.format("second"))
            told.clear()
            os.kill(edgecam.pid, signal.SIGHUP)
            heard("RELOADING=1")
            heard("READY=1")
            assert not any(line.startswith("STOPPING") for line in told)
            edgecam.wait_for_status(lambda now: now["cameras"]["second"]["frames_processed"] > 3, 30, "frames")
            assert edgecam.stop(within=15.0) == 0


MISNAMED = """
[cameras.street]
kind = "synthetic"
[cameras.street.zones.road]
points = [[0.0, 0.4], [1.0, 0.4], [1.0, 1.0]]
labels = ["vehicel"]
"""


BROKEN: list[tuple[str, list[str], str, int, str]] = [
    ("garbage in the configuration", [], "cameras = 7\n[model\n", 78, "no valid TOML"),
    ("settings that are not accepted", [], "[model]\nthreads = 'many'\n[x]\n", 78, "2 settings are not accepted"),
    ("a truncated model", ["--model", shared("models/bad_truncated.onnx")], "", 65, "bad_truncated.onnx"),
    ("a model nobody knows", ["--model", "resnet"], "", 78, "resnet"),
    ("a clip that is not there", ["--camera", "nowhere.mp4"], "", 78, "nowhere.mp4"),
    ("a state directory that cannot be", ["--state-dir", "/dev/null/state"], "", 74, "--state-dir"),
    ("a number without end", [], "[model]\nthreads = " + "9" * 5000 + "\n", 78, "no valid TOML"),
    ("a configuration without cameras", ["--camera", ""], "", 78, "no camera is configured"),
    ("a zone for a label that is none", ["--camera", ""], MISNAMED, 78, "'vehicel' not known to the model"),
    ("a password in an address", ["--broker", "mqtt://me:secret@host"], "", 78, "password"),
]


@pytest.mark.parametrize(
    ("options", "config", "status", "words"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_what_cannot_work_is_one_clear_message(
    tmp_path: Path, options: list[str], config: str, status: int, words: str
) -> None:
    usual = {"--model": shared(QUICK), "--camera": "synthetic", "--broker": "none"}
    given = dict(zip(options[::2], options[1::2], strict=True))
    arguments = [part for pair in (usual | given).items() if pair[1] for part in pair]
    with EdgecamProcess(tmp_path, *arguments, config=config) as edgecam:
        assert edgecam.wait(30) == status
        assert "Traceback" not in edgecam.errors()
        assert words in edgecam.errors()
        assert "secret" not in edgecam.errors()


def test_a_refused_camera_takes_no_other_with_it_and_gives_the_exit_status(tmp_path: Path) -> None:
    config = f"""
        [cameras.good]
        kind = "file"
        path = "{shared(SHORT)}"
        pace = "fastest"
        [cameras.other]
        kind = "file"
        path = "{shared(SHORT)}"
        pace = "fastest"
        [cameras.bad]
        kind = "file"
        path = "{tmp_path}/nowhere.mp4"
        [cameras.off]
        enabled = false
        kind = "synthetic"
    """
    with EdgecamProcess(tmp_path, "--model", shared(QUICK), "--broker", "none", "--once", config=config) as edgecam:
        assert edgecam.wait(60) == 78
        assert edgecam.errors().count("the source has ended after 60 frames") == 2
        assert "nowhere.mp4" in edgecam.errors().splitlines()[-1]
        assert "Traceback" not in edgecam.errors()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after", [0.0, 0.3, 0.8])
def test_a_signal_while_it_starts_ends_it_without_a_traceback(
    tmp_path: Path, number: signal.Signals, after: float
) -> None:
    options = ["--camera", "synthetic", "--model", shared(YOLOX), "--broker", "none"]
    with EdgecamProcess(tmp_path, *options) as edgecam:
        wait_for(edgecam.is_listening_for_signals, within=30, what="the daemon's own code")
        threading.Event().wait(after)
        assert edgecam.stop(number) == 0
        assert "Traceback" not in edgecam.errors()


def test_two_daemons_do_not_share_a_state_directory(tmp_path: Path) -> None:
    options = ["--camera", "synthetic", "--model", shared(QUICK), "--broker", "none"]
    with EdgecamProcess(tmp_path, *options) as first:
        first.wait_for_status(bool, 30, "the first one")
        with EdgecamProcess(tmp_path, *options) as second:
            assert second.wait(30) == 69
            assert "another edgecam uses the state directory" in second.errors()
        assert first.is_running()
        assert first.stop() == 0
