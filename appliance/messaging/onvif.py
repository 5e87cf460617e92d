"""ONVIF metadata in JSON over MQTT (``onvif-mj``), made of what detectors see and trackers follow.

See "JSON over MQTT" in https://www.onvif.org/specs/srv/analytics/ONVIF-Analytics-Service-Spec.pdf, and the types of
https://www.onvif.org/ver10/schema/metadatastream.xsd. Two modules speak: `Detections` of each frame that is told of,
whose objects have no ids, and `Objects` of each event, with ids.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from appliance.core.message import Message
from appliance.messaging.payloads import utc_text

_ANIMALS: Final = ("animal", "bear", "bird", "cat", "cow", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")
_TYPES: Final[Mapping[str, str]] = {  # of tt:ObjectType
    "person": "Human",
    "face": "HumanFace",
    "license plate": "LicensePlate",
    "barcode": "Barcode",
    "fire": "Fire",
    "smoke": "Smoke",
    "bicycle": "Bicycle",
    "motorcycle": "Bike",
    **dict.fromkeys(("car", "truck", "bus", "vehicle"), "Vehicle"),
    **dict.fromkeys(_ANIMALS, "Animal"),
}
_VEHICLES: Final = ("car", "truck", "bus", "motorcycle", "bicycle")  # of tt:VehicleType


class OnvifMetadata:
    """An output (see `relay`): a frame of metadata for each `detections` and each event. Safe to use from any thread.

    Args:
        prefix: ONVIF's TopicPrefix.
    """

    def __init__(self, prefix: str) -> None:
        self._root = f"/{prefix}/onvif-mj/VideoAnalytics"

    def notice(self, message: Message) -> Sequence[Message]:
        """Give the frame of metadata for a message; nothing for one of another kind."""
        body = message.body
        if message.topic.endswith("/detections"):
            return (self._frame(message, "Detections", {"Object": [_object(one) for one in body["detections"]]}),)
        if message.topic.endswith("/events"):
            ids = {"@ObjectId": zlib.crc32(body["object_id"].encode()), "@UUID": body["object_id"]}
            content: dict[str, Any] = {"Object": [{**ids, **_object(body)}]}
            if body["type"] == "end":
                content["ObjectTree"] = {"Delete": [ids]}
            return (self._frame(message, "Objects", content),)
        return ()

    def _frame(self, message: Message, module: str, content: Mapping[str, Any]) -> Message:
        body = message.body
        # from pixels, whose y goes down, to ONVIF's -1..1, whose y goes up
        transformation = {
            "Translate": {"@x": -1.0, "@y": 1.0},
            "Scale": {"@x": 2.0 / body["width"], "@y": -2.0 / body["height"]},
        }
        head = {"@UtcTime": utc_text(message.time_ns), "@Source": module, "Transformation": transformation}
        told = {name: value for name, value in content.items() if value}
        return Message(f"{self._root}/{message.camera}/{module}", {"Frame": [{**head, **told}]})


def _object(seen: Mapping[str, Any]) -> dict[str, Any]:
    x1, y1, x2, y2 = seen["box"]
    label, likelihood = seen["label"], seen["score"]
    names = dict.fromkeys((_TYPES.get(label.lower(), label), label))
    appearance: dict[str, Any] = {
        "Shape": {
            "BoundingBox": {"@left": x1, "@top": y1, "@right": x2, "@bottom": y2},
            "CenterOfGravity": {"@x": round((x1 + x2) / 2, 1), "@y": round((y1 + y2) / 2, 1)},
        },
        "Class": {"Type": [{"@Likelihood": likelihood, "#text": name} for name in names]},
    }
    if label.lower() in _VEHICLES:
        appearance["VehicleInfo"] = {"Type": {"@Likelihood": likelihood, "#text": label.capitalize()}}
    return {"Appearance": appearance}
