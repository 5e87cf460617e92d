"""What of paho is overridden is there, and does what we take it to do."""

import contextlib
import inspect
import socket
import time
from collections.abc import Iterator

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion

from appliance.messaging.client import MOST_ARRIVING_BYTES, QuickClient
from appliance.messaging.inbox import MOST_BYTES
from appliance.messaging.properties import variable_length

CONNACK = b"\x20\x03\x00\x00\x00"


@pytest.fixture
def pair() -> Iterator[tuple[QuickClient, socket.socket]]:
    """A client that is connected, and the broker's end of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = QuickClient("dev", MQTTProtocolVersion.MQTTv5)
        client.connect(*server.getsockname())
        end, _ = server.accept()
        with end:
            end.settimeout(5.0)
            end.recv(4096)
            end.sendall(CONNACK)
            while not client.is_connected():
                assert client.loop_read() == MQTTErrorCode.MQTT_ERR_SUCCESS
            yield client, end
        wire = client.socket()
        if wire is not None:
            wire.close()


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("_packet_queue", ["self", "command", "packet", "mid", "qos", "info"]),
        ("_packet_read", ["self"]),
        ("_loop_rc_handle", ["self", "rc"]),
        ("_sock_recv", ["self", "bufsize"]),
        ("_handle_pubackcomp", ["self", "cmd"]),
        ("_mid_generate", ["self"]),
        ("loop_read", ["self", "max_packets"]),
    ],
)
def test_paho_has_what_is_used_of_it_and_is_not_in_its_documentation(name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(Client, name)).parameters) == parameters


def test_a_batch_is_one_write_of_packets_in_their_order(pair: tuple[QuickClient, socket.socket]) -> None:
    client, end = pair
    assert client.add("a/b", b"one", 1, retain=True, properties=b"\0") == 1
    assert client.add("c", b"two", 0, retain=False, properties=b"\0") == 0
    assert client.add("", b"three", 1, retain=False, properties=b"\x03\x23\0\x01") == 2
    client.flush()
    # MQTT 5, section 3.3: fixed header, topic, packet identifier for QoS 1, properties, payload
    first = b"\x33\x0b\0\x03a/b\0\x01\0one"
    second = b"\x30\x07\0\x01c\0two"
    third = b"\x32\x0d\0\0\0\x02\x03\x23\0\x01three"
    assert end.recv(4096) == first + second + third


def test_a_long_packet_has_its_length_in_more_bytes(pair: tuple[QuickClient, socket.socket]) -> None:
    client, end = pair
    client.add("a", b"x" * 300, 1, retain=False, properties=b"\0")
    client.flush()
    # 2 + 1 + 2 + 1 + 300 = 306 = 0xb2 0x02 as a variable byte integer
    assert end.recv(4096)[:3] == b"\x32\xb2\x02"


def test_acknowledgements_are_read_many_at_a_time_and_broken_where_they_come_in_pieces(
    pair: tuple[QuickClient, socket.socket],
) -> None:
    client, end = pair
    acknowledgements = b"\x40\x02\0\x01" + b"\x40\x03\0\x02\x10" + b"\x40\x04\0\x03\x95\0" + b"\x40\x02\x01\0"
    for begin in range(0, len(acknowledgements), 5):
        end.sendall(acknowledgements[begin : begin + 5])
    for _ in range(1000):
        assert client.loop_read() == MQTTErrorCode.MQTT_ERR_SUCCESS
        if len(client.acknowledged) == 4:
            break
    assert client.acknowledged == [(1, 0), (2, 0x10), (3, 0x95), (256, 0)], "0x95 too, which is mosquitto's own"


def test_what_was_received_and_not_yet_read_is_not_forgotten(pair: tuple[QuickClient, socket.socket]) -> None:
    client, end = pair
    end.sendall(b"\x40\x02\0\x01\x40\x02\0\x02")
    while not client.acknowledged:
        client.loop_read(1)
    assert client.has_arrived
    client.loop_read(1)
    assert client.acknowledged == [(1, 0), (2, 0)]
    assert not client.has_arrived


@pytest.mark.parametrize("packet", [b"\x40\x01\0", b"\x70\x02\0\x01"], ids=["cut off", "PUBCOMP"])
def test_an_acknowledgement_that_cannot_be_is_an_error(pair: tuple[QuickClient, socket.socket], packet: bytes) -> None:
    client, end = pair
    end.sendall(packet)
    codes = [client.loop_read() for _ in range(100)]
    assert MQTTErrorCode.MQTT_ERR_PROTOCOL in codes
    assert client.acknowledged == []


def test_in_mqtt_3_1_1_there_are_no_properties() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = QuickClient("dev", MQTTProtocolVersion.MQTTv311)
        client.connect(*server.getsockname())
        end, _ = server.accept()
        with end:
            end.settimeout(5.0)
            end.recv(4096)
            client.add("a", b"x", 1, retain=False, properties=b"")
            client.flush()
            assert end.recv(4096) == b"\x32\x06\0\x01a\0\x01x"
        wire = client.socket()
        assert wire is not None
        wire.close()


def test_of_a_packet_without_measure_only_the_beginning_is_kept_and_the_next_one_is_read(
    pair: tuple[QuickClient, socket.socket],
) -> None:
    client, end = pair
    lengths: list[int] = []
    client.on_message = lambda _, __, message: lengths.append(len(message.payload))
    size = 4 << 20
    # three bytes of topic, one of properties, and the payload
    sent = b"\x30" + variable_length(size + 4) + b"\0\x01a\0" + bytes(size) + b"\x30\x05\0\x01b\0x"
    for begin in range(0, len(sent), 32768):
        end.sendall(sent[begin : begin + 32768])
        for _ in range(20):
            assert client.loop_read() == MQTTErrorCode.MQTT_ERR_SUCCESS
    deadline = time.monotonic() + 5.0
    while len(lengths) < 2 and time.monotonic() < deadline:
        client.loop_read()
    assert MOST_BYTES < lengths[0] <= MOST_ARRIVING_BYTES + 4096
    assert lengths[1:] == [1]


def test_no_more_is_read_at_once_than_may_wait_in_memory(pair: tuple[QuickClient, socket.socket]) -> None:
    client, end = pair
    came: list[int] = []
    client.on_message = lambda _, __, message: came.append(len(message.payload))
    end.settimeout(0.2)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 << 20)
    one = b"\x30" + variable_length(60_004) + b"\0\x01a\0" + bytes(60_000)
    with contextlib.suppress(TimeoutError):
        end.sendall(one * 20)
    deadline = time.monotonic() + 5.0
    while not came and time.monotonic() < deadline:
        client.loop_read()
        assert sum(came) <= 400_000
    assert came
