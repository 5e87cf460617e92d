"""A running daemon takes what its owner publishes, and what crashes it on trial is out of service when it is back."""

from pathlib import Path

import pytest

from tests.shared_data import needs
from tests.simulators.broker import Mosquitto
from tests.simulators.subscriber import Subscriber
from tests.system.process import wait_for

pytest.importorskip("tuf", reason="needs tuf: make setup")
pytest.importorskip("onnx", reason="needs onnx: make setup")

from tests.simulators.bad_models import released, spoilt_from
from tests.simulators.fleet import served
from tests.simulators.fleet_owner import Owner
from tests.system.fleet_witness import (
    FACTORY,
    FOOTAGE,
    GOOD,
    TRIAL,
    WITHIN,
    Systemd,
    Witness,
    device,
    edgecam_command,
    hint,
)

pytestmark = [needs(FOOTAGE), pytest.mark.timeout(900)]
STAGES = ["planned", "downloading", "verifying", "staged", "inspecting", "smoke", "shadow", "trial"]
CRASHES_AT = 40  # frames, of which the gate and the trial beside the model in service see fewer


def test_a_release_is_committed_and_one_that_crashes_the_daemon_ends_on_it(tmp_path: Path, broker: Mosquitto) -> None:
    owner = Owner(tmp_path / "owner")
    with served(owner.www) as web, Subscriber(broker.port) as subscriber:
        edgecam = device(tmp_path / "device", owner.root, web, broker, module="tests.simulators.faulty_daemon")
        witness = Witness(subscriber)
        with Systemd(edgecam) as systemd:
            wait_for(lambda: witness.sees(FACTORY), 60, "the factory model")
            owner.release(released(tmp_path / "2", "2"))
            owner.roll_out("2", trial=GOOD)
            hint(edgecam)
            committed = witness.end_of("2")
            assert (committed["outcome"], committed["code"]) == ("committed", None)
            wait_for(lambda: witness.sees("2"), 10, "messages that name the new version")
            wait_for(lambda: witness.look().models[-1]["stage"] == "idle", 10, "that nothing is under way")
            told = list(dict.fromkeys(one["stage"] for one in witness.models if one["candidate"]))
            assert told == [stage for stage in STAGES if stage in told]  # what is retained may skip one
            assert {"downloading", "smoke", "shadow", "trial"} <= set(told)
            assert edgecam.status()["cameras"]["street"]["frames_unseen"] == 0
            frames = [at for at, _ in witness.served]
            assert frames == sorted(frames)

            owner.release(released(tmp_path / "3", "3", spoilt_from(CRASHES_AT, "segfault")))
            owner.roll_out("3", trial=TRIAL)
            hint(edgecam)
            refused = witness.end_of("3")
            assert (refused["outcome"], refused["code"], systemd.restarts) == ("rolled_back", "E_CRASH", 1)
            assert "the daemon ended unexpectedly in stage trial" in refused["why"]
            assert witness.sees("3")
            assert witness.seconds_until("2", after="3") < WITHIN
            hint(edgecam)
            witness.wait_until_told("was refused here before (E_CRASH), and is not tried again")
            history = edgecam_command(edgecam, "model", "history")
            assert "edgecam-nano 3  rolled back: the daemon ended unexpectedly in stage trial (E_CRASH)" in history
            assert history.startswith("in service: edgecam-nano 2;")
