"""What the link does when a broker has limits, refuses, falls silent or throws it out: brokers that follow a script."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.health import HealthState
from appliance.messaging.inbox import Inbox, Received
from appliance.messaging.parcels import LinkDown, Parcel
from appliance.messaging.reasons import Pace
from tests.simulators.lone_link import LoneLink
from tests.simulators.messaging_device import Device, wait_until
from tests.simulators.scripted_broker import DROP, SILENT, Published, ScriptedBroker

PAUSE = threading.Event()


def events(count: int, first: int = 1, size: int = 10, topic: str = "door/events") -> list[Parcel]:
    return [Parcel(topic, b"x" * size, 1, ticket=first + number) for number in range(count)]


@pytest.mark.parametrize(
    ("code", "words", "fix", "state", "pace"),
    [
        (0x8A, "banned this device", "lift the ban", HealthState.FAILED, Pace.BANNED),
        (0x87, "not allowed to connect", "username and password", HealthState.FAILED, Pace.LASTING),
        (0x86, "user name or password is wrong", "username and password", HealthState.FAILED, Pace.LASTING),
        (0x85, "client id", "what the broker allows", HealthState.FAILED, Pace.LASTING),
        (0x88, "not available", "log", HealthState.DEGRADED, Pace.FLEET),
        (0x89, "busy", "load", HealthState.DEGRADED, Pace.BUSY),
        (0x97, "quota", "raise the quota", HealthState.DEGRADED, Pace.BUSY),
        (0x9F, "connect too often", "wait", HealthState.DEGRADED, Pace.BUSY),
    ],
    ids=lambda value: hex(value) if isinstance(value, int) else "",
)
def test_each_refusal_is_named_with_its_fix_and_has_a_pace_of_its_own(
    code: int, words: str, fix: str, state: HealthState, pace: Pace
) -> None:
    with ScriptedBroker(code=code) as broker, LoneLink(broker.url) as device:
        wait_until(lambda: device.manners.paces, "refused")
        finding = device.finding("broker")
        assert finding is not None
        assert finding.state is state
        assert words in finding.what
        assert fix in finding.fix
        assert device.manners.paces[0] is pace
        broker.code = 0
        wait_until(lambda: device.session, "taken in the end")


def test_a_banned_device_does_not_try_in_a_tight_loop(tmp_path: Path) -> None:
    with ScriptedBroker(code=0x8A) as broker, Device(tmp_path, broker.url) as device:
        wait_until(lambda: device.finding("broker"), "told")
        PAUSE.wait(2.0)
        assert len(broker.connects) == 1


def test_another_server_is_shown_and_not_followed() -> None:
    with (
        ScriptedBroker() as other,
        ScriptedBroker(code=0x9D, limits={"ServerReference": f"127.0.0.1:{other.port}"}) as broker,
        LoneLink(broker.url) as device,
    ):
        wait_until(lambda: len(broker.connects) > 2, "tried again")
        finding = device.finding("broker")
        assert finding is not None
        assert f"moved to another server: '127.0.0.1:{other.port}'" in finding.what
        assert "set [messaging] broker" in finding.fix
        assert other.connects == []


def test_two_devices_with_one_name_are_told_so() -> None:
    with ScriptedBroker(farewell=0x8E) as broker, LoneLink(broker.url) as device:
        wait_until(lambda: device.finding("identity"), "named")
        finding = device.finding("identity")
        assert finding is not None
        assert finding.state is HealthState.FAILED
        assert "another client uses this device's name" in finding.what
        assert "[device] id" in finding.fix
        assert device.link.figures()["takeovers"] == 3
        assert set(device.manners.paces) == {Pace.TAKEN}


def test_no_more_is_in_flight_than_the_broker_receives() -> None:
    with (
        ScriptedBroker(limits={"ReceiveMaximum": 3}, answer=lambda _: SILENT) as broker,
        LoneLink(broker.url) as device,
    ):
        wait_until(lambda: device.session, "connected")
        device.send(*events(20))
        wait_until(lambda: len(broker.published) >= 3, "the window is full")
        PAUSE.wait(0.5)
        assert len(broker.published) == 3, "the device's state among them"
        broker.send(0x40, b"\0\1\0\0")
        wait_until(lambda: len(broker.published) == 4, "one is answered, one more is sent")
        PAUSE.wait(0.5)
        assert len(broker.published) == 4
        broker.send(0xE0, b"\x8b\0")


def test_what_is_new_overtakes_a_backlog_that_was_given_before_it() -> None:
    with ScriptedBroker() as broker, LoneLink(broker.url) as device:
        wait_until(lambda: device.session, "connected")
        waited = [replace(parcel, is_backlog=True) for parcel in events(50)]
        device.send(*waited, Parcel("door/events", b"new", 1, ticket=99))
        wait_until(lambda: len(device.codes()) == 51, "all are answered")
        assert broker.payloads("events").index(b"new") == 0
        assert list(device.codes())[1:] == list(range(1, 51)), "each lane in its order"


def test_what_the_broker_finds_too_large_is_not_sent_to_it() -> None:
    with ScriptedBroker(limits={"MaximumPacketSize": 300}) as broker, LoneLink(broker.url) as device:
        wait_until(lambda: device.session, "connected")
        for size in range(200, 300):
            device.send(Parcel("door/events", b"x" * size, 1, ticket=size, id=f"dev/0123456789abcdef/{size}"))
        wait_until(lambda: len(device.codes()) == 100, "all are answered")
        assert max(packet.packet_bytes for packet in broker.published) in range(290, 301)
        refused = [size for size, code in device.codes().items() if code == 0x95]
        assert refused == list(range(min(refused), 300))
        assert len(broker.connects) == 1


def test_topics_are_told_by_alias_once_the_broker_knows_it_and_no_more_than_it_offers() -> None:
    with ScriptedBroker(limits={"TopicAliasMaximum": 2}) as broker, LoneLink(broker.url) as device:
        for connection in (1, 2):
            wait_until(lambda connection=connection: device.session == connection, "connected")
            wait_until(lambda: broker.payloads("availability"), "online")
            broker.published.clear()
            for first in (10, 20, 30):
                device.send(*events(1, first), *events(1, first + 1, topic="yard/events"))
                wait_until(lambda first=first: first + 1 in device.codes(), "answered")
            events_of = [packet for packet in broker.published if packet.topic.endswith("events")]
            door = [packet for packet in events_of if "/door/" in packet.topic]
            assert [packet.told for packet in door] == ["edgecam/dev/door/events", "", ""]
            yard = [packet for packet in events_of if "/yard/" in packet.topic]
            assert all(packet.told for packet in yard), "availability and door have the two there are"
            assert all("TopicAlias" not in packet.properties for packet in yard)
            device.news[:] = [item for item in device.news if not hasattr(item, "ticket")]
            if connection == 1:
                broker.send(0xE0, b"\x8b\0")


def test_answers_to_commands_use_up_no_alias() -> None:
    with ScriptedBroker(limits={"TopicAliasMaximum": 4}) as broker, LoneLink(broker.url) as device:
        wait_until(lambda: device.session and broker.payloads("availability"), "connected")
        for number in range(6):
            device.link.post(Parcel(f"cmd/detect/{number}/result", b"{}", 1))
        wait_until(lambda: len(broker.payloads("result")) == 6, "answers")
        for first in (10, 20):
            device.send(*events(1, first))
            wait_until(lambda first=first: first in device.codes(), "answered")
        told = [packet.told for packet in broker.published if packet.topic.endswith("events")]
        assert told == ["edgecam/dev/door/events", ""]


def test_a_refused_message_teaches_no_alias() -> None:
    def answer(packet: Published) -> int:
        return 0x87 if packet.topic.endswith("events") else 0

    with (
        ScriptedBroker(limits={"TopicAliasMaximum": 9}, answer=answer) as broker,
        LoneLink(broker.url) as device,
    ):
        wait_until(lambda: device.session, "connected")
        for first in (1, 2, 3):
            device.send(*events(1, first))
            wait_until(lambda first=first: first in device.codes(), "answered")
        assert all(packet.told for packet in broker.published)


def test_an_answer_that_is_refused_where_its_sender_wanted_it_makes_the_device_no_worse() -> None:
    def answer(packet: Published) -> int:
        return 0x87 if packet.topic.endswith(("panel", "status")) else 0

    with ScriptedBroker(answer=answer) as broker, LoneLink(broker.url) as device:
        wait_until(lambda: device.session, "connected")
        device.link.post(Parcel("replies/panel", b"{}", 1, is_whole_topic=True, is_answer=True))
        wait_until(lambda: broker.payloads("panel"), "the answer is sent")
        device.send(*events(1))
        wait_until(lambda: 1 in device.codes(), "and what came after it is answered")
        assert device.board.state() is HealthState.OK
        device.link.post(Parcel("status", b"{}", 1, retain=True))
        wait_until(lambda: device.board.state() is HealthState.DEGRADED, "state that is refused is told")


def test_a_broker_that_forgets_aliases_is_told_none_any_more() -> None:
    with ScriptedBroker(limits={"TopicAliasMaximum": 9}) as broker, LoneLink(broker.url) as device:
        wait_until(lambda: device.session == 1, "connected")
        broker.send(0xE0, b"\x94\0")
        wait_until(lambda: device.session == 2 and broker.payloads("availability"), "connected again")
        broker.published.clear()
        device.send(*events(3))
        wait_until(lambda: len(device.codes()) == 3, "answered")
        assert all("TopicAlias" not in packet.properties for packet in broker.published)


def test_a_broker_that_wants_no_sign_of_life_is_not_taken_for_silent() -> None:
    with ScriptedBroker(limits={"ServerKeepAlive": 0}) as broker, LoneLink(broker.url) as device:
        wait_until(lambda: device.session, "connected")
        PAUSE.wait(1.5)
        device.send(*events(1))
        wait_until(lambda: 1 in device.codes(), "answered")
        assert len(broker.connects) == 1


def test_a_broker_that_acknowledges_nothing_is_left_though_it_still_takes_bytes() -> None:
    with (
        ScriptedBroker(answer=lambda packet: SILENT if packet.topic.endswith("events") else 0) as broker,
        LoneLink(broker.url, keepalive=5, ack_timeout=3.0) as device,
    ):
        wait_until(lambda: device.session, "connected")
        begin = time.monotonic()
        device.send(*events(1))
        wait_until(lambda: any(isinstance(item, LinkDown) for item in device.news), "left")
        assert 3.0 <= time.monotonic() - begin < 5.0
        assert Pace.BUSY in device.manners.paces


def test_a_message_over_which_the_broker_drops_the_connection_blocks_no_other(tmp_path: Path) -> None:
    def answer(packet: Published) -> int:
        return DROP if b"poison" in packet.payload else 0

    with ScriptedBroker(answer=answer) as broker, Device(tmp_path, broker.url, reconnect_spread=0) as device:
        wait_until(lambda: device.figure("connected"), "connected")
        device.send(3)
        device.send(1, pad="poison")
        device.send(6)
        wait_until(lambda: len(set(broker.payloads("events"))) >= 10, "the others arrive", 60.0)
        wait_until(lambda: (found := device.finding("delivery")) and "drops the connection" in found.what, "told", 60.0)


def test_state_over_which_the_broker_drops_the_connection_is_left_out_and_the_rest_flows() -> None:
    def answer(packet: Published) -> int:
        return DROP if packet.topic.endswith("info") else 0

    with ScriptedBroker(answer=answer) as broker, LoneLink(broker.url) as device:
        device.link.post(Parcel("info", b"poison", 1, retain=True))
        wait_until(lambda: (found := device.finding("state")) and "edgecam/dev/info" in found.what, "told")
        wait_until(lambda: device.session and broker.payloads("availability"), "connected")
        device.send(*events(3))
        wait_until(lambda: len(device.codes()) == 3, "events flow")


def test_every_message_says_what_it_is(tmp_path: Path) -> None:
    with ScriptedBroker() as broker, Device(tmp_path, broker.url) as device:
        device.send(1)
        device.wait_drained()
        packets = {packet.topic.split("/")[-1]: packet.properties for packet in broker.published}
    event = packets["events"]
    assert event["ContentType"] == "application/json"
    assert event["PayloadFormatIndicator"] == 1
    assert event["UserProperty"]["v"] == "1"
    assert event["UserProperty"]["id"].startswith("dev/")
    assert event["UserProperty"]["id"].endswith("/1")
    assert packets["availability"]["ContentType"] == "text/plain"
    assert "id" not in packets["availability"]["UserProperty"]


def test_an_answer_goes_where_it_was_asked_for_with_what_its_question_carried() -> None:
    with ScriptedBroker() as broker, LoneLink(broker.url) as device:
        wait_until(lambda: device.session, "connected")
        device.link.post(Parcel("console/7/answers", b"{}", 1, is_whole_topic=True, correlation=b"\x01\x02"))
        wait_until(lambda: broker.payloads("answers"), "answered")
        packet = next(packet for packet in broker.published if packet.topic.endswith("answers"))
        assert packet.topic == "console/7/answers"
        assert packet.properties["CorrelationData"] == "0102"


def test_what_is_subscribed_to_comes_with_its_properties_and_what_is_too_much_is_counted() -> None:
    inbox = Inbox(most=1)
    with ScriptedBroker() as broker:
        device = LoneLink(broker.url)
        device.link.subscribe("edgecam/dev/cmd/#", inbox)
        with device:
            wait_until(lambda: broker.subscribed, "subscribed")
            assert broker.subscribed == ["edgecam/dev/cmd/#"]
            topic = b"edgecam/dev/cmd/detect/1"
            properties = b"\x08\0\x03a/b" + b"\x09\0\x02xy"
            packet = len(topic).to_bytes(2) + topic + bytes([len(properties)]) + properties + b"{}"
            broker.send(0x31, packet)
            broker.send(0x30, packet)
            wait_until(lambda: inbox.dropped == 1, "the second finds no room")
            assert inbox.take(0.0) == Received(topic.decode(), b"{}", True, "a/b", b"xy")
            assert device.link.figures()["received"] == 2


def test_a_response_topic_with_a_wildcard_is_none() -> None:
    inbox = Inbox()
    with ScriptedBroker() as broker:
        device = LoneLink(broker.url)
        device.link.subscribe("edgecam/dev/cmd/#", inbox)
        with device:
            wait_until(lambda: broker.subscribed, "subscribed")
            topic = b"edgecam/dev/cmd/detect/1"
            broker.send(0x30, len(topic).to_bytes(2) + topic + b"\x06\x08\0\x03a/#" + b"{}")
            received = inbox.take(10.0)
            assert received is not None
            assert received.response_topic == ""
