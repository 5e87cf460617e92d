import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from appliance.config import MessagingSettings
from appliance.messaging.credentials import Papers
from appliance.messaging.mqtt import Dialler, Protocol
from appliance.messaging.reasons import Reason


@pytest.fixture
def wake() -> Iterator[int]:
    number = os.eventfd(0, os.EFD_NONBLOCK)
    yield number
    os.close(number)


def dialler(wake: int, broker: str, **settings: object) -> Dialler:
    return Dialler("dev", MessagingSettings.model_validate({"broker": broker, **settings}), wake)


@pytest.mark.parametrize(
    ("broker", "shown"),
    [
        ("mqtt://broker.example", "mqtt://broker.example:1883"),
        ("mqtts://broker.example", "mqtts://broker.example:8883"),
        ("mqtt://[::1]:1884/", "mqtt://[::1]:1884"),
    ],
)
def test_the_address_is_shown_with_its_port_and_without_secrets(wake: int, broker: str, shown: str) -> None:
    assert str(dialler(wake, broker, username="camera")) == shown


def test_nobody_there_is_a_reason_and_no_exception(wake: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        reason = dialler(wake, f"mqtt://127.0.0.1:{free.getsockname()[1]}").dial(
            Protocol.MQTT_5, Papers(()), lambda: False
        )
    assert isinstance(reason, Reason)
    assert reason.what == "connection refused"


def test_dialling_ends_at_once_when_it_is_called_off(wake: int) -> None:
    begin = time.monotonic()
    reason = dialler(wake, "mqtt://127.0.0.1:1").dial(Protocol.MQTT_5, Papers(()), lambda: True)
    assert isinstance(reason, Reason)
    assert time.monotonic() - begin < 1.0


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n" + b"x" * 100, None),
        (b"\x20\xff\xff\xff\xff\x01", None),
        (b"\x20\x02\x00\x01", 0x84),  # CONNACK of 3.1.1: unacceptable protocol version
    ],
    ids=["HTTP", "endless length", "CONNACK of 3.1.1"],
)
def test_a_strange_answer_ends_the_conversation_without_an_exception(
    wake: int, answer: bytes, code: int | None
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(4096)
                with suppress(OSError):  # a reset is an answer too
                    peer.sendall(answer)
                    peer.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        conversation = dialler(wake, f"mqtt://127.0.0.1:{server.getsockname()[1]}").dial(
            Protocol.MQTT_5, Papers(()), lambda: False
        )
        assert not isinstance(conversation, Reason)
        with conversation:
            deadline = time.monotonic() + 5.0
            while conversation.is_alive and time.monotonic() < deadline:
                conversation.turn(0.1)
            assert not conversation.is_alive
            assert conversation.connack == code
        thread.join(5.0)
