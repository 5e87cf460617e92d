import socket
import threading

from appliance.messaging import reasons
from appliance.messaging.wire import Ear
from tests.simulators.messaging_device import wait_until


def test_silence_is_noticed_after_nearly_one_and_a_half_keepalives() -> None:
    one, other = socket.socketpair()
    with one, other:
        ear = Ear(20.0)
        assert ear.lost(one, 30, is_owed=False) is None
        assert ear.lost(one, 0, is_owed=False) is None, "agreed to be silent"
        wait_until(lambda: ear.lost(one, 1, is_owed=False) is reasons.SILENT, "silent", 3.0)
        ear.heard()
        assert ear.lost(one, 1, is_owed=False) is None


def test_a_large_message_that_leaves_slowly_is_no_broken_promise() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
        with near, far:
            near.setblocking(False)
            while True:
                try:
                    near.send(b"x" * 65536)
                except BlockingIOError:
                    break
            ear, pause = Ear(1.0), threading.Event()
            ear.got_on()
            for _ in range(15):
                far.recv(65536)
                pause.wait(0.1)
                assert ear.lost(near, 30, is_owed=True) is None, "bytes leave"
            wait_until(lambda: ear.lost(near, 30, is_owed=True) is reasons.UNACKNOWLEDGED, "they leave no more", 4.0)
