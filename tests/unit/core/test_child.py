"""A process that does an errand for us is waited for no longer than it may take, whatever it does not do."""

import sys
import threading

import pytest

from appliance.core.child import Child, OverdueError, StoppedError

LARGE = b"x" * (1 << 20)  # more than a pipe takes


def test_a_process_that_never_reads_its_order_is_ended_in_time() -> None:
    child = Child((sys.executable, "-c", "import time; time.sleep(60)"), threading.Event())
    with pytest.raises(OverdueError):
        list(child.lines(LARGE, 1.0, 1000))


def test_nor_does_it_hold_up_the_end_of_the_daemon() -> None:
    stop = threading.Event()
    child = Child((sys.executable, "-c", "import time; time.sleep(60)"), stop, beat=stop.set)
    with pytest.raises(StoppedError):
        list(child.lines(LARGE, 60.0, 1000))


def test_an_order_larger_than_a_pipe_arrives_whole() -> None:
    script = "import sys; print(len(sys.stdin.buffer.read()))"
    child = Child((sys.executable, "-c", script), threading.Event())
    assert list(child.lines(LARGE, 60.0, 1000)) == [b"1048576"]
    assert child.status == 0


def test_a_process_that_ends_without_reading_tells_its_status() -> None:
    child = Child((sys.executable, "-c", "import sys; sys.exit(3)"), threading.Event())
    assert list(child.lines(LARGE, 60.0, 1000)) == []
    assert child.status == 3
