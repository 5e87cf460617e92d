"""Delivery that a subscriber has confirmed, against a real mosquitto that forgets everything."""

import json
from pathlib import Path

import pytest

from appliance.messaging import errands
from tests.simulators.broker import Mosquitto
from tests.simulators.messaging_device import Device, wait_until
from tests.simulators.subscriber import Subscriber


def say(subscriber: Subscriber, **word: object) -> None:
    subscriber._client.publish("edgecam/dev/ack", json.dumps(word), qos=1)


def times(subscriber: Subscriber) -> dict[int, int]:
    """Give how often each number came."""
    seqs = [body["seq"] for body in subscriber.payloads("door/events")]
    return {seq: seqs.count(seq) for seq in set(seqs)}


def test_messages_come_again_until_a_subscriber_says_that_it_has_them(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "NOTE_WITHIN", 0.1)
    mosquitto.start()
    with Subscriber(mosquitto.port) as subscriber, Device(tmp_path, mosquitto.url, ack="end-to-end") as device:
        device.send(40)
        wait_until(lambda: len(times(subscriber)) == 40, "all of them once")
        gen = device.figure("gen")
        assert device.figure("rows") >= 20, "they wait for the word"
        say(subscriber, gen=gen, upto=30, missing=[[5, 6]])
        wait_until(lambda: times(subscriber)[5] == times(subscriber)[6] == 2, "those that it misses come again")
        wait_until(lambda: device.figure("kept") == 28, "the others are needed no longer")
        mosquitto.stop()
        mosquitto.start()
        expected = {5, 6, *range(31, 41)}
        wait_until(
            lambda: {seq for seq, count in times(subscriber).items() if count > 1 + (seq in {5, 6})} == expected,
            "with a new connection all comes again that nobody has confirmed",
            40.0,
        )
        say(subscriber, gen=gen, upto=device.figure("last_seq"))
        wait_until(lambda: device.figure("taken") == 0 and device.figure("rows") == 0, "all is confirmed")
        assert all(count == 1 for seq, count in times(subscriber).items() if seq not in expected)


def test_without_a_word_they_come_again_after_a_time_that_doubles(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "RESEND_AFTER", 1.0)
    monkeypatch.setattr(errands, "NOTE_WITHIN", 0.1)
    mosquitto.start()
    with Subscriber(mosquitto.port) as subscriber, Device(tmp_path, mosquitto.url, ack="end-to-end") as device:
        device.send(20)
        wait_until(lambda: set(times(subscriber).values()) == {3} and len(times(subscriber)) == 20, "three times", 30.0)
        say(subscriber, gen=device.figure("gen"), upto=20)
        wait_until(lambda: device.figure("rows") == 0, "confirmed", 20.0)
