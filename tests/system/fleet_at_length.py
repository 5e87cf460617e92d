"""Bad releases never stay in service, and the report names the reason. `make fleet` runs it; it takes minutes."""

from pathlib import Path

import pytest

from tests.shared_data import needs
from tests.simulators.bad_models import released, spoilt
from tests.simulators.broker import Mosquitto
from tests.simulators.fleet import Fleet, Web
from tests.simulators.subscriber import Subscriber
from tests.system.fleet_device import FOOTAGE, daemon, ended, publish, seen_by
from tests.system.process import wait_for

pytestmark = [needs(FOOTAGE), pytest.mark.timeout(900)]

BAD = {
    "truncated": {"E_INSPECTION"},
    "blind": {"E_GOLDEN"},
    "numbers": {"E_NUMBERS", "E_INSPECTION"},
    "labels": {"E_CONTRACT"},
}


def test_a_bad_release_never_gets_into_service_and_the_report_names_the_reason(
    tmp_path: Path, fleet: Fleet, web: Web, broker: Mosquitto
) -> None:
    with Subscriber(broker.port) as subscriber, daemon(tmp_path, fleet, web, broker) as edgecam:
        wait_for(lambda: seen_by(subscriber, "0.2.0"), 40, "the factory model")
        for counter, (kind, codes) in enumerate(BAD.items(), 9):
            said = {"labels": '["cat", "dog"]'} if kind == "labels" else {}
            folder = released(tmp_path / kind, str(counter), None if said else spoilt(kind), **said)
            publish(fleet, folder, counter)
            refused = ended(subscriber, str(counter), 200)
            assert refused["outcome"] == "rolled_back"
            assert refused["code"] in codes, kind
            assert refused["why"]
        wait_for(lambda: "not tried again" in subscriber.bodies("/model")[-1]["why"], 20, "that it is not tried again")
        assert sum(path.endswith("manifest.toml") for path in web.asked) == len(BAD)
        assert not any(seen_by(subscriber, str(counter)) for counter in range(9, 9 + len(BAD)))
        status = edgecam.status()
        assert status["model"]["version"] == "0.2.0"
        assert status["cameras"]["street"]["frames_unseen"] == 0


def test_a_crash_of_the_daemon_on_trial_ends_on_the_model_before_it(
    tmp_path: Path, fleet: Fleet, web: Web, broker: Mosquitto
) -> None:
    publish(fleet, released(tmp_path / "v9", "9"), 9, active_seconds=600)
    with Subscriber(broker.port) as subscriber, daemon(tmp_path, fleet, web, broker) as edgecam:
        wait_for(lambda: seen_by(subscriber, "9"), 200, "the candidate on trial")
        edgecam.kill()
        edgecam.start()
        refused = ended(subscriber, "9", 200)
        assert (refused["outcome"], refused["code"]) == ("rolled_back", "E_CRASH")
        assert edgecam.status()["model"]["version"] == "0.2.0"


def test_a_halt_of_the_rollout_takes_a_candidate_out_of_service(
    tmp_path: Path, fleet: Fleet, web: Web, broker: Mosquitto
) -> None:
    folder = released(tmp_path / "v9", "9")
    publish(fleet, folder, 9, active_seconds=600)
    with Subscriber(broker.port) as subscriber, daemon(tmp_path, fleet, web, broker) as edgecam:
        wait_for(lambda: seen_by(subscriber, "9"), 200, "the candidate on trial")
        fleet.roll_out("edgecam-nano", fleet.release(folder, 9), state="halted")
        fleet.sign()
        assert ended(subscriber, "9", 200)["code"] == "E_HALTED"
        edgecam.wait_for_status(lambda now: now["model"]["version"] == "0.2.0", 10, "the factory model again")
