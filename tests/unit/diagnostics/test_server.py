import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from appliance.cli.client import Daemon
from appliance.core.errors import StorageError, UnavailableError
from appliance.diagnostics.feed import Feed
from appliance.diagnostics.server import MOST_CONNECTIONS, Server


class Running:
    def __init__(self, path: Path) -> None:
        self.feed = Feed(kept=5)
        self.stop = threading.Event()
        self.server = Server(path, lambda: {"state": "ok"}, self.feed)
        self.server.open()
        self.thread = threading.Thread(target=self.server.run, args=(self.stop,))
        self.thread.start()

    def end(self) -> None:
        self.stop.set()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    server = Running(tmp_path / "run" / "edgecam.sock")
    yield server
    server.end()


def test_status_is_answered_and_the_socket_is_for_owner_and_group_only(running: Running) -> None:
    assert Daemon(running.server.path).status() == {"state": "ok"}
    assert running.server.path.stat().st_mode & 0o777 == 0o660


def test_events_come_in_order_and_only_the_newest_are_kept(running: Running) -> None:
    for number in range(8):
        running.feed.put({"type": "start", "at": number})
    events = list(Daemon(running.server.path).events())
    assert [event["at"] for event in events] == [3, 4, 5, 6, 7]
    assert [event["n"] for event in events] == [4, 5, 6, 7, 8]
    assert [event["n"] for event in Daemon(running.server.path).events(after=6)] == [7, 8]


def test_a_follower_sees_new_events_and_ends_with_the_daemon(running: Running) -> None:
    running.feed.put({"at": 0})
    seen: list[int] = []
    two_seen = threading.Event()

    def follow() -> None:
        for event in Daemon(running.server.path).events(follow=True):
            seen.append(event["at"])
            if len(seen) == 2:
                two_seen.set()

    follower = threading.Thread(target=follow)
    follower.start()
    running.feed.put({"at": 1})
    assert two_seen.wait(10)
    running.end()
    follower.join(10)
    assert not follower.is_alive()
    assert seen == [0, 1]


def test_a_socket_left_by_a_killed_daemon_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "edgecam.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = Running(path)
    assert Daemon(path).status() == {"state": "ok"}
    server.end()
    assert not path.exists()


def test_a_second_daemon_on_the_same_socket_is_refused(running: Running) -> None:
    with pytest.raises(UnavailableError, match="another daemon answers"):
        Server(running.server.path, dict, Feed()).open()
    assert Daemon(running.server.path).status() == {"state": "ok"}


def test_a_socket_that_cannot_be_made_is_a_storage_error_with_a_next_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="EDGECAM_SOCKET"):
        Server(tmp_path / "file" / "edgecam.sock", dict, Feed()).open()


def test_nobody_there_is_told_with_a_next_step(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="edgecam run"):
        Daemon(tmp_path / "none.sock").status()


def test_nonsense_is_answered_not_obeyed(running: Running) -> None:
    for request, status in (
        (b"GET /v1/events?after=x HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /etc/passwd HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /v1/status HTTP/1.1\r\n\r\n", b"501"),
    ):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(running.server.path))
            client.sendall(request)
            assert client.recv(100).split()[1] == status


def test_too_many_at_once_are_told_to_come_back(running: Running) -> None:
    with ExitStack() as held:
        for _ in range(MOST_CONNECTIONS):
            client = held.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(5)
            client.connect(str(running.server.path))
            client.sendall(b"GET /v1/events?follow=1 HTTP/1.1\r\n\r\n")
            assert b"200" in client.recv(100)
        with pytest.raises(UnavailableError, match="503"):
            Daemon(running.server.path).status()
    running.feed.put({"at": 1})  # their threads notice
    deadline = threading.Event()
    for _ in range(100):
        try:
            assert Daemon(running.server.path).status() == {"state": "ok"}
            break
        except UnavailableError:
            deadline.wait(0.05)
    else:
        pytest.fail("places were not given back")
