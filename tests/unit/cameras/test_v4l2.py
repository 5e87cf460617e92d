import errno
from pathlib import Path

import pytest

from appliance.cameras.nodes import explain, list_nodes, query_node
from appliance.cameras.v4l2 import V4l2Camera
from appliance.config import V4l2CameraSettings
from appliance.core.clock import SystemClock
from appliance.core.errors import ConfigError, UnavailableError


def make(device: str) -> V4l2Camera:
    return V4l2Camera("door", V4l2CameraSettings(kind="v4l2", device=device), SystemClock())


def test_a_camera_that_is_not_plugged_in_is_waited_for() -> None:
    with pytest.raises(
        UnavailableError, match=r"\[cameras\.door\] device: there is no camera at /dev/video99; plug it in"
    ):
        make("/dev/video99").open()


def test_a_device_that_is_no_camera_is_a_question_of_configuration() -> None:
    with pytest.raises(ConfigError, match="/dev/null is no Video4Linux device; take one of `edgecam camera list`"):
        make("/dev/null").open()


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        (errno.ENOENT, "plug it in"),
        (errno.ENODEV, "plug it in"),
        (errno.EACCES, "do: sudo usermod -aG video"),
        (errno.EBUSY, "sudo fuser -v /dev/video0"),
        (errno.ENOTTY, "take one of `edgecam camera list`"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_each_trouble_has_its_own_message_and_fix(code: int, fix: str) -> None:
    message = explain(code, Path("/dev/video0"))
    assert "/dev/video0" in message
    assert fix in message


def test_nodes_that_cannot_be_asked_are_listed_with_the_reason(tmp_path: Path) -> None:
    for name in ("video10", "video2", "video", "videoX", "vbi0"):
        (tmp_path / name).touch()
    nodes = list_nodes(tmp_path)
    assert [node.path.name for node in nodes] == ["video2", "video10"]
    assert all(node.is_wrong and not node.is_capture and node.trouble for node in nodes)


def test_asking_a_node_that_is_not_there_raises_nothing() -> None:
    node = query_node(Path("/dev/video99"))
    assert not node.is_wrong
    assert "there is no camera" in node.trouble
