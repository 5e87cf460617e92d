"""What the documentation says is there, is there."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from appliance.cameras import CAMERAS
from appliance.cli.reference import default_toml, markdown
from appliance.config import parse_settings
from appliance.core.providers import PROVIDERS
from appliance.inference.runtimes import RUNTIMES
from appliance.messaging.contract.channels import CHANNELS, Channel
from tests.simulators.schemas import mistakes, published

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("models/*/*.md")])


def test_the_configuration_reference_is_current() -> None:
    assert (ROOT / "docs/configuration.md").read_text(encoding="utf-8") == markdown(), "do: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    text = re.sub(r"(?s)```.*?```", "", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    missing = [
        target
        for target in targets
        if not re.match(r"[a-z]+:|#", target) and not (page.parent / target.partition("#")[0]).exists()
    ]
    assert missing == []


MESSAGES = [channel for channel in CHANNELS if channel.body is not None and not channel.is_taken]


@pytest.mark.parametrize("channel", MESSAGES, ids=lambda channel: channel.name)
def test_every_schema_fits_a_message_that_the_documentation_shows(channel: Channel) -> None:
    page = (ROOT / "docs/mqtt.md").read_text(encoding="utf-8")
    heading = f"### `{published(channel.name)['title']}`\n"
    if heading in page:
        page = page.partition(heading)[2].partition("\n### ")[0]
    shown = [json.loads(block) for block in re.findall(r"(?ms)^```json\n(.*?)^```$", page)]
    fitting = [one for one in shown if mistakes(channel.name, one) == []]
    assert fitting
    assert mistakes(channel.name, fitting[0] | {"time": 7}) == [f"{channel.name}.time is 7"]


def test_what_the_threat_model_claims_is_written_or_tested_where_it_says() -> None:
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    files = re.findall(r"`((?:appliance|tests|docs|systemd)/[\w./-]+)`", page)
    assert len(files) > 20
    assert [file for file in files if not (ROOT / file).is_file()] == []
    tests = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/*.py"))
    named = re.findall(r"`(test_\w+)`", page)
    assert len(named) > 10
    assert [one for one in named if f"def {one}(" not in tests] == []


def test_the_readme_names_only_targets_that_the_makefile_has() -> None:
    targets = set(re.findall(r"(?m)^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        named = set(re.findall(r"`(?:sudo )?make ([a-z0-9-]+)", page.read_text(encoding="utf-8")))
        assert named <= targets, page


def test_every_decision_record_has_a_status_and_is_listed_once() -> None:
    records = sorted(ROOT.glob("docs/adr/[0-9]*.md"))
    assert [record.name[:4] for record in records] == [f"{number:04}" for number in range(1, len(records) + 1)]
    for record in records:
        assert re.search(r"(?m)^Status: (accepted|superseded by)", record.read_text(encoding="utf-8")), record


def test_the_architecture_s_tree_and_floors_have_every_room_and_no_other() -> None:
    rooms = {path.parent.name for path in ROOT.glob("appliance/*/__init__.py")}
    page = (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8")
    tree = page.partition("```\nappliance/\n")[2].partition("```")[0]
    assert set(re.findall(r"(?m)^    ([a-z]+)/", tree)) == rooms
    floors = re.findall(r"(?m)^\| [1-4] \| ([a-z, ]+) \|", page)
    assert {room for floor in floors for room in floor.split(", ")} == rooms


@pytest.mark.parametrize("room", ["inference", "tracking", "messaging", "diagnostics", "provisioning", "daemon"])
def test_the_architecture_names_every_module_of_a_room(room: str) -> None:
    page = (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8")
    row = page.partition("Where to look within a room")[2].partition(f"| {room} | ")[2].partition("\n")[0]
    folder = ROOT / "appliance" / room
    modules = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    modules -= {"__init__", "__main__"}
    assert {module for module in modules if f"`{module}`" not in row and f"`{module}/`" not in row} == set()


def test_the_hardware_page_says_of_every_camera_runtime_and_provider_how_far_it_was_run() -> None:
    page = (ROOT / "docs/hardware.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| (.+?) \| .+ \| (.*(?:run here|contract-tested|not yet run|likewise).*) \|$", page)
    first = " ".join(name for name, _ in rows)
    providers = {provider for provider in PROVIDERS if f"`{provider}`" not in first}
    cameras = {camera for camera in CAMERAS if f"`{camera}`" not in first}
    assert (providers, cameras) == (set(), set())
    known = {"onnx": "ONNX Runtime", "tflite": "LiteRT", "hef": "HailoRT", "rpk": "IMX500"}
    assert RUNTIMES.keys() == known.keys(), "a new runtime has a row, and its name here"
    assert [name for name in known.values() if name not in first] == []


def test_the_architecture_names_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8").partition("## Dependencies")[2]
    listed = set(re.findall(r"(?m)^\| ([a-z-]+) \|", page)) - {"package", "extra"}
    assert listed == {re.split(r"[><=]", one)[0] for one in project["dependencies"]}
    assert set(re.findall(r"(?m)^\| `([a-z]+)` \|", page)) == set(project["optional-dependencies"])


def test_the_lines_that_operating_adds_to_the_default_make_a_configuration_with_a_camera() -> None:
    page = (ROOT / "docs/OPERATING.md").read_text(encoding="utf-8")
    lines = page.partition("## Configure")[2].partition("```toml\n")[2].partition("```")[0]
    assert list(parse_settings(tomllib.loads(default_toml() + lines), "OPERATING").cameras) == ["door"]


def test_locks_are_pinned_by_hash_and_name_no_index() -> None:
    for lock in ROOT.glob("requirements/*.lock"):
        text = lock.read_text(encoding="utf-8")
        assert not re.search(r"(?i)https?:|file:|--(extra-)?index|find-links", text), lock
        pins = re.split(r"(?m)^(?=\S)", text)[1:]
        assert pins
        assert [pin.split(" ")[0] for pin in pins if "==" not in pin or "--hash=sha256:" not in pin] == []


def test_what_runs_on_a_device_is_what_was_tested() -> None:
    def pins(name: str) -> set[str]:
        # without its marker, which names more machines where more packages ask for it
        return set(re.findall(r"(?m)^(\S+==\S+)(?: ; .*)? \\$", (ROOT / f"requirements/{name}.lock").read_text()))

    assert pins("device") <= pins("demo") <= pins("dev")
