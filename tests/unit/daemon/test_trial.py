from dataclasses import replace
from typing import Any

import pytest

from appliance.daemon.trial import (
    FAILED_FOR,
    GOOD_FOR,
    HALF_CONFIGURED_FOR,
    HALF_INSTALLED_FOR,
    LOADING_WITHIN,
    MOST_RESTARTS,
    READY_WITHIN,
    Before,
    Seen,
    Trial,
    Verdict,
)

BEFORE = Before("1.0", "1.0", frozenset({"door", "yard"}), has_failed=False)


def told(door: Any, yard: Any = 0, state: str = "ok") -> dict[str, Any]:
    return {"state": state, "cameras": {"door": {"frames_processed": door}, "yard": {"frames_processed": yard}}}


SEEN = Seen(at=100.0, package="installed", version="2.0", libraries="2.0", unit="active", restarts=0, status=told(5))


def test_a_detector_that_goes_on_for_a_while_is_what_was_asked_for() -> None:
    trial = Trial(BEFORE)
    assert trial.look(SEEN) is Verdict.WAIT
    assert trial.look(replace(SEEN, at=100 + GOOD_FOR - 1, status=told(50))) is Verdict.WAIT
    assert trial.look(replace(SEEN, at=100 + GOOD_FOR, status=told(60))) is Verdict.STAY
    assert "does what 1.0 did" in trial.why


def test_frames_that_stand_still_are_no_detector_that_works() -> None:
    trial = Trial(BEFORE)
    assert trial.look(SEEN) is Verdict.WAIT
    assert trial.look(replace(SEEN, at=100 + GOOD_FOR)) is Verdict.WAIT
    assert trial.look(replace(SEEN, at=100 + READY_WITHIN)) is Verdict.GO_BACK


def test_a_camera_that_was_unplugged_meanwhile_is_not_the_new_version_s_fault() -> None:
    trial = Trial(BEFORE)
    trial.look(replace(SEEN, status=told(0, 7)))
    assert trial.look(replace(SEEN, at=100 + GOOD_FOR, status=told(0, 70))) is Verdict.STAY


def test_a_daemon_that_had_no_frames_before_needs_none_now() -> None:
    trial = Trial(replace(BEFORE, cameras=frozenset()))
    trial.look(replace(SEEN, status=told(0)))
    assert trial.look(replace(SEEN, at=100 + GOOD_FOR, status=told(0))) is Verdict.STAY


@pytest.mark.parametrize("status", [{}, told(0, 0), told(5, state="failed"), {"cameras": 3}, told("x", None)])
def test_without_a_detector_in_time_the_version_before_comes_back(status: dict[str, Any]) -> None:
    trial = Trial(BEFORE)
    assert trial.look(replace(SEEN, status=status)) is Verdict.WAIT
    assert trial.look(replace(SEEN, at=99 + READY_WITHIN, status=status)) is Verdict.WAIT
    assert trial.look(replace(SEEN, at=100 + READY_WITHIN, status=status)) is Verdict.GO_BACK
    assert trial.why


def test_a_failure_that_was_there_before_is_not_held_against_it() -> None:
    trial = Trial(replace(BEFORE, has_failed=True))
    trial.look(replace(SEEN, status=told(5, state="failed")))
    assert trial.look(replace(SEEN, at=100 + GOOD_FOR, status=told(9, state="failed"))) is Verdict.STAY


def test_a_model_that_loads_for_long_is_waited_for_but_not_for_ever() -> None:
    trial = Trial(BEFORE)
    loading = replace(SEEN, unit="activating", status={})
    assert trial.look(loading) is Verdict.WAIT
    assert trial.look(replace(loading, at=99 + LOADING_WITHIN)) is Verdict.WAIT
    assert trial.look(replace(loading, at=100 + LOADING_WITHIN)) is Verdict.GO_BACK


def test_a_daemon_that_ends_again_and_again_is_given_up() -> None:
    trial = Trial(BEFORE)
    assert trial.look(replace(SEEN, restarts=MOST_RESTARTS - 1)) is Verdict.WAIT  # of before the first look
    crashing = replace(SEEN, at=110.0, unit="activating", status={})
    assert trial.look(replace(crashing, restarts=2 * MOST_RESTARTS - 2)) is Verdict.WAIT
    assert trial.look(replace(crashing, restarts=2 * MOST_RESTARTS - 1)) is Verdict.GO_BACK


def test_a_configuration_that_is_refused_is_known_at_once() -> None:
    trial = Trial(BEFORE)
    failed = replace(SEEN, unit="failed", status={})
    assert trial.look(failed) is Verdict.WAIT
    assert trial.look(replace(failed, at=100 + FAILED_FOR)) is Verdict.GO_BACK


@pytest.mark.parametrize(
    ("package", "within"), [("half-configured", HALF_CONFIGURED_FOR), ("unpacked", HALF_INSTALLED_FOR)]
)
def test_what_dpkg_leaves_half_done_is_taken_back(package: str, within: float) -> None:
    trial = Trial(BEFORE)
    half = replace(SEEN, package=package, unit="inactive", status={})
    assert trial.look(half) is Verdict.WAIT
    assert trial.look(replace(half, at=99 + within)) is Verdict.WAIT
    assert trial.look(replace(half, at=100 + within)) is Verdict.GO_BACK
    assert package in trial.why


def test_libraries_without_their_application_are_half_an_upgrade() -> None:
    trial = Trial(BEFORE)
    half = replace(SEEN, version="1.0")
    assert trial.look(half) is Verdict.WAIT
    assert trial.look(replace(half, at=100 + HALF_INSTALLED_FOR)) is Verdict.GO_BACK


def test_an_upgrade_that_dpkg_took_back_itself_leaves_nothing_to_judge() -> None:
    assert Trial(BEFORE).look(replace(SEEN, version="1.0", libraries="1.0")) is Verdict.STAY


def test_what_its_owner_stopped_is_left_alone() -> None:
    trial = Trial(BEFORE)
    stopped = replace(SEEN, unit="inactive", status={})
    assert trial.look(stopped) is Verdict.WAIT
    assert trial.look(replace(stopped, at=100 + READY_WITHIN)) is Verdict.STAY


def test_time_in_which_dpkg_runs_does_not_count() -> None:
    trial = Trial(BEFORE)
    trial.look(replace(SEEN, status={}))
    trial.pause()
    assert trial.look(replace(SEEN, at=5000.0, status={})) is Verdict.WAIT
