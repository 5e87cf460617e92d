"""What messages say of models from the fleet: pure builders."""

from collections.abc import Mapping
from typing import Any

from appliance.core.message import Message, Priority
from appliance.messaging import topics


def model_message(facts: Mapping[str, Any]) -> Message:
    """Give the retained message that says which models are here, and how far an update is.

    Args:
        facts: Stage, releases in service, before and on the way, progress, and what was the matter last; JSON types.
    """
    return Message(topics.MODEL, dict(facts), retain=True, qos=1)


def model_event_message(past: Mapping[str, Any]) -> Message:
    """Give the durable message that says what came of an update.

    Args:
        past: Release, rollout, outcome, code and reason; JSON types only. Its `time` is told as `ended`: the
            envelope has a `time` of its own.
    """
    body = {"ended" if key == "time" else key: value for key, value in past.items()}
    return Message(topics.MODEL_EVENTS, body, durable=True, qos=1, priority=Priority.EVENT)
