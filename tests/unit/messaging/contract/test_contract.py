"""What is published: schemas made from the code, names that stay, and one AsyncAPI document for it all."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from appliance import __version__
from appliance.core.clock import ClockQuality
from appliance.core.events import Change, EventType
from appliance.messaging import orders, payloads
from appliance.messaging.contract.asyncapi import document, to_yaml
from appliance.messaging.contract.channels import CHANNELS, Channel
from appliance.messaging.contract.schemas import fields_of, schema_of
from appliance.messaging.requests import read_arrived
from appliance.workbench.schemas import rendered, schemas
from tests.simulators.schemas import published

ROOT = Path(__file__).resolve().parents[4]
FROZEN = Path(__file__).with_name("published_fields.txt")
OFFICIAL = ROOT / ".tools" / "asyncapi" / "3.0.0.json"
NAMES = [channel.name for channel in CHANNELS]
TOLD = [channel for channel in CHANNELS if channel.has_schema]


def field_of(schema: dict[str, Any], path: str) -> tuple[dict[str, Any], bool]:
    """Give the schema of the field at a path that `fields_of` gave, and whether it is always there."""
    is_needed = False
    for step in path.replace("[]", ".[]").split("."):
        if step in {"[]", "*"}:
            schema = schema["items" if step == "[]" else "additionalProperties"]
        else:
            is_needed = step in schema.get("required", ())
            schema = schema["properties"][step]
    return schema, is_needed


def type_of(schema: dict[str, Any]) -> str:
    """Give the type that a schema asks for, with that of what is in it."""
    told = schema.get("type", json.dumps(schema.get("enum", schema.get("const"))))
    words = told if isinstance(told, str) else "|".join(told)
    inner = schema.get("items") or schema.get("additionalProperties")
    return f"{words} of {type_of(inner)}" if inner else words


def published_now() -> list[str]:
    """Give a line for every field of every payload: topic, path, type; another for each that is always there."""
    lines = []
    for channel in TOLD:
        schema = schema_of(channel)
        for path in fields_of(schema):
            field, is_needed = field_of(schema, path)
            lines += [f"{channel.name} {path} {type_of(field)}", *([f"{channel.name} {path} always"] * is_needed)]
    return lines


def test_the_files_in_docs_are_what_the_code_makes() -> None:
    done = CliRunner().invoke(schemas, ["--output", str(ROOT / "docs"), "--check"], standalone_mode=False)
    assert (done.return_value, done.stdout) == (0, ""), "do: make docs"


def test_writing_the_schemas_removes_those_of_topics_that_are_no_more(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "gone.json").write_text("{}")
    first = CliRunner().invoke(schemas, ["--output", str(tmp_path), "--json"], standalone_mode=False)
    assert json.loads(first.stdout)["changed"] == sorted([*rendered(), "schemas/gone.json"])
    assert not (tmp_path / "schemas" / "gone.json").exists()
    assert {path.name: path.read_text() for path in (tmp_path / "schemas").iterdir()} == {
        name.removeprefix("schemas/"): text for name, text in rendered().items() if name.startswith("schemas/")
    }
    (tmp_path / "asyncapi.yaml").unlink()
    again = CliRunner().invoke(schemas, ["--output", str(tmp_path), "--check"], standalone_mode=False)
    assert (again.return_value, again.stdout) == (1, f"{tmp_path}/asyncapi.yaml is not current\n")


def test_no_published_field_goes_away_or_changes_its_type() -> None:
    lost = set(FROZEN.read_text().splitlines()) - set(published_now())
    assert lost == set(), "subscribers rely on these: bring them back, or begin a new schema version"


def test_every_published_field_is_frozen_from_its_first_release_on() -> None:
    new = [line for line in published_now() if line not in FROZEN.read_text().splitlines()]
    assert new == [], f"add these lines to {FROZEN.name}"


@pytest.mark.parametrize("channel", TOLD, ids=lambda channel: channel.name)
def test_every_schema_is_valid_and_what_is_published_is_open_to_fields_of_later_releases(channel: Channel) -> None:
    schema = published(channel.name)
    Draft202012Validator.check_schema(schema)
    is_closed = '"additionalProperties": false' in json.dumps(schema)
    assert is_closed == (channel.fields is not None), "a command with a field that is not known is refused"


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("detect", {"camera": "door", "on": True}),
        ("detect", {"camera": "door", "on": 1}),
        ("detect", {"camera": "door", "on": True, "more": 1}),
        ("detect", {"camera": "Door!", "on": True}),
        ("threshold", {"camera": "door", "min_score": 0.5}),
        ("threshold", {"camera": "door", "min_score": 0.001}),
        ("threshold", {"camera": "door"}),
        ("replay", {"from": 1, "to": 9}),
        ("replay", {"from": 0, "to": 9}),
        ("replay", {"from": 1, "to": 9, "gen": "0123456789abcdef"}),
        ("replay", {"from": 1.5, "to": 9, "gen": "x"}),
        ("restart", {}),
        ("restart", {"now": True}),
    ],
)
def test_the_schema_of_a_command_accepts_what_the_device_accepts(name: str, fields: dict[str, Any]) -> None:
    try:
        orders.read(name, "1", json.dumps(fields).encode())
        is_accepted = True
    except ValueError:
        is_accepted = False
    assert Draft202012Validator(published(f"cmd-{name}")).is_valid(fields) == is_accepted


def test_words_that_a_schema_closes_are_those_of_the_code() -> None:
    events = schema_of(next(channel for channel in CHANNELS if channel.name == "events"))["properties"]
    assert events["v"]["const"] == payloads.SCHEMA_VERSION
    assert events["type"]["enum"] == [one.value for one in EventType]
    assert events["clock"]["enum"] == [one.value for one in ClockQuality]
    assert events["changes"]["items"]["examples"] == [one.value for one in Change]


@pytest.mark.parametrize(
    "fields",
    [
        {"gen": "00ed789d1c776b0b", "upto": 130, "missing": [[117, 119]]},
        {"gen": "00ed789d1c776b0b", "upto": 0},
        {"gen": "00ED789d1c776b0b", "upto": 1},
        {"gen": "00ed789d1c776b0b", "upto": -1},
        {"gen": "00ed789d1c776b0b", "upto": 1, "missing": [[1, 2, 3]]},
        {"gen": "00ed789d1c776b0b", "upto": 1, "missing": [[1, 1]] * 1001},
    ],
)
def test_the_schema_of_a_subscriber_s_word_accepts_what_the_device_accepts(fields: dict[str, Any]) -> None:
    try:
        read_arrived(json.dumps(fields).encode())
        is_accepted = True
    except ValueError:
        is_accepted = False
    assert Draft202012Validator(published("ack")).is_valid(fields) == is_accepted


class Inner(TypedDict):
    """A table within another."""

    half: Annotated[float | None, {"minimum": 0}, "Of it."]


class Sample(TypedDict):
    """One of each kind that types are made of."""

    many: Annotated[list[Inner], {"maxItems": 3}]
    by_name: dict[str, bool]
    perhaps: NotRequired[int]


class Strange(TypedDict):
    """What JSON has no type for."""

    x: complex


def test_types_become_schemas_with_their_limits_and_words() -> None:
    channel = Channel(name="sample", address="sample", body=Sample, summary="A sample.")
    schema = schema_of(channel)
    assert schema["title"] == "sample"
    assert schema["required"] == ["v", "boot", "time", "mono_ns", "clock", "many", "by_name"]
    half = {"type": ["number", "null"], "minimum": 0, "description": "Of it."}
    assert schema["properties"]["many"] == {
        "type": "array",
        "maxItems": 3,
        "items": {"type": "object", "properties": {"half": half}, "required": ["half"]},
    }
    assert schema["properties"]["by_name"] == {"type": "object", "additionalProperties": {"type": "boolean"}}
    assert fields_of(schema)[-4:] == ["many", "many[].half", "by_name", "perhaps"]


def test_a_type_without_a_schema_is_refused() -> None:
    with pytest.raises(TypeError, match="no JSON Schema for <class 'complex'>"):
        schema_of(Channel(name="x", address="x", body=Strange, summary=""))


def test_the_asyncapi_document_reads_back_and_all_its_references_lead_somewhere() -> None:
    told = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text(encoding="utf-8"))
    assert told == document(__version__) == yaml.safe_load("\n".join(to_yaml(document(__version__))))
    assert told["channels"].keys() == {name.partition("_")[2] for name in told["operations"]} == set(NAMES)
    for reference in references(told):
        if reference.startswith("./"):
            assert (ROOT / "docs" / reference).is_file()
            continue
        place = told
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
    for channel in told["channels"].values():
        named = set(re.findall(r"{(\w+)}", channel["address"]))
        assert named == channel["parameters"].keys()


@pytest.mark.skipif(not OFFICIAL.is_file(), reason="AsyncAPI's own schema is not here: scripts/get-asyncapi-schema")
def test_asyncapi_s_own_schema_accepts_the_document_with_all_payloads() -> None:
    from jsonschema import Draft7Validator

    whole = document(__version__)
    for name, message in whole["components"]["messages"].items():
        if "payload" in message:
            message["payload"] = published(name)
    official = Draft7Validator(json.loads(OFFICIAL.read_text(encoding="utf-8")))
    assert [error.message for error in official.iter_errors(whole)] == []
    assert list(official.iter_errors(whole | {"chanels": {}})), "it can refuse"


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [one for inner in value.values() for one in references(inner)]
    return [one for inner in value for one in references(inner)] if isinstance(value, list) else []
