import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.core.message import Message
from appliance.messaging import orders
from appliance.messaging.homeassistant.discovery import MOST_BYTES, MOST_GONE, DeviceFacts, Discovery, discover
from appliance.messaging.homeassistant.subjects import CameraFacts, Subject, plain, seen_in
from appliance.messaging.payloads import counts_message, encode
from tests.simulators.home_assistant import needs_home_assistant, own_words, refused

NASTY = 'Überholer\'s "x" }} {{ 1/0 }} {% raw %} \\ 🚲'
EXAMPLES = (Path(__file__).resolve().parents[4] / "docs" / "mqtt.md").read_text(encoding="utf-8")
NONE_YET = {"done": 0, "whole": 0}
SAID = ("installed_version", "latest_version", "in_progress", "update_percentage")
RELEASE = {"sha256": "ab" * 32, "name": "nano", "version": "0.3", "counter": 9}
DOOR = CameraFacts("door", "detect", {"porch": ("person", "vehicle"), "way": ()}, (), frozenset({"vehicle"}), 0.1)
STALL = CameraFacts("stall", "classify", {}, (), frozenset(), 0.1)
HALL = CameraFacts("hall", "segment", {"floor": ("person",)}, ("sofa",), frozenset())
SEEN = [Subject("door", "way", "label", NASTY), Subject("door", "", "label", "person")]


def facts(*cameras: CameraFacts) -> DeviceFacts:
    return DeviceFacts("gate-1", "Raspberry Pi 5", "0.1.0", cameras or (DOOR, STALL, HALL), 60.0)


def commanding() -> DeviceFacts:
    return replace(facts(), has_commands=True, has_pictures=True, can_restart=True, has_fleet=True)


def components(told: Discovery) -> dict[str, Any]:
    found: dict[str, Any] = told.payload["components"]
    return found


def counts() -> Message:
    groups = {"vehicle": 1}
    zones = {"porch": {"person": 1, "car": 1}, "way": {NASTY: 4}}
    return counts_message("door", {"person": 2, "car": 1}, zones, groups, {"porch": groups, "way": {}})


def test_the_documentation_of_home_assistant_accepts_all_that_is_told() -> None:
    told = discover(facts(), SEEN, {"door.old": "sensor"})
    assert refused(json.loads(encode(told.payload))) == []
    assert components(told)["door.old"] == {"platform": "sensor"}
    broken = {**told.payload, "components": {"x": {"platform": "sensor", "unique_id": "x", "colour": "red"}}}
    assert len(refused(broken)) == 2, "it can refuse: a key that is not known, and one that is missing"


@needs_home_assistant
def test_home_assistant_s_own_code_accepts_it_and_its_templates_read_our_messages() -> None:
    told = discover(facts(), SEEN, {"door.old": "sensor"})
    root = "edgecam/gate-1"
    event = json.loads((EXAMPLES.partition("### `<camera>/events`")[2]).partition("```json\n")[2].partition("```")[0])
    messages = {
        f"{root}/door/counts": json.dumps(dict(counts().body)),
        f"{root}/door/status": '{"state":"stalled","why":"no frame"}',
        f"{root}/door/events": json.dumps(event | {"label": NASTY}),
        f"{root}/stall/classification": '{"label":null}',
        f"{root}/stall/changes": '{"label":"zebra","replay":true}',
        f"{root}/hall/segmentation": '{"shares":{"sofa":0.1234},"zones":{}}',
    }
    said = own_words(json.loads(encode(told.payload)), messages)
    assert said["refused"] == []
    states = said["states"]
    assert states["door.problem"] == "ON"
    assert (states["door._.any.count"], states["door._.any.occupied"]) == ("3", "ON")
    assert (states["door.porch.group.vehicle.count"], states["door.porch.label.person.occupied"]) == ("1", "ON")
    assert states[f"door.way.label.{plain(NASTY)}.count"] == "4"
    assert (states["hall._.label.sofa.share"], states["hall.floor.label.person.share"]) == ("12.3", "0.0")
    assert states["stall.shows"] == "nothing"
    assert json.loads(states["door.events"])["label"] == NASTY
    assert states["stall.changes"] == "", "what is late fires nothing"


def test_what_can_be_commanded_is_there_only_where_commands_are_obeyed() -> None:
    watching = replace(facts(), has_fleet=True)
    found, before = (components(discover(one, [], {})) for one in (commanding(), watching))
    assert refused(discover(commanding(), [], {}).payload) == refused(discover(watching, [], {}).payload) == []
    assert found.keys() - before.keys() == {
        *("model_pinned", "model_rollback", "fleet_check"),
        *("restart", "model_check", "door.detect", "door.threshold", "door.snapshot", "door.picture"),
        *("stall.detect", "stall.threshold", "stall.snapshot", "stall.picture"),
        *("hall.detect", "hall.snapshot", "hall.picture"),
    }
    without = components(discover(replace(facts(), has_commands=True), [], {}))
    assert not without.keys() & {"restart", "door.snapshot", "door.picture"}
    assert found["door.detect"]["command_topic"] == "edgecam/gate-1/cmd/detect/-"
    assert found["model_update"]["command_topic"] == "edgecam/gate-1/cmd/model-update/-"
    assert "command_topic" not in before["model_update"], "it is shown, and installs nothing"
    assert not {key for key in components(discover(facts(), [], {})) if key.startswith(("model_", "fleet"))}
    assert not any(entity.get("retain") for entity in found.values()), "a retained command is refused"


@needs_home_assistant
def test_home_assistant_s_own_code_publishes_commands_that_the_device_accepts() -> None:
    told = discover(commanding(), [], {})
    said = own_words(
        json.loads(encode(told.payload)), {"edgecam/gate-1/door/settings": '{"detect":false,"min_score":0.35}'}
    )
    assert said["refused"] == []
    assert (said["states"]["door.detect"], said["states"]["door.threshold"]) == ("OFF", "0.35")
    read = {}
    for key, payload in said["commands"].items():
        name, identity = components(told)[key]["command_topic"].split("/")[3:]
        read[key] = orders.read(name, identity, payload.encode())
    assert read["door.detect"].fields == {"camera": "door", "on": True}
    assert read["stall.threshold"].fields == {"camera": "stall", "min_score": 0.25}
    assert (read["restart"].fields, read["hall.snapshot"].fields) == ({}, {"camera": "hall"})
    assert (read["model_update"].fields, read["model_pinned"].fields) == ({}, {"on": True})
    assert read.keys() >= {"model_rollback", "fleet_check"}
    assert {one.id for one in read.values()} == {orders.NO_ID}, "each press is a command of its own"


@needs_home_assistant
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ("0.2", "0.2", False, None)),
        ({"stage": "planned", "candidate": RELEASE}, ("0.2", "0.3", False, None)),
        (
            {"stage": "downloading", "candidate": RELEASE, "progress": {"done": 1, "whole": 3}},
            ("0.2", "0.3", True, 33.3),
        ),
        (
            {"stage": "downloading", "candidate": RELEASE, "progress": {"done": 0, "whole": 0}},
            ("0.2", "0.3", True, None),
        ),
        ({"stage": "trial", "candidate": RELEASE, "progress": {"done": 3, "whole": 3}}, ("0.2", "0.3", True, None)),
        ({"active": RELEASE, "why": "x" * 500}, ("0.3", "0.3", False, None)),
        ({"factory": None}, ("factory", "factory", False, None)),
    ],
)
def test_home_assistant_reads_of_a_release_how_far_it_is(changes: dict[str, Any], said: tuple[Any, ...]) -> None:
    shown = EXAMPLES.partition("### `model`\n")[2].partition("```json\n")[2].partition("```")[0]
    idle = {"stage": "idle", "active": None, "candidate": None, "progress": None, "why": ""}
    message = json.loads(shown) | idle | {"factory": {"name": "nano", "version": "0.2"}} | changes
    told = json.loads(encode(discover(commanding(), [], {}).payload))
    heard = own_words(told, {"edgecam/gate-1/model": json.dumps(message)})
    assert heard["refused"] == []
    state = json.loads(heard["states"]["model_update"])
    assert (
        tuple(state[key] for key in ("installed_version", "latest_version", "in_progress", "update_percentage")) == said
    )
    assert len(state["release_summary"]) <= 255
    assert heard["states"]["model_pinned"] == "OFF"


def test_what_the_configuration_names_is_there_before_it_is_seen() -> None:
    keys = {key for key in components(discover(facts(DOOR), [], {})) if key.endswith(".occupied")}
    assert keys == {
        "door._.any.occupied",
        "door.porch.any.occupied",
        "door.porch.label.person.occupied",
        "door.porch.group.vehicle.occupied",
        "door.way.any.occupied",
    }


def test_every_id_is_unlike_any_other_whatever_cameras_zones_and_labels_are_called() -> None:
    first = CameraFacts("a", "detect", {"b_c": (), "any": ()}, ("count", "a b", "a-b"), frozenset())
    second = CameraFacts("a_b", "detect", {"c": (), "label": ()}, (), frozenset())
    told = discover(facts(first, second), [Subject("a", "any", "group", "count")], {})
    ids = [component["unique_id"] for component in components(told).values()]
    assert len(set(ids)) == len(ids) == len(components(told))
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", one) for one in ids), "an id of Home Assistant's has no spaces"


def test_an_entity_of_a_camera_is_unavailable_while_the_camera_gives_no_pictures() -> None:
    entity = components(discover(facts(), [], {}))["door._.any.count"]
    assert [one["topic"] for one in entity["availability"]] == [
        "edgecam/gate-1/availability",
        "edgecam/gate-1/door/status",
    ]
    assert entity["availability_mode"] == "all"


def test_figures_of_health_expire_when_health_does_not_come() -> None:
    found = components(discover(facts(), [], {}))
    assert (found["temperature"]["expire_after"], found["door.fps"]["expire_after"]) == (180, 180)


def test_what_is_seen_in_zones_and_cameras_that_are_no_more_is_not_told() -> None:
    gone = [Subject("door", "yard", "label", "person"), Subject("roof", "", "label", "person")]
    assert not [key for key in components(discover(facts(), gone, {})) if "yard" in key or "roof" in key]


def test_the_payload_stays_within_its_bound_and_tells_how_much_found_no_room() -> None:
    seen = [Subject("door", zone, "label", f"{at:03}" + "x" * 97) for zone in ("", "way") for at in range(256)]
    before = {f"old.{at}." + "y" * 130: "binary_sensor" for at in range(500)}
    told = discover(facts(), seen, before)
    assert len(encode(told.payload)) <= MOST_BYTES
    assert told.left_out == 2 * 512 - sum("xxx" in key for key in told.platforms) > 0
    assert "hall.problem" in told.platforms, "what would be missed most has room"
    gone = [key for key, entity in components(told).items() if len(entity) == 1]
    assert gone == list(before)[-MOST_GONE:]


def test_with_too_many_cameras_each_has_at_least_what_is_in_its_picture() -> None:
    zones = {f"zone-{at}": ("person", "vehicle") for at in range(4)}
    many = [replace(DOOR, name=f"door-{at}", zones=zones, labels=("person",)) for at in range(16)]
    told = discover(facts(*many), [], {})
    assert told.left_out > 0
    assert len(encode(told.payload)) <= MOST_BYTES
    for camera in many:
        wanted = {f"{camera.name}._.any.count", f"{camera.name}._.label.person.occupied", f"{camera.name}.events"}
        assert wanted <= told.platforms.keys()


def test_counts_and_shares_tell_what_was_seen() -> None:
    seen = set(seen_in("door", counts().body))
    assert Subject("door", "way", "label", NASTY) in seen
    assert Subject("door", "porch", "group", "vehicle") in seen
    shares = {"shares": {"sofa": 0.1}, "zones": {"floor": {"person": 0.5}}}
    assert set(seen_in("hall", shares)) == {
        Subject("hall", "", "label", "sofa"),
        Subject("hall", "floor", "label", "person"),
    }


@pytest.mark.parametrize("name", ["traffic light", "traffic-light", "traffic  light", "ampel", "Ämpel", "x" * 99])
def test_plain_names_are_safe_and_differ(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,50}", plain(name))
    others = {"traffic light", "traffic-light", "traffic  light", "ampel", "Ämpel", "x" * 99, "x" * 98} - {name}
    assert plain(name) not in {plain(other) for other in others}
