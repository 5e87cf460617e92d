import socket
from pathlib import Path

import pytest

from appliance.daemon.systemd import Notifier


def test_states_arrive_as_one_datagram(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(5)
        notifier = Notifier(str(path), "30000000")
        notifier.tell("READY=1", "STATUS=running")
        assert systemd.recv(1000) == b"READY=1\nSTATUS=running"
        assert notifier.interval == 1.0


def test_an_abstract_socket_works_too() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0edgecam-test-notify")
        systemd.settimeout(5)
        Notifier("@edgecam-test-notify", "").tell("WATCHDOG=1")
        assert systemd.recv(1000) == b"WATCHDOG=1"


def test_a_short_patience_is_fed_four_times() -> None:
    assert Notifier("", "2000000").interval == 0.5


def test_a_systemd_that_is_gone_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier("/nonexistent/notify", "")
    notifier.tell("READY=1")
    notifier.tell("WATCHDOG=1")
    assert [record.message for record in caplog.records] == [
        "systemd cannot be told at NOTIFY_SOCKET=/nonexistent/notify: No such file or directory"
    ]


def test_without_systemd_nothing_is_sent() -> None:
    Notifier("", "").tell("READY=1")


def test_a_reload_puts_off_the_watchdog_until_it_is_ready(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(5)
        notifier = Notifier(str(path), "30000000")
        notifier.is_reloading()
        assert systemd.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        notifier.allow(60.0)
        assert systemd.recv(1000) == b"EXTEND_TIMEOUT_USEC=60000000\nWATCHDOG_USEC=60000000\nWATCHDOG=1"
        notifier.is_ready()
        assert systemd.recv(1000) == b"READY=1\nWATCHDOG_USEC=30000000\nWATCHDOG=1"
