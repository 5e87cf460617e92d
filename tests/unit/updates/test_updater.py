"""The worker of updates: a good release is committed, and whatever goes wrong ends on what was there before."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance.core.clock import ClockQuality
from appliance.core.errors import UnavailableError
from appliance.core.worker import Pulse
from appliance.updates import service as needed
from appliance.updates.choosing import Device
from appliance.updates.judging import Vitals
from appliance.updates.lookout import text_of
from appliance.updates.orders import Repository
from appliance.updates.refusals import Code, RefusedError
from appliance.updates.rollout import Whom
from appliance.updates.service import Breath
from appliance.updates.stages import Stage
from appliance.updates.starting import find_model
from appliance.updates.store import Store
from appliance.updates.updater import Updater
from tests.simulators.fleet import Fleet, Web, served
from tests.simulators.updating import Direct, Rest, TurnedClock

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TRIAL = {"shadow_frames": 3, "active_seconds": 0}


def model(folder: Path, version: str) -> Path:
    folder.mkdir()
    (folder / "manifest.toml").write_text(f'name = "persons"\nversion = "{version}"\n')
    (folder / "weights.onnx").write_bytes(version.encode() * 5000)
    return folder


class Site:
    """A fleet, its web server, and one device."""

    def __init__(self, folder: Path, fleet: Fleet, web: Web) -> None:
        self.folder, self.fleet, self.web = folder, fleet, web
        self.rest, self.clock = Rest(), TurnedClock(NOW)
        self.store = Store(folder / "state")
        self.ended: list[Mapping[str, Any]] = []
        self.is_metered = False
        self.hints: deque[bytes] = deque()
        self.root = fleet.root

    def publish(self, counter: int, *, trial: Mapping[str, Any] | None = None, **rollout: Any) -> None:
        folder = model(self.folder / f"v{counter}", str(counter))
        chosen = self.fleet.release(folder, counter)
        self.fleet.roll_out("persons", chosen, trial={**TRIAL, **(trial or {})}, **rollout)
        self.fleet.sign()

    def run(
        self,
        until: Callable[[dict[str, Any]], object],
        within: float = 30.0,
        first: float = 0.0,
        on_built: Callable[[Updater], None] = lambda _: None,
    ) -> Updater:
        """Run the worker until its facts answer with yes, then end it in good order."""
        boot = "a" * 32
        breath = Breath(Pulse(60.0))
        stop = threading.Event()

        def report(ended: Mapping[str, Any]) -> None:
            if ended:
                self.ended.append(ended)

        updater = Updater(
            needed.Fleet(
                Repository(url=self.web.url, root=self.root, channel="stable", model="persons"),
                Device(Whom("door"), "9", "x86_64"),
                interval=3600.0,
                first=first,
                is_metered=lambda: self.is_metered,
                hints=lambda: self.hints.popleft() if self.hints else None,
                hint_spread=0.0,
            ),
            self.store,
            find_model(self.store, boot, lambda: text_of(self.clock.time)),
            gates=self.rest,
            service=self.rest,
            clock=self.clock,
            boot=boot,
            report=report,
            errands=Direct(),
            breath=breath,
        )
        thread = threading.Thread(target=updater.run, args=(stop,))
        thread.start()
        on_built(updater)
        try:
            deadline = time.monotonic() + within
            while not until(updater.facts()):
                assert time.monotonic() < deadline, updater.facts()
                threading.Event().wait(0.02)
        finally:
            stop.set()
            thread.join(20)
        assert not thread.is_alive()
        return updater


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    fleet = Fleet(tmp_path / "fleet", NOW)
    with served(fleet.folder) as web:
        yield Site(tmp_path, fleet, web)


def is_over(facts: dict[str, Any]) -> bool:
    return facts["stage"] == "idle" and facts["last"] is not None


def test_a_good_release_passes_all_gates_and_is_committed(site: Site) -> None:
    site.publish(2)
    site.run(is_over)
    assert site.rest.calls == ["inspect 2", "smoke", "shadow", "put in service"]
    state = site.store.read()
    assert state.active is not None
    assert (state.active.version, state.update) == ("2", None)
    assert site.rest.in_service == [site.store.check(state.active.sha256)]
    assert [one["outcome"] for one in site.ended] == ["committed"]


def test_a_hint_has_the_fleet_looked_at_long_before_it_is_time(site: Site) -> None:
    site.publish(2)
    site.hints.append(b'{"timestamp": 1}')
    site.run(is_over, first=3600.0)
    state = site.store.read()
    assert state.active is not None
    assert state.timestamp >= 1


def test_a_hint_has_a_trial_ended_that_the_fleet_has_halted(site: Site) -> None:
    site.publish(2, trial={"active_seconds": 600})

    def halt() -> None:
        site.rest.on_trial = lambda: None
        site.fleet.roll_out("persons", site.fleet.release(site.folder / "v2", 2), state="halted", trial=TRIAL)
        site.fleet.sign()
        site.hints.append(b'{"timestamp": 9000}')

    site.rest.on_trial = halt
    site.run(is_over)
    assert site.store.read().past[-1].code is Code.HALTED


def test_a_trial_is_not_judged_while_somebody_has_the_cameras_not_detect(site: Site) -> None:
    site.publish(2, trial={"active_seconds": 1})
    site.rest.now = idle = Vitals(fps=0.0, idle=frozenset({"door"}), is_looking=False)
    site.run(lambda facts: "as commanded" in facts["why"])
    assert site.rest.in_service == [], "it is not put where nobody looks"
    site.rest.now = Vitals(fps=10.0)
    looked = 0

    def turn_off() -> None:
        nonlocal looked
        looked += 1
        site.rest.now = idle if 2 < looked < 6 else Vitals(fps=10.0)  # for longer than the trial lasts

    site.rest.on_trial = turn_off
    site.run(is_over)
    state = site.store.read()
    assert state.active is not None
    assert looked >= 6, "it was in service for as long as the rollout says"


@pytest.mark.parametrize("call", ["inspect", "smoke", "shadow", "put"])
def test_whatever_a_candidate_fails_at_it_is_not_taken_and_not_tried_again(site: Site, call: str) -> None:
    site.publish(2)
    site.rest.faults[call] = RefusedError(Code.GOLDEN, "it is blind")
    site.run(is_over)
    state = site.store.read()
    assert state.active is None
    assert (state.past[-1].code, state.past[-1].why) == (Code.GOLDEN, "it is blind")
    assert list(site.store.folder.glob("releases/*")) == []
    site.rest.calls.clear()
    site.run(lambda facts: "not tried again" in facts["why"])
    assert site.rest.calls == []


def test_a_candidate_that_fails_in_service_makes_room_for_the_release_before_it(site: Site) -> None:
    site.publish(2)
    site.run(is_over)
    first = site.store.read().active
    assert first is not None
    site.publish(3, trial={"active_seconds": 600})
    site.rest.now = Vitals(failure="it gave numbers that are not finite")
    site.run(lambda facts: is_over(facts) and facts["last"]["release"]["version"] == "3")
    state = site.store.read()
    assert state.active == first
    assert state.past[-1].code is Code.NUMBERS
    assert site.rest.in_service[-1] == site.store.check(first.sha256)


def test_a_halted_rollout_ends_a_trial(site: Site) -> None:
    site.publish(2, trial={"active_seconds": 600})

    def halt() -> None:
        site.rest.on_trial = lambda: None
        chosen = site.fleet.release(site.folder / "v2", 2)
        site.fleet.roll_out("persons", chosen, state="halted", trial=TRIAL)
        site.fleet.sign()

    site.rest.on_trial = halt
    site.run(lambda facts: facts["stage"] == "trial" and site.rest.in_service)
    site.run(is_over)
    state = site.store.read()
    assert (state.active, state.past[-1].code) == (None, Code.HALTED)
    assert site.rest.in_service[-1] is None


def test_what_is_cut_short_goes_on_with_what_came(site: Site) -> None:
    site.publish(2)
    site.web.statuses["weights"] = (503, "")
    site.run(lambda facts: facts["stage"] == "downloading" and "503" in facts["why"])
    assert site.store.read().stage is Stage.DOWNLOADING
    site.web.statuses.clear()
    asked = len(site.web.asked)
    site.run(is_over)
    assert site.store.read().active is not None
    assert not any("manifest.toml" in path for path in site.web.asked[asked:])


def test_the_end_of_the_daemon_on_trial_is_no_fault_of_the_candidate(site: Site) -> None:
    site.publish(2, trial={"active_seconds": 600})
    for _ in range(3):
        site.run(lambda facts: facts["stage"] == "trial" and site.rest.in_service)
        site.rest.in_service.clear()
    update = site.store.read().update
    assert update is not None
    assert (update.stage, update.halves, update.crashes) == (Stage.TRIAL, 0, 0)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"share_ppm": 0}, "not for this device"),
        ({"state": "paused"}, "paused"),
        ({"not_before": "2026-11-24T00:00:00Z"}, "begins at"),
    ],
)
def test_what_is_not_to_begin_yet_does_not(site: Site, changes: dict[str, Any], why: str) -> None:
    site.publish(2, **changes)
    site.run(lambda facts: why in facts["why"])
    assert site.store.read().update is None
    assert not any("weights" in path for path in site.web.asked)


def test_a_connection_that_costs_brings_nothing_large(site: Site) -> None:
    site.is_metered = True
    folder = model(site.folder / "large", "7")
    (folder / "weights.onnx").write_bytes(bytes(100_000))
    site.fleet.roll_out("persons", site.fleet.release(folder, 7), metered="deltas")
    site.fleet.sign()
    site.run(lambda facts: "the connection costs" in facts["why"])
    assert site.store.read().update is None


def test_an_older_counter_and_other_signatures_are_told_with_their_codes(site: Site, tmp_path: Path) -> None:
    site.publish(3)
    site.run(is_over)
    site.publish(2)
    site.run(lambda facts: facts["code"] == Code.COUNTER)
    site.root = Fleet(tmp_path / "other", NOW).root
    site.run(lambda facts: facts["code"] == Code.BAD_SIGNATURE)
    active = site.store.read().active
    assert active is not None
    assert active.version == "3"


@pytest.mark.parametrize("year", [1970, 2040])
def test_a_device_without_a_clock_is_updated_and_notices_a_frozen_fleet(site: Site, year: int) -> None:
    site.clock = TurnedClock(NOW.replace(year=year), ClockQuality.UNSYNCED)
    site.publish(2)
    site.run(is_over)
    state = site.store.read()
    assert state.active is not None
    assert state.issued == text_of(NOW)
    site.store.write(state.model_copy(update={"unchanged": 8 * 86_400}))
    site.run(lambda facts: facts["code"] == Code.FREEZE)
    site.fleet.sign()
    site.run(lambda facts: facts["why"].endswith("in service"))


def test_a_clock_that_is_right_sees_that_a_fleet_has_expired(site: Site) -> None:
    site.publish(2)
    site.clock = TurnedClock(NOW + timedelta(days=8))
    site.run(lambda facts: facts["code"] == Code.EXPIRED)
    assert site.store.read().active is None


def test_where_no_frame_comes_the_candidate_waits(site: Site) -> None:
    site.publish(2)
    site.rest.faults["put"] = UnavailableError("no frame came")
    site.run(is_over)
    assert site.store.read().active is not None
    assert site.rest.calls.count("put in service") == 2
