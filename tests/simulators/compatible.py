"""What others' documentation says of the messages that are published in their formats, as JSON Schemas."""

from typing import Any

from jsonschema import Draft202012Validator

_NUMBER = {"type": "number"}
_NOTHING = {"type": "null"}
_TEXTS = {"type": "array", "items": {"type": "string"}}
_FOUR = {"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4}
# https://docs.frigate.video/integrations/mqtt#frigateevents: each field of the example, with its type there; those that
# this device cannot fill have the type of nothing
_FRIGATE_OBJECT = {
    "id": {"type": "string", "pattern": r"^\d{10}\.\d{6}-[a-z0-9]{6}$"},
    "camera": {"type": "string"},
    "frame_time": _NUMBER,
    "snapshot": _NOTHING,
    "label": {"type": "string"},
    "sub_label": _NOTHING,
    "top_score": _NUMBER,
    "false_positive": {"const": False},
    "start_time": _NUMBER,
    "end_time": {"type": ["number", "null"]},
    "score": _NUMBER,
    "box": _FOUR,
    "area": {"type": "integer"},
    "ratio": _NUMBER,
    "region": _FOUR,
    "current_zones": _TEXTS,
    "entered_zones": _TEXTS,
    "thumbnail": _NOTHING,
    "has_snapshot": {"const": False},
    "has_clip": {"const": False},
    "active": {"type": "boolean"},
    "stationary": {"type": "boolean"},
    "motionless_count": {"type": "integer"},
    "position_changes": {"type": "integer"},
    "attributes": {"type": "object", "maxProperties": 0},
    "current_attributes": {"type": "array", "maxItems": 0},
    "current_estimated_speed": _NUMBER,
    "average_estimated_speed": _NUMBER,
    "velocity_angle": _NUMBER,
    "recognized_license_plate": _NOTHING,
    "recognized_license_plate_score": _NOTHING,
}


def _closed(properties: dict[str, Any], *optional: str) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


FRIGATE_EVENT = _closed(
    {
        "type": {"enum": ["new", "update", "end"]},
        "before": _closed(_FRIGATE_OBJECT),
        "after": _closed(_FRIGATE_OBJECT),
    }
)
_POINT = _closed({"@x": _NUMBER, "@y": _NUMBER})
_LIKELY = _closed({"@Likelihood": {"type": "number", "minimum": 0, "maximum": 1}, "#text": {"type": "string"}})
_IDS = {"@ObjectId": {"type": "integer"}, "@UUID": {"type": "string"}}
_APPEARANCE = _closed(
    {
        "Shape": _closed(
            {
                "BoundingBox": _closed({f"@{side}": _NUMBER for side in ("left", "top", "right", "bottom")}),
                "CenterOfGravity": _POINT,
            }
        ),
        "Class": _closed({"Type": {"type": "array", "minItems": 1, "items": _LIKELY}}),
        "VehicleInfo": _closed({"Type": _LIKELY}),
    },
    "VehicleInfo",
)
# the ONVIF Analytics Service Specification, "JSON over MQTT", its example; the types are those of metadatastream.xsd
ONVIF_FRAME = _closed(
    {
        "@UtcTime": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"},
        "@Source": {"type": "string"},
        "Transformation": _closed({"Translate": _POINT, "Scale": _POINT}),
        "Object": {
            "type": "array",
            "minItems": 1,
            "items": _closed({**_IDS, "Appearance": _APPEARANCE}, *_IDS),
        },
        "ObjectTree": _closed({"Delete": {"type": "array", "minItems": 1, "items": _closed(_IDS)}}),
    },
    "Object",
    "ObjectTree",
)
ONVIF_METADATA = _closed({"Frame": {"type": "array", "minItems": 1, "items": ONVIF_FRAME}})


def refused(schema: dict[str, Any], value: Any) -> list[str]:
    """Tell what of a message is not as the documentation says."""
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(value)]
