"""`edgecam status` and `edgecam events` when the daemon, or the configuration, is not as it should be."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from appliance.cli import configured
from appliance.cli.client import Daemon
from appliance.cli.detect import detect
from appliance.cli.events import events
from appliance.cli.model import model
from appliance.cli.status import status
from appliance.core.errors import ConfigError, UnavailableError

STREAM = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
EVENT = json.dumps({"n": 1}).encode() + b"\n"
TOO_LONG = Path("/", "x" * 300, "edgecam.toml")  # looking at it raises, as in a folder that is closed to us


@contextmanager
def answering(directory: Path, answer: bytes, *, then_hang_up: bool = True) -> Iterator[Path]:
    """Simulate a daemon that gives one client `answer` and then hangs up, or says no more."""
    path = directory / "edgecam.sock"
    done = threading.Event()

    def serve() -> None:
        client, _ = listening.accept()
        with client:
            client.recv(10_000)
            client.sendall(answer)
            if not then_hang_up:
                done.wait(10)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.settimeout(10)
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield path
        finally:
            done.set()
            thread.join(10)


@pytest.mark.parametrize("follow", [False, True])
def test_events_cut_in_the_middle_are_broken_off(tmp_path: Path, *, follow: bool) -> None:
    with answering(tmp_path, STREAM + EVENT + EVENT[:4]) as path:
        given = Daemon(path).events(follow=follow)
        assert next(given) == {"n": 1}
        with pytest.raises(UnavailableError, match="broke off"):
            next(given)


@pytest.mark.parametrize("follow", [False, True])
def test_events_of_a_daemon_that_falls_silent_are_broken_off_and_not_waited_for(
    tmp_path: Path, *, follow: bool
) -> None:
    with answering(tmp_path, STREAM + EVENT, then_hang_up=False) as path:
        given = Daemon(path, timeout=0.2, silence=0.2).events(follow=follow)
        assert next(given) == {"n": 1}
        with pytest.raises(UnavailableError, match="broke off"):
            next(given)


@pytest.mark.parametrize("then_hang_up", [False, True])
def test_a_status_cut_in_the_middle_is_broken_off(tmp_path: Path, *, then_hang_up: bool) -> None:
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"state"'
    with (
        answering(tmp_path, answer, then_hang_up=then_hang_up) as path,
        pytest.raises(UnavailableError, match="broke off"),
    ):
        Daemon(path, timeout=0.2).status()


def test_a_follower_is_told_that_the_daemon_has_stopped(tmp_path: Path) -> None:
    with answering(tmp_path, STREAM) as path:
        done = CliRunner().invoke(events, ["--follow", "--socket", str(path)], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout == ""
    assert "the daemon has stopped" in done.stderr


@pytest.mark.parametrize("is_hidden", [False, True], ids=["invalid", "in a closed folder"])
def test_with_a_configuration_that_cannot_be_used_the_usual_socket_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_hidden: bool
) -> None:
    broken = tmp_path / "edgecam.toml"
    broken.write_text("[device]\nsockte = 1\nid = 2\n")
    monkeypatch.setattr(configured, "DEFAULT_PATH", TOO_LONG if is_hidden else broken)
    monkeypatch.setenv("EDGECAM_SOCKET", str(tmp_path / "edgecam.sock"))
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"state": "ok"}'
    with answering(tmp_path, answer):
        done = CliRunner().invoke(status, ["--json"], catch_exceptions=False)
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {"state": "ok"}
    (said,) = done.stderr.splitlines()
    assert str(tmp_path / "edgecam.sock") in said


@pytest.mark.parametrize(("command", "arguments"), [(model, ["list"]), (detect, ["picture.png"])])
def test_a_configuration_in_a_closed_folder_is_an_error_of_ours_where_it_counts(
    command: click.Command, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configured, "DEFAULT_PATH", TOO_LONG)
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        CliRunner().invoke(command, arguments, catch_exceptions=False)
