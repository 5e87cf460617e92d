import json

import pytest

from appliance.messaging.orders import MOST_BYTES, NO_ID, ORDERS, address, read

ROOT = "edgecam/gate-1"
GOOD = {
    "detect": {"camera": "door", "on": False},
    "threshold": {"camera": "door", "min_score": 0.5},
    "snapshot": {"camera": "door"},
    "restart": {},
    "replay": {"gen": "00112233aabbccdd", "from": 1, "to": 9},
    "model-check": {},
    "fleet-check": {},
    "model-update": {},
    "model-rollback": {},
    "model-pin": {"on": True},
}


@pytest.mark.parametrize("name", ORDERS)
def test_every_command_is_read(name: str) -> None:
    order = read(name, "a-1", json.dumps(GOOD[name]).encode())
    assert (order.name, order.id, order.fields) == (name, "a-1", GOOD[name])


def test_no_payload_is_a_command_without_fields() -> None:
    assert read("restart", NO_ID, b"").fields == {}


@pytest.mark.parametrize(
    ("name", "payload", "why"),
    [
        ("explode", b"{}", "there is no command 'explode'; known: detect, threshold"),
        ("detect", b'{"camera":"door"}', "detect needs on: true or false"),
        ("detect", b'{"camera":"door","on":1}', "on is not accepted; it takes true or false"),
        ("detect", b'{"camera":"door","on":"true"}', "on is not accepted"),
        ("detect", b'{"camera":"../door","on":true}', "camera is not accepted; it takes the name of a camera"),
        ("detect", b'{"camera":"door","on":true,"for":9}', "detect has no field 'for'; it takes camera, on"),
        ("detect", b'{"camera":"door","on":true,"on":false}', "a field is there twice"),
        ("restart", b'{"now":true}', "restart has no field 'now'; it takes none"),
        ("threshold", b'{"camera":"door","min_score":1.5}', "min_score is not accepted; it takes a number from 0.01"),
        ("threshold", b'{"camera":"door","min_score":true}', "min_score is not accepted"),
        ("threshold", b'{"camera":"door","min_score":NaN}', "NaN is no number"),
        ("threshold", b'{"camera":"door","min_score":1e999}', "min_score is not accepted"),
        ("replay", b'{"from":0,"to":3}', "from is not accepted"),
        ("replay", b'{"from":1.0,"to":3}', "from is not accepted"),
        ("replay", b'{"gen":"../../etc/passwd","from":1,"to":3}', "gen is not accepted"),
        ("restart", b"[]", "not one flat JSON object"),
        ("restart", b"restart", "is not JSON"),
        ("restart", b"\xff\xfe", "is not JSON"),
        ("restart", b'{"a":' * 150 + b"1" + b"}" * 150, "not one flat JSON object"),
        ("restart", b"[" * MOST_BYTES, "not one flat JSON object"),
        ("restart", b"9" * MOST_BYTES, "not one flat JSON object"),
        ("restart", b" " * (MOST_BYTES + 1), f"at most {MOST_BYTES} are taken"),
    ],
)
def test_what_is_not_acceptable_is_refused_and_told_why(name: str, payload: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=r".") as refusal:
        read(name, "1", payload)
    assert why in str(refusal.value)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    ("topic", "found"),
    [
        (f"{ROOT}/cmd/detect/42", ("detect", "42")),
        (f"{ROOT}/cmd/detect/-", ("detect", NO_ID)),
        (f"{ROOT}/cmd/detect/6f1c:2.b_3", ("detect", "6f1c:2.b_3")),
        (f"{ROOT}/cmd/detect", None),
        (f"{ROOT}/cmd/De tect/1", None),
        (f"{ROOT}/cmd/detect/", None),
        (f"{ROOT}/cmd/detect/a/b", None),
        (f"{ROOT}/cmd/detect/a b", None),
        (f"{ROOT}/cmd/detect/{'a' * 65}", None),
        ("edgecam/gate-2/cmd/detect/42", None),
        (f"{ROOT}/door/events", None),
    ],
)
def test_only_topics_of_this_device_with_a_modest_id_are_commands(topic: str, found: tuple[str, str] | None) -> None:
    assert address(topic, ROOT) == found
