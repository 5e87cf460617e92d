"""What can be counted in a camera's picture and its zones: known from the configuration, or once it was seen."""

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

ANYTHING: Final = ""
WHOLE: Final = "_"  # no name of a zone begins so
Kind = Literal["any", "label", "group"]
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,40}")


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """Something to be counted or measured somewhere.

    Attributes:
        camera: The camera's name.
        zone: The zone's; empty: all of the picture.
        kind: ``any``: objects of whatever label; ``label``; ``group``.
        name: Of the label or group; empty for ``any``.
    """

    camera: str
    zone: str
    kind: str
    name: str

    @property
    def key(self) -> str:
        """Its part of an entity's id: levels with a dot between, each of letters, digits, ``-`` and ``_``."""
        return ".".join([self.camera, self.zone or WHOLE, self.kind, *([plain(self.name)] if self.name else [])])

    @property
    def place(self) -> str:
        """Where, as a person says it: ``door``, ``door porch``."""
        return f"{self.camera} {self.zone}" if self.zone else self.camera


@dataclass(frozen=True, slots=True)
class CameraFacts:
    """What discovery needs to know of a camera.

    Attributes:
        name: Its name in the configuration.
        task: Of its model: ``detect``, ``classify``, ``segment``.
        zones: The labels and groups that each zone is for; none: all.
        labels: The labels and groups that the owner chose; none: all.
        groups: The names among them, and among all that is seen, that are groups.
        least_score: The lowest that can be commanded; None: it cannot be.
    """

    name: str
    task: str
    zones: Mapping[str, Sequence[str]]
    labels: Sequence[str]
    groups: frozenset[str]
    least_score: float | None = None

    def configured(self) -> Iterator[Subject]:
        """Give what is known before anything is seen: anything at all, and what the configuration names."""
        places = {"": self.labels, **{zone: names or self.labels for zone, names in self.zones.items()}}
        for zone, names in places.items():
            yield Subject(self.name, zone, "any", ANYTHING)
            for name in names:
                yield Subject(self.name, zone, "group" if name in self.groups else "label", name)


def seen_in(camera: str, body: Mapping[str, Any]) -> Iterable[Subject]:
    """Give what the body of a `counts` or `segmentation` message tells of."""
    whole = {"label": body.get("counts", body.get("shares", {})), "group": body.get("groups", {})}
    zones = {"label": body.get("zones", {}), "group": body.get("zone_groups", {})}
    for kind, names in whole.items():
        yield from (Subject(camera, "", kind, name) for name in names)
    for kind, by_zone in zones.items():
        yield from (Subject(camera, zone, kind, name) for zone, names in by_zone.items() for name in names)


def plain(name: str) -> str:
    """Give a name as ids take it: as it is where it has nothing but plain characters, else made unlike any other."""
    if _PLAIN.fullmatch(name):
        return name
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', name)[:40].strip('-')}-{zlib.crc32(name.encode()):08x}"
