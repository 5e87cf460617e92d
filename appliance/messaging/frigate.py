"""Events as Frigate publishes them on ``frigate/events``: for automations that were written for it.

The fields are those of https://docs.frigate.video/integrations/mqtt#frigateevents; what this device does not know has
the value that Frigate gives where it does not know it either. docs/mqtt.md lists those.
"""

import threading
import zlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from appliance.core.message import Message

MOST_OBJECTS: Final = 1000  # whose last state is kept, as `before`
_TYPES: Final = {"start": "new", "update": "update", "end": "end"}
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


class FrigateEvents:
    """An output (see `relay`): a message for each event of an object. Safe to use from any thread.

    Args:
        prefix: Frigate's ``topic_prefix``.
    """

    def __init__(self, prefix: str) -> None:
        self._topic = f"/{prefix}/events"
        self._lock = threading.Lock()
        self._before: dict[str, dict[str, Any]] = {}

    def notice(self, message: Message) -> Sequence[Message]:
        """Give Frigate's message for an event; nothing for any other message."""
        if not message.topic.endswith("/events"):
            return ()
        body = message.body
        with self._lock:
            known = self._before.pop(body["object_id"], None)
            moves = 0 if known is None else known["position_changes"]
            after = _object(message, moves + ("moving" in body["changes"]))
            if body["type"] != "end":
                while len(self._before) >= MOST_OBJECTS:
                    self._before.pop(next(iter(self._before)))
                self._before[body["object_id"]] = after
        told = {"type": _TYPES[body["type"]], "before": known or after, "after": after}
        return (Message(self._topic, told),)


def _object(message: Message, moves: int) -> dict[str, Any]:
    body = message.body
    at, start = message.time_ns / 1e9, datetime.fromisoformat(body["start_time"]).timestamp()
    x1, y1, x2, y2 = (round(side) for side in body["box"])
    wide, high = max(0, x2 - x1), max(0, y2 - y1)
    return {
        "id": f"{start:.6f}-{_suffix(body['object_id'])}",
        "camera": message.camera,
        "frame_time": at,
        "snapshot": None,
        "label": body["label"],
        "sub_label": None,
        "top_score": body["best_score"],
        "false_positive": False,
        "start_time": start,
        "end_time": at if body["type"] == "end" else None,
        "score": body["score"],
        "box": [x1, y1, x2, y2],
        "area": wide * high,
        "ratio": round(wide / max(1, high), 6),
        "region": [0, 0, body["width"], body["height"]],
        "current_zones": list(body["zones"]),
        "entered_zones": list(body["entered_zones"]),
        "thumbnail": None,
        "has_snapshot": False,
        "has_clip": False,
        "active": not body["stationary"],
        "stationary": body["stationary"],
        "motionless_count": 0,
        "position_changes": moves,
        "attributes": {},
        "current_attributes": [],
        "current_estimated_speed": 0,
        "average_estimated_speed": 0,
        "velocity_angle": 0,
        "recognized_license_plate": None,
        "recognized_license_plate_score": None,
    }


def _suffix(object_id: str) -> str:
    """Give six letters and digits that are always the same for an object."""
    number, text = zlib.crc32(object_id.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, len(_DIGITS))
        text += _DIGITS[digit]
    return text
