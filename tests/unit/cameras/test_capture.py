import os
import threading

import pytest

from appliance.cameras.capture import FfmpegOptions
from appliance.core.errors import UnavailableError

VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"


@pytest.fixture(autouse=True)
def _environment_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")


def test_those_who_want_the_same_do_not_wait_for_each_other() -> None:
    options = FfmpegOptions()
    with options.held("rtsp_transport;tcp", 0, "a"), options.held("rtsp_transport;tcp", 0, "b"):
        assert os.environ[VARIABLE] == "rtsp_transport;tcp"


def test_who_wants_another_transport_waits_until_the_last_one_is_done() -> None:
    options, seen = FfmpegOptions(), []
    is_waiting = threading.Event()

    def open_udp() -> None:
        is_waiting.set()
        with options.held("rtsp_transport;udp", 10, "b"):
            seen.append(os.environ[VARIABLE])

    with options.held("rtsp_transport;tcp", 0, "a"):
        other = threading.Thread(target=open_udp)
        other.start()
        assert is_waiting.wait(5)
        assert os.environ[VARIABLE] == "rtsp_transport;tcp"
        assert seen == []
    other.join(5)
    assert seen == ["rtsp_transport;udp"]


def test_waiting_has_an_end_and_says_what_to_do() -> None:
    options = FfmpegOptions()
    with (
        options.held("rtsp_transport;tcp", 0, "a"),
        pytest.raises(UnavailableError, match=r"\[cameras\.b\]: cameras with another `transport` .*; check those"),
        options.held("rtsp_transport;udp", 0.01, "[cameras.b]"),
    ):
        pytest.fail("two transports at a time")
