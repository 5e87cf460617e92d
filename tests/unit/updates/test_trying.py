"""A trial is judged by the model before the candidate, and one that fails leaves, whatever comes between."""

import threading
from pathlib import Path
from typing import Any

import pytest

from appliance.core.errors import EdgecamError, StorageError, UnavailableError
from appliance.updates import updater as module
from appliance.updates import withholding
from appliance.updates.formats import Trial
from appliance.updates.judging import Vitals
from appliance.updates.orders import CheckAnswer, CheckOrder
from appliance.updates.refusals import Code, RefusedError
from appliance.updates.state import Reference, Stage, State
from appliance.updates.trying import Trying
from tests.simulators.fleet_site import Site, is_over
from tests.simulators.updating import Direct, Rest


def test_a_trial_that_begins_anew_is_judged_by_the_model_before_and_not_by_the_candidate_itself(tmp_path: Path) -> None:
    rest = Rest(now=Vitals(memory_mb=100.0))
    troubles: list[EdgecamError] = [UnavailableError("the commit cannot be written")]

    def look() -> None:
        rest.now = Vitals(memory_mb=400.0)  # the candidate's, which is in service by now
        if troubles:
            raise troubles.pop()

    trying = Trying(rest, look, threading.Event())
    before = trying.reference()
    with pytest.raises(UnavailableError):
        trying.trial(tmp_path, Trial(active_seconds=600), before)
    with pytest.raises(RefusedError) as refused:
        trying.trial(tmp_path, Trial(active_seconds=600), before)
    assert refused.value.code is Code.MEMORY


def test_it_is_judged_by_how_the_model_before_did_when_nothing_ran_beside_it(tmp_path: Path) -> None:
    rest = Rest(now=Vitals(latency_ms=10.0, fps=15.0))
    trying = Trying(rest, lambda: None, threading.Event())
    trying.note_before()
    rest.now = Vitals(latency_ms=90.0, fps=5.0)  # beside its gates; and then the candidate, which is as slow by itself
    with pytest.raises(RefusedError) as refused:
        trying.trial(tmp_path, Trial(active_seconds=2), trying.reference())
    assert refused.value.code is Code.LATENCY


class Slow(Rest):
    """Whatever is put in service sees fewer frames than what was there at first."""

    def put_in_service(self, folder: Path | None) -> None:
        super().put_in_service(folder)
        self.now = Vitals(fps=5.0, setup=self.now.setup)


def cut_short(site: Site, **after: Any) -> State:
    """Stop the daemon during a trial, start it with the candidate, and see what comes of it."""
    site.rest = Slow(now=Vitals(fps=15.0, setup="one camera"))
    site.publish(2, trial={"active_seconds": 4})
    site.run(lambda _: site.rest.in_service)
    assert site.store.read().stage is Stage.TRIAL
    site.rest.now = Vitals(**{"fps": 5.0, "setup": "one camera", **after})  # it is the candidate that was loaded
    site.run(is_over)
    return site.store.read()


def test_a_trial_that_a_restart_has_cut_short_is_judged_by_the_model_before_too(site: Site) -> None:
    state = cut_short(site)
    assert state.active is None
    assert state.past[-1].code is Code.FRAME_RATE


def test_a_trial_is_not_held_against_what_another_configuration_gave(site: Site) -> None:
    state = cut_short(site, setup="one camera, slower")
    assert state.active is not None


def test_what_a_trial_is_judged_by_costs_a_few_bytes_and_no_write(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[State] = []
    write = site.store.write
    monkeypatch.setattr(site.store, "write", lambda state: (written.append(state), write(state)))
    site.rest.now = Vitals(latency_ms=41.26, fps=14.96, memory_mb=131.32, setup="0123456789ab")
    site.publish(2)
    site.run(is_over)
    begun = next(state for state in written if state.update is not None and state.update.before is not None)
    assert begun.update is not None
    assert begun.update.before == Reference(latency_ms=41.3, fps=15.0, memory_mb=131.3, setup="0123456789ab")
    assert begun.update.boot, "it is counted in the same write"
    without = begun.model_copy(update={"update": begun.update.model_copy(update={"before": None})})
    assert len(begun.model_dump_json()) - len(without.model_dump_json()) < 128


class Dark(Rest):
    """No frame comes for so many exchanges, once something is in service."""

    left = 6

    def put_in_service(self, folder: Path | None) -> None:
        if self.in_service and self.left:
            self.left -= 1
            raise UnavailableError("no frame came")
        super().put_in_service(folder)


def test_a_failed_candidate_leaves_with_the_next_frame_however_long_none_comes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK", 0.02)
    monkeypatch.setattr(withholding, "RESTORE_EVERY", 0.0)
    site.publish(2)
    site.run(is_over)
    first = site.store.read().active
    assert first is not None
    site.publish(3, trial={"active_seconds": 600})
    site.rest = Dark(now=Vitals(failure="it gave numbers that are not finite"))
    told: list[str] = []

    def is_put_back(facts: dict[str, Any]) -> bool:
        told.append(facts["why"])
        return len(site.rest.in_service) > 1 and not facts["why"]

    site.run(is_put_back)
    assert site.rest.in_service[-1] == site.store.check(first.sha256), "and not an older one"
    assert any("still in service: no frame came" in why for why in told)
    assert [one["code"] for one in site.ended if one["release"]["version"] == "3"] == ["E_NUMBERS"]
    assert [folder.name for folder in site.store.folder.glob("releases/*")] == [first.sha256]


def test_metadata_that_cannot_be_kept_does_not_begin_a_trial_again(site: Site) -> None:
    class Full(Direct):
        def check(self, wanted: CheckOrder) -> CheckAnswer:
            if site.rest.in_service:
                raise StorageError("no space left")
            return super().check(wanted)

    site.errands, site.interval = Full(), 0.001
    site.publish(2, trial={"active_seconds": 1})
    site.run(is_over)
    assert site.store.read().active is not None
    assert len(site.rest.in_service) == 1
