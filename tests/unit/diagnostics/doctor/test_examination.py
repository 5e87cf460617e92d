import threading
import time

import pytest

from appliance.core.checkup import CheckState, Outcome, worst
from appliance.core.errors import ConfigError
from appliance.diagnostics.doctor.examination import Check, examine

WELL = Outcome("well", CheckState.OK, "all is well")


def test_outcomes_come_in_the_order_of_the_checks_whoever_is_first() -> None:
    first_may_end = threading.Event()

    def slow() -> list[Outcome]:
        assert first_may_end.wait(10)
        return [Outcome("slow", CheckState.OK, "")]

    def quick() -> list[Outcome]:
        first_may_end.set()
        return [WELL, Outcome("well.too", CheckState.OK, "")]

    found = examine([Check("slow", slow), Check("quick", quick)])
    assert [outcome.id for outcome in found] == ["slow", "well", "well.too"]


def test_a_check_that_hangs_has_failed_and_holds_nobody_up() -> None:
    never = threading.Event()
    began = time.monotonic()
    try:
        found = examine([Check("stuck", lambda: [WELL] if never.wait(60) else [], 0.1), Check("well", lambda: [WELL])])
    finally:
        never.set()
    assert time.monotonic() - began < 10
    assert [(outcome.id, outcome.state) for outcome in found] == [
        ("stuck", CheckState.FAILED),
        ("well", CheckState.OK),
    ]
    assert found[0].fix


def test_an_error_of_ours_is_what_was_seen_and_what_to_do() -> None:
    def broken() -> list[Outcome]:
        raise ConfigError("[model] use is 'x'; give\n  a file")

    assert examine([Check("model", broken)]) == [
        Outcome("model", CheckState.FAILED, "[model] use is 'x'", "give a file")
    ]


def test_a_defect_in_one_check_hides_nothing_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", pages.append)

    def broken() -> list[Outcome]:
        raise ZeroDivisionError

    found = examine([Check("broken", broken), Check("well", lambda: [WELL])])
    assert found[0].state is CheckState.FAILED
    assert "defect" in found[0].seen
    assert found[1] == WELL
    assert [page.exc_type for page in pages] == [ZeroDivisionError], "Python's own page tells where it was"


def test_who_waits_is_told_for_what() -> None:
    told: list[list[str]] = []
    examine([Check("one", lambda: [WELL])], lambda names: told.append(list(names)))
    assert told[0] == ["one"]


def test_the_worst_counts_and_what_was_skipped_does_not() -> None:
    def of(*states: CheckState) -> CheckState:
        return worst(Outcome("x", state, "") for state in states)

    assert of(CheckState.OK, CheckState.SKIPPED) is CheckState.OK
    assert of(CheckState.WARNING, CheckState.OK) is CheckState.WARNING
    assert of(CheckState.WARNING, CheckState.FAILED) is CheckState.FAILED
