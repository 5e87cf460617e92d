import io
from dataclasses import replace

from appliance.core.events import Change, Crossing, Event, EventType, LabelChange
from appliance.daemon.console import Console, describe, welcome

EVENT = Event(
    type=EventType.START,
    camera="door",
    object_id="door-a1b2c3-7",
    label="person",
    class_id=0,
    score=0.834,
    best_score=0.9,
    box=(1.0, 2.0, 3.0, 4.0),
    width=640,
    height=360,
    time_ns=1_790_000_000_000_000_000,
    mono_ns=1,
    start_time_ns=1_790_000_000_000_000_000,
    duration=0.0,
)


def test_an_event_is_one_line_a_person_understands() -> None:
    assert describe(EVENT).endswith("door  person 7 appeared  0.83")
    update = replace(
        EVENT,
        type=EventType.UPDATE,
        changes=(Change.ZONE_ENTERED, Change.LINE_CROSSED),
        zones=("porch",),
        crossings=(Crossing("gate", "in"),),
    )
    assert describe(update).endswith("person 7 crossed gate in, zone entered  0.83  in porch")
    end = replace(EVENT, type=EventType.END, duration=12.34, direction=91.0)
    assert describe(end).endswith("person 7 left  0.90  after 12.3 s, moving right")


def test_no_colours_where_nobody_sees_them() -> None:
    stream = io.StringIO()
    Console(stream).show(EVENT)
    assert stream.getvalue() == describe(EVENT) + "\n"


def test_who_stops_looking_on_stops_nothing_else() -> None:
    class Closed(io.StringIO):
        written = 0

        def write(self, text: str) -> int:
            self.written += len(text) > 0
            raise BrokenPipeError(32, "Broken pipe")

    stream = Closed()
    console = Console(stream)
    for _ in range(3):
        console.show(EVENT)
    assert stream.written == 1


def test_the_welcome_tells_how_to_subscribe_to_this_very_broker() -> None:
    lines = welcome("door (v4l2) with yolox", "mqtt://127.0.0.1:18830", "pi-7")
    assert lines[0].endswith("door (v4l2) with yolox")
    assert "mosquitto_sub -h 127.0.0.1 -p 18830 -v -t 'edgecam/pi-7/#'" in lines[1]
    assert "no broker" in welcome("door", "none", "pi-7")[1]


def test_what_a_picture_shows_is_one_line_too() -> None:
    change = LabelChange("door", "cat", 1, 0.834, "dog", 12.34, 640, 360, EVENT.time_ns, 1)
    assert describe(change).endswith("door  shows cat  0.83  after 12.3 s of dog")
    assert describe(replace(change, label=None, before=None)).endswith("door  shows nothing it is sure of")
    stream = io.StringIO()
    Console(stream).show(change)
    assert stream.getvalue() == describe(change) + "\n"
