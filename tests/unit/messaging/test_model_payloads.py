import json
from typing import Any

import pytest

from appliance.core.clock import ClockQuality
from appliance.core.message import Message
from appliance.messaging import payloads
from appliance.messaging.model_payloads import model_event_message, model_message
from appliance.messaging.payloads import Identity, Origin
from appliance.updates.refusals import Code
from appliance.updates.state import KEPT, Compared, Held, Past, Stage
from tests.simulators.schemas import mistakes, published

ORIGIN = Origin(1_769_860_800_123_999_999, 42, ClockQuality.SYNCED, "b007")
HELD = Held(sha256="ab" * 32, name="nano", version="1.2", counter=7)
PAST = Past(
    release=HELD,
    rollout="nano-1",
    outcome="rolled_back",
    code=Code.BLIND,
    why="blind",
    time="2026-11-22T21:04:30Z",
    compared=Compared(frames=500, active=900, candidate=880, both=800),
)
FACTS: dict[str, Any] = {
    "stage": "downloading",
    "active": None,
    "previous": None,
    "candidate": HELD.model_dump(),
    "factory": {"name": "nano", "version": "0.2"},
    "rollout": "nano-1",
    "progress": {"done": 1, "whole": 9},
    "pinned": False,
    "why": "",
    "code": None,
    "last": PAST.model_dump(mode="json"),
    "licence": {"expires": "2027-12-31", "days": 12},
    "withheld": {"code": "E_KEY", "why": "it is encrypted"},
}


def rendered(message: Message) -> dict[str, Any]:
    identity = Identity("0123456789abcdef", 5) if message.durable else None
    fields: dict[str, Any] = json.loads(payloads.render("dev", message, ORIGIN, identity))
    return fields


def test_which_models_are_here_is_retained_state_as_it_is_published() -> None:
    message = model_message(FACTS)
    assert (message.topic, message.retain, message.durable, message.qos) == ("model", True, False, 1)
    assert mistakes("model", rendered(message)) == []


def test_what_came_of_an_update_is_durable_and_tells_its_own_time_as_ended() -> None:
    message = model_event_message(PAST.model_dump(mode="json"))
    assert (message.topic, message.retain, message.durable, message.qos) == ("model/events", False, True, 1)
    fields = rendered(message)
    assert (fields["time"], fields["ended"]) == ("2026-01-31T12:00:00.123Z", "2026-11-22T21:04:30Z")
    assert mistakes("model-events", fields) == []


@pytest.mark.parametrize("name", ["model", "model-events"])
def test_every_code_of_a_refusal_is_published(name: str) -> None:
    assert published(name)["properties"]["code"]["examples"] == [one.value for one in Code]


def test_every_stage_that_an_update_can_stand_at_is_published() -> None:
    stages = [one.value for one in Stage if one in KEPT or one is Stage.IDLE]
    assert published("model")["properties"]["stage"]["examples"] == stages
