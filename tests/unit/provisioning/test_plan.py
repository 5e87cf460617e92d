from pathlib import Path

from appliance.provisioning import Asked, Setup
from appliance.provisioning.plan import Plan, load_plan, store_plan
from appliance.provisioning.reading import MOST_BYTES


def test_the_largest_plan_that_can_be_asked_for_is_read_again(tmp_path: Path) -> None:
    worst = "\x01" * MOST_BYTES  # each byte is six of JSON
    files = dict.fromkeys(("broker.ca_file", "broker.cert_file", "broker.key_file", "fleet.root_file"), worst)
    plan = Plan.of(Asked(Setup(), {}, files, worst, "", "k.pem"), ("secrets",), None)
    store_plan(tmp_path / "plan.json", plan)
    assert load_plan(tmp_path / "plan.json") == plan
