import json
from pathlib import Path

from appliance.config import parse_table
from appliance.provisioning import STEPS, Asked, Setup
from appliance.provisioning.plan import SECTIONS, Plan, load_plan, store_plan
from appliance.provisioning.reading import MOST_BYTES


def test_the_largest_plan_that_can_be_asked_for_is_read_again(tmp_path: Path) -> None:
    worst = "\x01" * MOST_BYTES  # each byte is six of JSON
    files = dict.fromkeys(("broker.ca_file", "broker.cert_file", "broker.key_file", "fleet.root_file"), worst)
    broker = {"url": "mqtts://b", "ca_file": "c.pem", "cert_file": "d.pem", "key_file": "k.pem"}
    fleet = {"url": "https://models.example.org", "root_file": "root.json"}
    setup = parse_table(Setup, {"broker": broker, "fleet": fleet}, "asked")
    plan = Plan.of(Asked(setup, {}, files, worst, "", "k.pem"), ("secrets",), None)
    assert plan.files == files
    store_plan(tmp_path / "plan.json", plan)
    assert load_plan(tmp_path / "plan.json") == plan


def test_every_section_goes_on_with_the_step_that_carries_it_out() -> None:
    assert set(STEPS) - set(SECTIONS) == {"secrets", "service"}
    assert sorted(name for names in SECTIONS.values() for name in names) == sorted(Setup.model_fields)


def test_a_plan_of_before_is_read_as_one_that_nothing_was_added_to_over_ssh(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    store_plan(path, plan := Plan.of(Asked(Setup(), {}, {}, "", ""), STEPS, None))
    told = json.loads(path.read_text())
    del told["said"]
    path.write_text(json.dumps(told))
    assert load_plan(path) == plan
