"""Delivery against a real mosquitto: absent, restarted, cut, half-open, refusing."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.core.health import HealthState
from appliance.core.message import Message, Priority
from tests.simulators.broker import Mosquitto, free_port
from tests.simulators.messaging_device import Device, wait_until
from tests.simulators.subscriber import Subscriber
from tests.simulators.tcp_proxy import TcpProxy


def test_a_broker_that_comes_late_gets_all_and_what_waited_in_order(mosquitto: Mosquitto, tmp_path: Path) -> None:
    with Device(tmp_path, mosquitto.url) as device:
        device.send(100)
        wait_until(lambda: device.figure("rows") == 100, "100 rows on disk")
        finding = device.finding("broker")
        assert finding is not None
        assert "connection refused" in finding.what
        assert "start the broker" in finding.fix
        assert not device.figure("connected")
        mosquitto.start()
        with Subscriber(mosquitto.port) as subscriber:
            device.send(20)
            device.wait_drained()
            wait_until(lambda: len(subscriber.numbers()) == 120, "all at the subscriber")
            assert [number for number in subscriber.numbers() if number <= 100] == list(range(1, 101))
            assert [number for number in subscriber.numbers() if number > 100] == list(range(101, 121))
        assert device.board.state() is HealthState.OK
    assert device.figure("rows") == 0


def test_a_restarted_broker_leaves_no_number_out(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.keep_sessions(tmp_path)
    mosquitto.start()
    with Subscriber(mosquitto.port) as subscriber, Device(tmp_path, mosquitto.url) as device:
        device.send(50)
        device.wait_drained()
        mosquitto.stop()
        wait_until(lambda: not device.figure("connected"), "the loss is noticed")
        device.send(50)
        mosquitto.start()
        device.wait_drained(60.0)
        wait_until(lambda: len(subscriber.numbers()) == 100, "all messages at the subscriber")
        assert sorted(subscriber.numbers()) == list(range(1, 101))


def test_state_is_retained_and_sent_again_to_a_broker_that_forgot_it(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.start()
    with Device(tmp_path, mosquitto.url) as device:
        for state in ("online", "stalled"):
            device.messaging.publish(Message("door/status", {"state": state}, retain=True, qos=1))
        wait_until(lambda: device.figure("connected"), "connected")
        mosquitto.stop()
        mosquitto.start()
        wait_until(lambda: device.figure("connects") == 2, "connected again")
        device.wait_drained()
        with Subscriber(mosquitto.port) as late:
            wait_until(lambda: late.last("door/status") and late.last("availability"), "retained state")
            assert late.last("availability") == b"online"
            assert late.payloads("door/status")[0]["state"] == "stalled"
            took = device.close()
            wait_until(lambda: late.last("availability") == b"offline", "offline")
    assert took < 8.0


def test_two_subscribers_each_get_everything(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.start()
    with (
        Subscriber(mosquitto.port, "one") as one,
        Subscriber(mosquitto.port, "two") as two,
        Device(tmp_path, mosquitto.url) as device,
    ):
        device.send(300)
        wait_until(lambda: len(one.numbers()) == len(two.numbers()) == 300, "all at both")
        assert one.numbers() == two.numbers() == list(range(1, 301))


def test_a_cut_link_comes_back_and_nothing_is_missing(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.start()
    with (
        TcpProxy(mosquitto.port) as proxy,
        Subscriber(mosquitto.port) as subscriber,
        Device(tmp_path, proxy.url) as device,
    ):
        for _ in range(3):
            wait_until(lambda: device.figure("connected"), "connected")
            connects = device.figure("connects")
            device.send(200)
            proxy.cut()
            wait_until(lambda connects=connects: device.figure("connects") > connects, "connected again", 30.0)
        device.wait_drained()
        wait_until(lambda: len(subscriber.numbers()) == 600, "all at the subscriber")
        assert sorted(subscriber.numbers()) == list(range(1, 601))


def test_a_half_open_link_is_found_and_what_was_sent_into_it_is_sent_again(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    mosquitto.start()
    with (
        TcpProxy(mosquitto.port) as proxy,
        Subscriber(mosquitto.port) as subscriber,
        Device(tmp_path, proxy.url, keepalive=5) as device,
    ):
        device.send(10)
        device.wait_drained()
        proxy.set("stall")
        begin = time.monotonic()
        device.send(10)
        wait_until(lambda: not device.figure("connected"), "the dead link is noticed", 15.0)
        assert time.monotonic() - begin < 1.5 * 5 + 2.0
        proxy.cut()
        proxy.set("pass")
        device.wait_drained(60.0)
        wait_until(lambda: len(subscriber.numbers()) == 20, "all at the subscriber")
        late = [fields for fields in subscriber.payloads("door/events") if fields.get("replay")]
        assert late
        assert all(fields["queued_s"] > 5.0 for fields in late)


def test_a_silent_broker_does_not_delay_the_stop(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.start()
    with TcpProxy(mosquitto.port) as proxy, Device(tmp_path, proxy.url) as device:
        wait_until(lambda: device.figure("connected"), "connected")
        proxy.set("stall")
        device.send(100)
        wait_until(lambda: device.figure("appended") == 100, "on disk")
        assert device.close() < 8.0
    with TcpProxy(mosquitto.port) as proxy:
        proxy.set("stall")
        with Device(tmp_path, proxy.url) as device:
            wait_until(lambda: proxy.connections > 0, "a connection is tried")
            assert device.close() < 8.0


def test_a_denied_topic_keeps_its_messages_says_so_and_blocks_no_other(mosquitto: Mosquitto, tmp_path: Path) -> None:
    access = tmp_path / "broker" / "acl"
    access.write_text("topic read #\ntopic write edgecam/dev/availability\ntopic write edgecam/dev/yard/#\n")
    mosquitto.configure(f"acl_file {access}")
    mosquitto.start()
    with Subscriber(mosquitto.port) as subscriber, Device(tmp_path, mosquitto.url) as device:
        device.send(3)
        device.send(3, "yard/events")
        wait_until(lambda: len(subscriber.numbers()) == 3, "what is allowed arrives")
        assert subscriber.numbers() == [4, 5, 6]
        wait_until(lambda: device.finding("delivery"), "told")
        finding = device.finding("delivery")
        assert finding is not None
        assert "edgecam/dev/door/events" in finding.what
        assert "not allowed to publish" in finding.what
        assert "right to write" in finding.fix
        wait_until(lambda: device.figure("rows") == 3, "what is denied stays")
        assert device.figure("refused") >= 1
        access.write_text("topic readwrite #\n")
        mosquitto.reload()
        wait_until(lambda: sorted(subscriber.numbers()) == [1, 2, 3, 4, 5, 6], "what was denied arrives", 30.0)
        door = [fields["seq"] for fields in subscriber.numbered() if fields["seq"] <= 3]
        assert door == [1, 2, 3]
        wait_until(lambda: device.board.state() is HealthState.OK, "all is well again")


def test_a_message_the_broker_finds_too_large_blocks_no_other(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.configure("message_size_limit 2000")
    mosquitto.start()
    with Subscriber(mosquitto.port) as subscriber, Device(tmp_path, mosquitto.url) as device:
        device.send(3)
        device.send(1, pad="x" * 4000)
        device.send(3)
        wait_until(lambda: sorted(subscriber.numbers()) == [1, 2, 3, 5, 6, 7], "the others arrive", 60.0)
        wait_until(lambda: device.figure("rows") == 1, "the large one stays")
        wait_until(lambda: device.finding("delivery"), "told")


def test_a_wrong_password_is_named_and_a_corrected_one_works_without_a_restart(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    users, secret = tmp_path / "broker" / "users", tmp_path / "password"
    mosquitto.add_user(users, "camera", "right")
    mosquitto.configure("allow_anonymous false", f"password_file {users}")
    mosquitto.start()
    secret.write_text("wrong\n")
    secret.chmod(0o600)
    with Device(tmp_path, mosquitto.url, username="camera", password={"file": str(secret)}) as device:
        device.send(5)
        wait_until(lambda: (found := device.finding("broker")) and found.state is HealthState.FAILED, "named")
        finding = device.finding("broker")
        assert finding is not None
        assert "user name or password is wrong" in finding.what
        assert "password" in finding.fix
        assert "wrong" not in finding.fix
        secret.write_text("right\n")
        with Subscriber(mosquitto.port, username="camera", password="right") as subscriber:
            wait_until(lambda: subscriber.numbers() == [1, 2, 3, 4, 5], "all five arrive", 30.0)
            device.wait_drained()
        assert device.figure("rows") == 0


def test_without_a_link_what_is_not_durable_is_dropped_and_counted(tmp_path: Path) -> None:
    with Device(tmp_path, "mqtt://127.0.0.1:1") as device:
        for _ in range(7):
            device.messaging.publish(Message("door/detections", {}, priority=Priority.DETAIL))
        wait_until(lambda: device.figure("dropped_offline") == 7, "counted")
        assert not device.messaging.is_drained(), "nobody knows what the broker would take"


def test_without_a_broker_messages_are_only_counted(tmp_path: Path) -> None:
    with Device(tmp_path, "none") as device:
        device.send(5)
        assert device.figure("published") == 5
        assert device.messaging.is_drained()
    assert not list(tmp_path.iterdir())


def settled_cpu(device: Device) -> float:
    before = time.process_time()
    device.stop.wait(2.0)
    return (time.process_time() - before) / 2.0


AMQTT = """
import asyncio, sys
from amqtt.broker import Broker

async def main():
    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    broker = Broker({"listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{sys.argv[1]}"}}, "plugins": plugins})
    await broker.start()
    print("ready", flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


def test_a_broker_that_knows_only_3_1_1_is_spoken_to_in_3_1_1(tmp_path: Path) -> None:
    pytest.importorskip("amqtt", reason="amqtt, a broker that knows only MQTT 3.1.1, is not installed")
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-c", AMQTT, str(port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as broker:
        try:
            assert broker.stdout is not None
            assert broker.stdout.readline() == "ready\n"
            with Device(tmp_path, f"mqtt://127.0.0.1:{port}") as device:
                device.send(10)
                device.wait_drained(30.0)
                assert device.figure("protocol") == "3.1.1"
                assert device.figure("acknowledged") == 10
        finally:
            broker.kill()


# paho leaves the socket of a failed handshake to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_is_checked_against_the_given_authority_and_a_stranger_is_named(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates of this test, and is not installed")
    key, certificate = tmp_path / "broker" / "key.pem", tmp_path / "broker" / "certificate.pem"
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    make += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*make, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    plain = free_port()
    mosquitto.configure(f"listener {plain} 127.0.0.1", listener=(f"certfile {certificate}", f"keyfile {key}"))
    mosquitto.start()
    url = f"mqtts://localhost:{mosquitto.port}"
    with Device(tmp_path / "stranger", url) as device:
        wait_until(lambda: device.finding("broker"), "named")
        finding = device.finding("broker")
        assert finding is not None
        assert "certificate is not trusted" in finding.what
        assert "ca_file" in finding.fix
    with Subscriber(plain), Device(tmp_path / "friend", url, tls={"ca_file": str(certificate)}) as device:
        device.send(200)
        device.wait_drained()
        assert device.figure("acknowledged") == 200


def test_an_idle_link_costs_next_to_nothing(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.start()
    with Device(tmp_path, mosquitto.url) as device:
        device.wait_drained()
        assert settled_cpu(device) < 0.02
