"""What a scene would tell of objects whose lives are written down by hand."""

from appliance.core.events import Event, EventType
from tests.proof.watch import FIRST

BOX = (100.0, 100.0, 140.0, 200.0)


def life(name: str, *sights: tuple[float, float], label: str = "person", group: str | None = None) -> list[Event]:
    """Give the events of one object: second and place of each; the first is its start, the last its end."""
    kinds = [EventType.START, *[EventType.UPDATE] * (len(sights) - 2), EventType.END]
    return [
        Event(
            type=kind,
            camera="camera",
            object_id=name,
            label=label,
            class_id=0,
            score=0.8,
            best_score=0.8,
            box=(BOX[0] + right, BOX[1], BOX[2] + right, BOX[3]),
            width=640,
            height=480,
            time_ns=0,
            mono_ns=FIRST.mono_ns + round(second * 1e9),
            start_time_ns=0,
            duration=second - sights[0][0],
            group=group,
        )
        for kind, (second, right) in zip(kinds, sights, strict=True)
    ]
