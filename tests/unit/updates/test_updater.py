"""The worker of updates: a good release is committed, and whatever goes wrong ends on what was there before."""

import hashlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from appliance.core.clock import ClockQuality
from appliance.core.errors import UnavailableError
from appliance.updates.judging import Vitals
from appliance.updates.lookout import text_of
from appliance.updates.orders import BringAnswer, BringOrder, CheckAnswer, CheckOrder, Progress
from appliance.updates.refusals import Code, RefusedError
from appliance.updates.stages import Stage
from appliance.updates.wishes import Wish
from tests.simulators.fleet import Fleet
from tests.simulators.fleet_site import NOW, TRIAL, Site, is_over, model
from tests.simulators.updating import Direct, TurnedClock


def test_a_good_release_passes_all_gates_and_is_committed(site: Site) -> None:
    site.publish(2)
    site.run(is_over)
    assert site.rest.calls == ["inspect 2", "smoke", "shadow", "put in service"]
    state = site.store.read()
    assert state.active is not None
    assert (state.active.version, state.update) == ("2", None)
    assert site.rest.in_service == [site.store.check(state.active.sha256)]
    assert [one["outcome"] for one in site.ended] == ["committed"]
    assert site.ended[0]["compared"] == {"frames": 3, "active": 0, "candidate": 0, "both": 0}


def test_the_log_tells_each_stage_though_another_comes_at_once(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.publish(2)
    with caplog.at_level(logging.INFO, "appliance.updates"):
        site.run(is_over)
    words = [message.removeprefix("updates: ") for message in caplog.messages]
    order = ["planned", "downloading", "verifying", "staged", "inspecting", "smoke", "shadow", "trial", "idle"]
    assert [word for word in words if word in order] == order


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


def test_an_update_goes_on_though_asking_takes_longer_than_the_interval(site: Site) -> None:
    site.publish(2)
    site.interval = 0.001
    site.run(is_over)
    assert site.store.read().active is not None


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


def test_a_connection_that_begins_to_cost_ends_a_download_which_goes_on_over_another(site: Site) -> None:
    class Changing(Direct):
        def bring(self, wanted: BringOrder, tell: Callable[[Progress], None]) -> BringAnswer:
            def costs_by_then(progress: Progress) -> None:
                site.is_metered = 0 < progress.done < progress.whole
                tell(progress)

            return super().bring(wanted, costs_by_then)

    folder = model(site.folder / "large", "7")
    (folder / "weights.onnx").write_bytes(bytes(range(250)) * 4000)
    site.fleet.roll_out("persons", site.fleet.release(folder, 7), metered="deltas", trial=TRIAL)
    site.fleet.sign()
    site.errands = Changing()
    site.run(lambda facts: "costs now, and weights.onnx" in facts["why"])
    site.errands, site.is_metered = Direct(), True
    site.run(lambda facts: "it waits for another" in facts["why"])
    assert site.store.read().update is None
    site.is_metered, sent = False, site.web.sent
    site.run(is_over)
    assert site.store.read().active is not None
    assert site.web.sent > sent


def test_a_connection_that_costs_brings_deltas_where_a_rollout_says_so(site: Site) -> None:
    folder = model(site.folder / "large", "7")
    (folder / "weights.onnx").write_bytes(bytes(100_000))
    site.fleet.roll_out("persons", site.fleet.release(folder, 7), metered="all", trial=TRIAL)
    site.fleet.sign()
    site.is_metered = True
    site.run(is_over)
    bsdiff4 = pytest.importorskip("bsdiff4")
    newer = model(site.folder / "newer", "8")
    (newer / "weights.onnx").write_bytes(bytes(99_999) + b"x")
    delta = bsdiff4.diff(bytes(100_000), (newer / "weights.onnx").read_bytes())
    site.fleet.put("models", "deltas/7-8", delta)
    base = hashlib.sha256(bytes(100_000)).hexdigest()
    weights = {"path": "models/persons/8/weights.onnx", "deltas": [{"base": base, "path": "deltas/7-8"}]}
    chosen = site.fleet.release(newer, 8, files={"weights.onnx": weights})
    site.fleet.roll_out("persons", chosen, metered="deltas", trial=TRIAL)
    site.fleet.sign()
    site.web.asked.clear()
    site.run(lambda facts: is_over(facts) and facts["active"]["version"] == "8")
    assert any("deltas/" in path for path in site.web.asked)
    assert not any("weights.onnx" in path for path in site.web.asked)


def test_a_machine_that_is_too_hot_brings_and_tries_nothing_until_it_has_cooled_down(site: Site) -> None:
    site.publish(2)
    site.is_hot = True
    site.run(lambda facts: "too hot" in facts["why"] and facts["stage"] == "planned")
    assert not any("weights" in path for path in site.web.asked)

    class Heating(Direct):
        def bring(self, wanted: BringOrder, tell: Callable[[Progress], None]) -> BringAnswer:
            answer = super().bring(wanted, tell)
            site.is_hot = True
            return answer

    site.is_hot, site.errands = False, Heating()
    site.run(lambda facts: facts["stage"] == "staged" and "too hot" in facts["why"])
    assert site.rest.calls == []
    site.is_hot, site.errands = False, Direct()
    updater = site.run(is_over)
    assert site.store.read().active is not None
    assert "too hot" not in updater.facts()["why"]


def test_an_update_begins_within_the_owner_s_window_or_when_the_owner_asks_for_it(site: Site) -> None:
    hour = site.clock.time.astimezone().hour
    site.window = (f"{(hour + 2) % 24:02}:00", f"{(hour + 4) % 24:02}:00")
    site.publish(2)
    site.run(lambda facts: f"between {site.window[0]} and" in facts["why"] if site.window else False)
    assert not any("weights" in path for path in site.web.asked)
    site.clock.time += timedelta(hours=3)
    site.run(is_over)
    assert site.store.read().active is not None
    site.clock.time += timedelta(hours=3)
    site.publish(3)
    site.run(
        lambda facts: is_over(facts) and facts["active"]["version"] == "3",
        on_built=lambda updater: updater.wishes.ask(Wish.UPDATE),
    )


def test_what_finds_no_room_on_the_disk_is_not_brought_and_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.updates.updater.ROOM", 1 << 60)
    site.publish(2)
    site.run(lambda facts: facts["code"] == Code.DISK and facts["stage"] == "idle")
    assert not any("weights" in path for path in site.web.asked)


def test_devices_begin_one_after_the_other(site: Site) -> None:
    site.publish(2, jitter_seconds=86_400)
    site.run(lambda facts: "turn has not come" in facts["why"])
    assert not any("weights" in path for path in site.web.asked)


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


@pytest.mark.parametrize(("how", "is_dated"), [(ClockQuality.UNSYNCED, False), (ClockQuality.HOLDOVER, True)])
def test_certificates_are_held_against_the_clock_only_where_that_can_be_trusted(
    site: Site,
    how: ClockQuality,
    is_dated: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    class Noting(Direct):
        asked: ClassVar[list[bool]] = []

        def check(self, wanted: CheckOrder) -> CheckAnswer:
            self.asked.append(wanted.is_dated)
            return super().check(wanted)

        def bring(self, wanted: BringOrder, tell: Callable[[Progress], None]) -> BringAnswer:
            self.asked.append(wanted.is_dated)
            return super().bring(wanted, tell)

    site.clock, site.errands = TurnedClock(NOW, how), Noting()
    site.publish(2)
    site.run(is_over)
    assert Noting.asked == [is_dated, is_dated]


def test_why_the_fleet_cannot_be_had_is_told_with_a_code(site: Site) -> None:
    site.web.statuses["timestamp"] = (503, "")
    site.run(lambda facts: facts["code"] == Code.SERVER and "503" in facts["why"])
    site.web.statuses.clear()
    site.web.replaced["timestamp"] = b"<html>"
    site.run(lambda facts: facts["code"] == Code.PORTAL)


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


def test_what_the_owner_and_the_fleet_are_told_of_a_licence_is_in_model(site: Site) -> None:
    site.publish(2, licence={"spdx": "MIT", "expires": "2026-12-20"})
    facts = site.run(lambda facts: is_over(facts) and facts["licence"] is not None).facts()
    assert (facts["licence"], facts["withheld"]) == ({"expires": "2026-12-20", "days": 27}, None)
    site.clock.time = datetime(2026, 12, 21, tzinfo=UTC)
    facts = site.run(lambda facts: facts["withheld"] is not None, first=3600.0).facts()
    assert facts["withheld"]["code"] == "E_LICENCE"
    assert facts["active"]["version"] == "2"
