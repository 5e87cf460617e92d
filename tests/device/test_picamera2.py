"""The camera `picamera2` on the real picamera2 and libcamera's virtual camera, in the unit: `make test-picamera2`."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import pytest

from appliance.cameras.synthetic import Street
from tests.simulators.broker import Mosquitto
from tests.simulators.guest import Device, Guest, Network, wait_for
from tests.simulators.subscriber import Subscriber

from .conftest import PORT

pytestmark = pytest.mark.skipif(
    not os.environ.get("EDGECAM_PICAMERA2"), reason="needs a system with picamera2: sudo make test-picamera2"
)
HERE = Path(__file__).parent
PICTURES = 45
# What may be asked of it: NV12 alone, in these two sizes
CAMERA = """%YAML 1.1
---
"Virtual0":
  supported_formats:
    - {width: 640, height: 480, frame_rates: [15, 15]}
    - {width: 320, height: 240, frame_rates: [15, 15]}
  frames: {path: "/srv/pictures/"}
  location: "CameraLocationFront"
  model: "virtual"
"""
CONFIGURATION = """
[messaging]
broker = "{broker}"
[cameras.module]
kind = "picamera2"
width = 640
height = 480
lores_width = 320
lores_height = 240
fps = 15
"""


@pytest.fixture
def module(boot: Callable[[], AbstractContextManager[Guest]], network: Network) -> Iterator[Device]:
    """A system with a camera module that shows the drawn street."""
    with boot() as guest:
        guest.write("/usr/share/libcamera/pipeline/virtual/virtual.yaml", CAMERA)
        for name in ("virtual_camera.py", "read_back.py"):
            guest.write(f"/usr/local/lib/edgecam/{name}", (HERE / name).read_text())
        street = Street(640, 480, 15, seed=1)
        for number in range(PICTURES):
            encoded = cv2.imencode(".jpg", street.draw(number), [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
            picture = guest.path(f"/srv/pictures/{number}.jpg")
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_bytes(encoded.tobytes())
        # this machine's kernel may know no media devices, in whose absence libcamera has to be let ask udev
        csi = "/etc/systemd/system/edgecam.service.d/csi.conf"
        guest.run("install", "-D", "-m", "644", "/usr/lib/edgecam/dropins/csi.conf", csi, check=True)
        device = Device(guest, f"mqtt://{network.here}:{PORT}")
        guest.write("/etc/edgecam/edgecam.toml", CONFIGURATION.format(broker=device.broker))
        yield device


def _runs(device: Device, module: str, more: str = "") -> None:
    """Have the unit run a module with the virtual camera; its sandbox stays as it is."""
    start = f"/usr/bin/python3 -OO /usr/local/lib/edgecam/virtual_camera.py {module}"
    device.drop_in(f"{more}\nExecStart=\nExecStart={start}")


def test_the_format_that_libcamera_gives_in_place_of_the_one_asked_for_is_what_is_read(module: Device) -> None:
    ours = "Environment=PYTHONPATH=/usr/lib/edgecam/app:/usr/local/lib/edgecam"
    _runs(module, "read_back", f"Type=oneshot\nRestart=no\n{ours}")
    module.start()
    found = json.loads(module.guest.run("cat", "/var/lib/edgecam/read_back.json", check=True).stdout)
    assert found["libraries"] == ["libcamera", "picamera2"]
    # we asked for YUV420
    assert (found["given"], found["layout"]) == ("NV12", "NV12")
    assert (found["shape"], found["size"]) == ([360, 320], [640, 480])
    assert found["alike"]["NV12"] > 0.9 > 2 * found["alike"]["I420"], found


def test_what_a_camera_module_sees_is_told_to_the_broker(module: Device, broker: Mosquitto) -> None:
    broker.start()
    _runs(module, "appliance.daemon --config /etc/edgecam/edgecam.toml")
    with Subscriber(broker.port) as subscriber:
        module.start()
        seen = module.watch("module")
        assert seen["cameras"]["module"]["state"] == "online"
        events = wait_for(lambda: subscriber.bodies("/module/events"), 60, "an event")
    assert {event["label"] for event in events} & {"person", "car", "bicycle", "bus", "truck", "motorcycle", "dog"}
    assert {(event.get("width"), event.get("height")) for event in events} == {(640, 480)}
    assert module.guest.show("NRestarts") == "0"
    assert module.guest.show("User") == "edgecam"
