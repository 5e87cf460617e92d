import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.cameras.rtsp import RtspCamera
from appliance.config import RtspCameraSettings, Secret
from appliance.core.clock import SystemClock
from appliance.core.errors import ConfigError, UnavailableError
from tests.simulators.rtsp_server import RtspServer, read_number

PASSWORD = "p@ss:w/ö%?#"  # noqa: S105 - every character that an address could trip over


def make(url: str, **settings: object) -> RtspCamera:
    chosen = {"open_timeout": 3.0, "read_timeout": 1.0, **settings}
    return RtspCamera("door", RtspCameraSettings(kind="rtsp", url=url, **chosen), SystemClock())


def timed(work: Callable[[], object]) -> tuple[str, float]:
    began = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        work()
    return str(caught.value), time.monotonic() - began


@pytest.fixture
def secret(tmp_path: Path) -> Secret:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n", encoding="utf-8")
    path.chmod(0o600)
    return Secret(file=path)


def test_frames_are_fresh_though_nobody_read_for_a_while() -> None:
    with RtspServer(fps=50) as server:
        camera = make(server.url)
        camera.open()
        camera.read(timeout=5)
        before, deadline = server.sent, time.monotonic() + 10
        while server.sent < before + 60 and time.monotonic() < deadline:
            pass
        frame = camera.read(timeout=5)
        assert frame is not None
        assert read_number(frame.image) > before + 40
        assert camera.dropped > 30
        camera.close()


def test_a_dead_server_is_noticed_within_seconds_and_the_stream_comes_back() -> None:
    with RtspServer() as server:
        camera = make(server.url)
        camera.open()
        assert camera.read(timeout=1) is not None
        server.kill()
        message, took = timed(lambda: [camera.read(timeout=1) for _ in range(100)])
        assert took < 1.0 * 2 + 1
        assert "the stream ended" in message
        camera.close()
        message, took = timed(camera.open)
        assert took < 1
        assert "connection refused; nothing listens on that port" in message
        server.start()
        camera.open()
        frame = camera.read(timeout=1)
        assert frame is not None
        assert frame.number == 0
        camera.close()


def test_a_server_that_stalls_is_noticed_within_the_read_timeout() -> None:
    with RtspServer() as server:
        camera = make(server.url)
        camera.open()
        server.mode = "stall"
        message, took = timed(lambda: [camera.read(timeout=1) for _ in range(100)])
        assert took < 1.0 * 2 + 1
        assert "no picture came within 1 s" in message
        began = time.monotonic()
        camera.close()
        assert time.monotonic() - began < 1.5
        server.mode = "serve"
        camera.open()
        assert camera.read(timeout=1) is not None
        camera.close()


def test_a_silent_listener_costs_no_more_than_the_open_timeout() -> None:
    with RtspServer(mode="silent") as server:
        message, took = timed(make(server.url, open_timeout=1.0).open)
        assert took < 2.0
        assert "accepts connections but does not answer" in message


@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_user_name_and_password_reach_the_server_only(auth: str, secret: Secret) -> None:
    with RtspServer(auth=auth, username="vi ewer", password=PASSWORD) as server:
        camera = make(server.url, username="vi ewer", password=secret)
        camera.open()
        assert camera.read(timeout=5) is not None
        camera.close()
        assert all(PASSWORD not in address for _, address, _ in server.log)


@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_a_wrong_password_is_told_from_other_trouble_and_not_repeated(auth: str, secret: Secret) -> None:
    with RtspServer(auth=auth, username="viewer") as server:
        with pytest.raises(ConfigError, match=r"refuses access .*401.*check `username` \('viewer'\)") as caught:
            make(server.url, username="viewer", password=secret).open()
        seen: BaseException | None = caught.value
        while seen is not None:
            assert PASSWORD not in str(seen)
            seen = seen.__cause__ or seen.__context__
        with pytest.raises(ConfigError, match="set `username` and `password"):
            make(server.url).open()


def test_access_refused_by_a_camera_that_gave_pictures_before_is_tried_again(secret: Secret) -> None:
    with RtspServer(auth="basic", password=PASSWORD) as server:
        camera = make(server.url, username="viewer", password=secret)
        camera.open()
        camera.close()
        server.password = "locked out"  # noqa: S105 - of a simulator
        message, _ = timed(camera.open)
        assert "refuses access (RTSP/1.0 401 Unauthorized), which it gave before" in message
        server.password = PASSWORD
        camera.open()
        assert camera.read(timeout=5) is not None
        camera.close()


def test_the_right_password_for_a_wrong_path_is_no_question_of_access(secret: Secret) -> None:
    with RtspServer(auth="digest", password=PASSWORD) as server:
        camera = make(server.url.replace("/cam", "/other"), username="viewer", password=secret)
        assert "404 Not Found; check the path" in timed(camera.open)[0]


def test_a_server_that_speaks_no_udp_is_told_with_what_to_try() -> None:
    with RtspServer() as server:
        assert "try the other `transport`" in timed(make(server.url, transport="udp").open)[0]
        transports = [headers["transport"] for method, _, headers in server.log if method == "SETUP"]
        assert transports
        assert all("RTP/AVP/UDP" in transport for transport in transports)
        camera = make(server.url, transport="tcp")
        camera.open()
        assert camera.read(timeout=5) is not None
        camera.close()


def test_a_password_in_the_path_shows_in_no_message() -> None:
    with RtspServer() as server:
        camera = make(server.url.replace("/cam", "/user=admin&password=hunter2&channel=1"))
        message, _ = timed(camera.open)
        assert message.startswith(f"[cameras.door] rtsp://127.0.0.1:{server.port}/…: RTSP/1.0 404")
        assert "hunter2" not in message


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "a" * 64, "é" * 63])
def test_an_unknown_host_is_told(host: str, capfd: pytest.CaptureFixture[str]) -> None:
    message, _ = timed(make(f"rtsp://{host}/cam").open)
    assert "check the host's name" in message
    assert capfd.readouterr().err == ""


def test_no_password_shows_in_what_the_libraries_print(secret: Secret) -> None:
    with RtspServer(auth="basic") as server:
        gone = RtspServer()
        gone.start()
        gone.kill()
        code = (
            "import sys; from appliance.cameras.rtsp import RtspCamera; from appliance.core.clock import SystemClock\n"
            "from appliance.config import RtspCameraSettings, Secret; from appliance.core.errors import EdgecamError\n"
            "for url in sys.argv[2:]:\n"
            "  settings = RtspCameraSettings(kind='rtsp', url=url, username='me', password=Secret(file=sys.argv[1]))\n"
            "  try: RtspCamera('door', settings, SystemClock()).open()\n"
            "  except EdgecamError as error: print(error)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(secret.file), server.url, gone.url],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 2
    assert PASSWORD not in done.stdout
    assert "p%40ss" not in done.stdout
