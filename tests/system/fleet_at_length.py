"""What an owner publishes by mistake, or somebody else in their name, never stays in service. `make fleet` runs it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.updates.checking import check
from appliance.updates.choosing import Device, Wanted, choose
from appliance.updates.orders import CheckOrder, Repository
from appliance.updates.rollout import Whom
from appliance.updates.state import State
from tests.shared_data import needs
from tests.simulators.bad_models import released, spoilt, with_own_golden
from tests.simulators.fleet_owner import NAME
from tests.system.fleet_site import IDS, MADE, Bad, Site, meant, site
from tests.system.fleet_witness import FOOTAGE, GOOD

pytestmark = [needs(FOOTAGE), pytest.mark.timeout(900)]
LONG = {"shadow_frames": 90, "shadow_seconds": 300}  # frames in which somebody is seen often enough to judge


def bad_weights(kind: str) -> Callable[[Path, str], Path]:
    return lambda folder, version: released(folder, version, spoilt(kind))


def bad_throughout(kind: str) -> Callable[[Path, str], Path]:
    """Bad weights with golden frames that say so: nobody has looked at them."""
    return lambda folder, version: with_own_golden(released(folder, version, spoilt(kind)))


def other_labels(folder: Path, version: str) -> Path:
    return released(folder, version, labels='["cat", "dog"]')


def for_research(folder: Path, version: str) -> Path:
    released(folder, version)
    (folder / "release.toml").write_text('uses = ["research"]\n', encoding="utf-8")
    return folder


BAD = [
    Bad("truncated", "E_INSPECTION", bad_weights("truncated")),
    Bad("wrong contract", "E_CONTRACT", other_labels),
    Bad("external data path", "E_INSPECTION", bad_weights("external")),
    Bad("op bomb (a loop)", "E_INSPECTION", bad_weights("loop")),
    Bad("op bomb (8 GB)", "E_MEMORY", bad_weights("huge")),
    Bad("unknown operator", "E_INSPECTION", bad_weights("strange")),
    Bad("blind", "E_GOLDEN", bad_weights("blind")),
    Bad("firing everywhere", "E_GOLDEN", bad_weights("flood")),
    Bad("NaN", "E_NUMBERS", bad_weights("numbers")),
    Bad("more than 3 times slower", "E_LATENCY", bad_weights("slow"), trial={"latency_percent": 150}),
    Bad("blind", "E_BLIND", bad_throughout("blind"), "beside", LONG),
    Bad("firing everywhere", "E_FLOOD", bad_throughout("flood"), "beside", LONG),
    Bad("boxes too wide", "E_DISAGREEMENT", bad_throughout("wide"), "beside", LONG),
]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("fleet"), share=10.0) as made:
        yield made


def test_ten_per_cent_of_200_devices_that_ask_over_http_are_given_it_and_they_are_the_right_ones(here: Site) -> None:
    rollout = here.owner.roll_out(MADE, 10.0, GOOD)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    given = []
    for one in IDS:
        place = Repository(url=here.web.url, root=here.owner.root, channel="stable", model=NAME)
        answer = check(CheckOrder(repository=place, folder=here.folder / "asks" / one, now=now))
        asking = Device(Whom(one, ()), "0.1.0", "x86_64", use="commercial")
        if isinstance(choose(answer, State(), asking), Wanted):
            given.append(one)
    assert given == meant(rollout)
    assert 10 <= len(given) <= 32  # 20, within three standard deviations


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_a_bad_release_never_gets_into_service_and_the_report_names_the_reason(here: Site, bad: Bad) -> None:
    before = here.edgecam.status()["cameras"]["street"]["frames_unseen"]
    here.refuses(bad)
    assert here.edgecam.status()["cameras"]["street"]["frames_unseen"] == before


def test_a_release_that_is_not_licensed_for_what_is_done_here_is_not_taken(here: Site) -> None:
    here.publish(for_research, {})
    here.takes_nothing("wrong licence", "E_LICENCE", "its licence allows use for research")


def test_a_release_older_than_what_was_committed_is_not_taken(here: Site) -> None:
    here.owner.roll_out("1")
    here.takes_nothing("older counter", "E_COUNTER", f"{NAME} 1 has counter 1, and none below 2 is taken")


def test_releases_that_another_key_has_signed_are_not_taken_though_the_online_key_vouches_for_them(here: Site) -> None:
    """Comes last: the thief stays."""
    here.owner.be_robbed()
    here.takes_nothing("wrong key", "E_BADSIG", "models")
