"""A release that passes every gate and fails later makes room for the one before it. `make fleet` runs it.

What fails is the runtime, as a vendor's does with one model and not with another; see `faulty_runtime`. The daemon that
dies of it is started again as the unit says.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.shared_data import needs
from tests.simulators.bad_models import released, spoilt_from
from tests.simulators.faulty_daemon import THROTTLED
from tests.system.fleet_site import Bad, Site, site
from tests.system.fleet_witness import FOOTAGE, hint
from tests.system.process import wait_for

pytestmark = [needs(FOOTAGE), pytest.mark.timeout(900)]
LATE = 40  # frames: more than are seen beside the model in service where the fault is to show in its place


def failing(fault: str, frame: int = LATE) -> Callable[[Path, str], Path]:
    return lambda folder, version: released(folder, version, spoilt_from(frame, fault))


BESIDE = {"shadow_frames": 400, "shadow_seconds": 600}
BAD = [
    Bad("segfault at frame 200", "E_CRASH", failing("segfault", 200), "beside", BESIDE),
    Bad("hang", "E_HANG", failing("hang"), "beside", BESIDE),
    Bad("killed for its memory", "E_MEMORY", failing("kill"), "beside", BESIDE),
    Bad("NaN", "E_NUMBERS", failing("nan"), "beside", BESIDE),
    Bad("hang", "E_HANG", failing("hang"), "in service"),
    Bad("out of memory", "E_MEMORY", failing("starved"), "in service"),
    Bad("leak", "E_MEMORY", failing("leak"), "in service"),
    Bad("NaN", "E_NUMBERS", failing("nan"), "in service"),
    Bad("empty output", "E_NUMBERS", failing("empty"), "in service"),
    Bad("3 times slower", "E_LATENCY", failing("slow"), "in service", {"latency_percent": 150, "active_seconds": 30}),
    Bad("fewer frames", "E_FRAME_RATE", failing("drag"), "in service", {"latency_percent": 1000, "active_seconds": 40}),
]
CRASHES = [
    Bad("segfault at frame 200", "E_CRASH", failing("segfault", 200), "in service"),
    Bad("daemon killed for its memory", "E_CRASH", failing("kill"), "in service"),
]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("fleet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(THROTTLED, str(folder / "throttled"))
        with site(folder, module="tests.simulators.faulty_daemon") as made:
            yield made


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_a_release_that_fails_after_its_gates_makes_room_for_the_one_before_it(here: Site, bad: Bad) -> None:
    restarts = here.systemd.restarts
    here.refuses(bad)
    assert here.systemd.restarts == restarts


@pytest.mark.parametrize("bad", CRASHES, ids=str)
def test_a_release_that_ends_the_daemon_is_not_loaded_when_it_is_back(here: Site, bad: Bad) -> None:
    restarts = here.systemd.restarts
    refused = here.refuses(bad)
    assert "the daemon ended unexpectedly in stage trial" in refused["why"]
    assert here.systemd.restarts == restarts + 1


def test_a_halt_by_the_fleet_takes_a_release_out_of_service(here: Site) -> None:
    version = here.publish(released, {})
    wait_for(lambda: here.witness.sees(version), 300, "the release in service")
    here.owner.halt()
    hint(here.edgecam)
    here.ends(version, Bad("halted by the fleet", "E_HALTED", released, "in service"))


def test_a_machine_that_slows_down_since_a_release_is_in_service_leaves_it(here: Site) -> None:
    version = here.publish(released, {"active_seconds": 20})
    wait_for(lambda: here.witness.sees(version), 300, "the release in service")
    firmware = here.folder / "throttled"
    firmware.write_text("0x4\n", encoding="ascii")  # bit 2: throttled now
    try:
        here.ends(version, Bad("thermal throttling newly present", "E_THROTTLED", released, "in service"))
    finally:
        firmware.write_text("0x0\n", encoding="ascii")
