import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from appliance.cli.client import SILENCE, Daemon
from appliance.core.errors import StorageError, UnavailableError
from appliance.diagnostics.feed import Feed
from appliance.diagnostics.server import KEEP_ALIVE, MOST_CONNECTIONS, Server


class Running:
    def __init__(self, path: Path, keep_alive: float = KEEP_ALIVE) -> None:
        self.feed = Feed(kept=5)
        self.stop = threading.Event()
        self.server = Server(path, lambda: {"state": "ok"}, self.feed, keep_alive=keep_alive)
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


def test_a_follower_of_a_quiet_street_hears_that_the_daemon_is_there(tmp_path: Path) -> None:
    server = Running(tmp_path / "edgecam.sock", keep_alive=0.05)
    seen: list[int] = []
    impatient = Daemon(server.server.path, silence=1.0)
    follower = threading.Thread(target=lambda: seen.extend(event["at"] for event in impatient.events(follow=True)))
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(server.server.path))
        client.sendall(b"GET /v1/events?follow=1 HTTP/1.1\r\n\r\n")
        answer = client.makefile("rb")
        while answer.readline().strip():
            pass  # the head
        follower.start()
        assert [answer.readline() for _ in range(3)] == [b"\n"] * 3
        server.feed.put({"at": 1})
        server.end()
    follower.join(10)
    assert seen == [1]  # the empty lines are no events
    assert KEEP_ALIVE * 2 < SILENCE


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


def test_the_socket_s_directory_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        running = Running(tmp_path / "run" / "edgecam.sock")
    finally:
        os.umask(before)
    assert running.server.path.parent.stat().st_mode & 0o777 == 0o700
    running.end()


def test_a_directory_that_systemd_made_for_owner_and_group_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "edgecam").mkdir()
    (tmp_path / "edgecam").chmod(0o750)
    running = Running(tmp_path / "edgecam" / "edgecam.sock")
    assert running.server.path.parent.stat().st_mode & 0o777 == 0o750
    running.end()


def test_a_directory_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(StorageError, match=r"every user may write to it.*EDGECAM_SOCKET"):
        Server(tmp_path / "open" / "edgecam.sock", dict, Feed()).open()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("is_link", [False, True], ids=["folder", "link to one of ours"])
def test_a_directory_of_another_user_is_refused(tmp_path: Path, *, is_link: bool) -> None:
    theirs = tmp_path / "theirs"
    if is_link:
        (tmp_path / "ours").mkdir()
        theirs.symlink_to(tmp_path / "ours")
    else:
        theirs.mkdir()
    os.chown(theirs, 12345, 12345, follow_symlinks=False)
    with pytest.raises(StorageError, match=r"belongs to another user.*EDGECAM_SOCKET"):
        Server(theirs / "edgecam.sock", dict, Feed()).open()
    assert not (theirs / "edgecam.sock").exists()


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
