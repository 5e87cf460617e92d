"""What may be commanded over MQTT: the names, their fields with limits, and how a command is read. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

MOST_BYTES: Final = 1024  # of a command's payload
MOST_BRACKETS: Final = 8  # a command is one flat object
NO_ID: Final = "-"
"""In the place of an id: every such command is a new one."""

_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_WORD: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_GEN: Final = re.compile(r"[0-9a-f]{16}")
_MOST_SEQ: Final = (1 << 40) - 1


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a command.

    Attributes:
        accepts: What is accepted, in words.
        pattern: What a text has to look like; None: it is no text.
        least: The lowest number.
        most: The highest number; below `least`: it is no number, but true or false.
        is_whole: Only whole numbers.
        is_needed: It has to be there.
    """

    accepts: str
    pattern: re.Pattern[str] | None = None
    least: float = 0
    most: float = -1
    is_whole: bool = False
    is_needed: bool = True

    def takes(self, value: Any) -> bool:
        """Tell whether a value is accepted."""
        if self.pattern is not None:
            return isinstance(value, str) and self.pattern.fullmatch(value) is not None
        if self.most < self.least:
            return isinstance(value, bool)
        kinds = int if self.is_whole else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and self.least <= value <= self.most


_CAMERA: Final = Field("the name of a camera", _WORD)
_SEQ: Final = Field("a sequence number, from 1", None, 1, _MOST_SEQ, is_whole=True)

ORDERS: Final[Mapping[str, Mapping[str, Field]]] = {
    "detect": {"camera": _CAMERA, "on": Field("true or false")},
    "threshold": {"camera": _CAMERA, "min_score": Field("a number from 0.01 to 1", None, 0.01, 1.0)},
    "snapshot": {"camera": _CAMERA},
    "restart": {},
    "replay": {"gen": Field("a generation: 16 hexadecimal digits", _GEN, is_needed=False), "from": _SEQ, "to": _SEQ},
    "model-check": {},
    "fleet-check": {},
    "model-update": {},
    "model-rollback": {},
    "model-pin": {"on": Field("true or false")},
}
"""The commands by name, and their fields."""


@dataclass(frozen=True, slots=True)
class Order:
    """A command that is well formed.

    Attributes:
        name: One of `ORDERS`.
        id: Its sender's; `NO_ID`: none.
        fields: As they came, each within its limits.
    """

    name: str
    id: str
    fields: Mapping[str, Any] = field(default_factory=dict)


def address(topic: str, root: str) -> tuple[str, str] | None:
    """Give name and id of ``ROOT/cmd/NAME/ID``; None: the topic is another, or the id is not acceptable."""
    if not topic.startswith(f"{root}/cmd/"):
        return None
    name, _, identity = topic.removeprefix(f"{root}/cmd/").partition("/")
    return (name, identity) if _WORD.fullmatch(name) and _ID.fullmatch(identity) else None


def read(name: str, identity: str, payload: bytes) -> Order:
    """Give the command that a payload is.

    Args:
        name: From its topic.
        identity: Likewise.
        payload: One JSON object; empty: one without fields.

    Raises:
        ValueError: It is not acceptable; the message says why, and what is.
    """
    known = ORDERS.get(name)
    if known is None:
        raise ValueError(f"there is no command {name!r}; known: {', '.join(ORDERS)}")
    given = _parsed(payload)
    if unknown := given.keys() - known.keys():
        raise ValueError(f"{name} has no field {min(unknown)[:64]!r}; it takes {_listed(known)}")
    for key, one in known.items():
        if key not in given and one.is_needed:
            raise ValueError(f"{name} needs {key}: {one.accepts}")
        if key in given and not one.takes(given[key]):
            raise ValueError(f"{name}: {key} is not accepted; it takes {one.accepts}")
    return Order(name, identity, given)


def _parsed(payload: bytes) -> dict[str, Any]:
    if len(payload) > MOST_BYTES:
        raise ValueError(f"the payload has {len(payload)} bytes; at most {MOST_BYTES} are taken")
    if not payload.strip():
        return {}
    # before the parser sees it: a thousand brackets are within the size, and too deep for it
    if payload.count(b"[") + payload.count(b"{") > MOST_BRACKETS:
        raise ValueError("the payload is not one flat JSON object")
    try:
        given = json.loads(payload.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except ValueError as error:
        raise ValueError(f"the payload is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise ValueError("the payload is not one flat JSON object")  # noqa: TRY004 - all that is wrong with it is one error
    return given


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field is there twice")
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no number in JSON")


def _listed(known: Mapping[str, Field]) -> str:
    return ", ".join(known) or "none"
