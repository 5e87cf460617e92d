"""Our encoding of MQTT 5 properties, read back with paho's."""

from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from appliance.messaging.parcels import TEXT, Parcel
from appliance.messaging.properties import Aliases, packed


def read(data: bytes) -> dict[str, Any]:
    properties = Properties(PacketTypes.PUBLISH)
    _, size = properties.unpack(data)
    assert size == len(data)
    told: dict[str, Any] = properties.json()
    return told


def test_json_tells_its_type_its_encoding_and_the_schemas_version() -> None:
    assert read(packed(Parcel("health", b"{}", 1))) == {
        "PayloadFormatIndicator": 1,
        "ContentType": "application/json",
        "UserProperty": [("v", "1")],
    }


def test_text_has_no_schema_and_a_picture_is_no_text() -> None:
    assert read(packed(Parcel("availability", b"online", 1, content_type=TEXT))) == {
        "PayloadFormatIndicator": 1,
        "ContentType": "text/plain",
    }
    assert read(packed(Parcel("door/snapshot", b"\xff", 1, content_type="image/jpeg"))) == {"ContentType": "image/jpeg"}


@pytest.mark.parametrize("size", [1, 100, 127, 128, 300, 20_000], ids=str)
def test_all_of_them_together_are_read_back_whatever_their_length(size: int) -> None:
    parcel = Parcel("door/events", b"{}", 1, expiry_s=7, id="dev/0123456789abcdef/42", correlation=b"\0" * size)
    told = read(packed(parcel, alias=300))
    assert told["MessageExpiryInterval"] == 7
    assert told["TopicAlias"] == 300
    assert told["UserProperty"] == [("v", "1"), ("id", "dev/0123456789abcdef/42")]
    assert told["CorrelationData"] == "00" * size


def test_an_expiry_beyond_what_mqtt_can_say_is_the_longest_it_can() -> None:
    assert read(packed(Parcel("x", b"", 1, expiry_s=1 << 40)))["MessageExpiryInterval"] == 0xFFFF_FFFF


def test_an_alias_stands_for_its_topic_only_once_the_broker_has_learned_it() -> None:
    aliases = Aliases(2)
    assert aliases.of("a") == (1, False)
    assert aliases.of("a") == (1, False)
    aliases.learned("a")
    assert aliases.of("a") == (1, True)
    assert aliases.of("b") == (2, False)
    assert aliases.of("c") == (None, False), "no more than the broker offers"


def test_without_an_offer_there_are_no_aliases() -> None:
    assert Aliases(0).of("a") == (None, False)
