"""The climber: what fails is left for the next rung and tried again, seeing goes on, and every reason is kept."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from appliance.core.errors import EdgecamError, ModelError, UnavailableError
from appliance.core.manifest import ModelManifest
from appliance.inference.climber import PATIENCE, Climber, Rung
from appliance.inference.running import Refusal, Running
from appliance.inference.watch import MOST_WEDGED, Wedged
from tests.simulators.models import manifest

YOLOX = manifest("yolox")
WITHIN = 20.0  # seconds: what should be soon is, and a busy machine does not fail the test


class Eye:
    """What a rung gives, of whatever task: it says which rung it is, or fails."""

    def __init__(self, stair: "Stair") -> None:
        self.stair = stair
        self.manifest: ModelManifest = stair.manifest
        self.digest = stair.file * 10
        self.running = Running(stair.file, "onnx", ())
        self.min_score = 0.25
        self.last_inference_ms = 1.0

    def see(self) -> str:
        if self.stair.meanwhile is not None:
            self.stair.meanwhile()
        if self.stair.fault is not None:
            raise self.stair.fault
        return self.stair.file

    def close(self) -> None:
        self.stair.open.remove(self)


@dataclass
class Stair:
    """A rung that can be broken and mended.

    Attributes:
        fault: What goes wrong when it sees.
        will_open: What goes wrong when it is opened.
        lacks: What the machine lacks for it.
        open: What it gave and is not closed.
        ways: How it was opened, one after the other: as ever, or apart.
        manifest: What it is.
        meanwhile: What happens while it sees.
    """

    file: str
    fault: EdgecamError | None = None
    will_open: Exception | None = None
    lacks: str = ""
    open: list[Eye] = field(default_factory=list)
    ways: list[str] = field(default_factory=list)
    manifest: ModelManifest = YOLOX
    meanwhile: Callable[[], None] | None = None

    def rung(self) -> Rung[Eye]:
        return Rung(self.file, lambda: self.lacks, lambda: self._open("as ever"), lambda: self._open("apart"))

    def _open(self, way: str) -> Eye:
        self.ways.append(way)
        if self.will_open is not None:
            raise self.will_open
        self.open.append(Eye(self))
        return self.open[-1]


class Stage:
    """A climber on stairs, and the changes that it told of."""

    def __init__(self, *stairs: Stair, retry: float = 0.01, first: int = 0, refused: tuple[Refusal, ...] = ()) -> None:
        self.stairs, self.changes, self.wedged = stairs, 0, Wedged()
        self.told: list[str] = []  # whatever was to be told at a change
        rungs = [stair.rung() for stair in stairs]
        self.climber = Climber(
            rungs,
            first=first,
            opened=rungs[first].open(),
            refused=refused,
            retry=retry,
            wedged=self.wedged,
            on_change=self._count,
        )

    def _count(self) -> None:
        self.changes += 1
        self.told += self.climber.running.troubles()

    def see(self) -> str:
        """Look at a frame; empty when nothing is in service."""
        try:
            return self.climber.use(Eye.see)
        except UnavailableError:
            return ""

    def see_until(self, question: Callable[[str], bool]) -> list[str]:
        """Look at frame after frame until the answer is yes, and give all that was seen."""
        deadline, seen = time.monotonic() + WITHIN, [self.see()]
        while not question(seen[-1]):
            assert time.monotonic() < deadline, seen[-20:]
            seen.append(self.see())
        return seen


def soon(question: Callable[[], bool], what: str) -> None:
    """Wait until the answer is yes."""
    deadline, pause = time.monotonic() + WITHIN, threading.Event()
    while not question():
        assert time.monotonic() < deadline, what
        pause.wait(0.005)


def until(file: str) -> Callable[[str], bool]:
    return lambda seen: seen == file


ERRORS = [ModelError("out of memory"), UnavailableError("did not answer within 3 s")]


@pytest.mark.parametrize("error", ERRORS)
def test_what_fails_is_left_for_the_next_and_is_told_with_its_reason(error: EdgecamError) -> None:
    best, plain = Stair("a"), Stair("b")
    stage = Stage(best, plain, retry=3600.0)
    assert stage.see() == "a"
    best.fault = error
    assert stage.see_until(until("b"))[0] == ""
    assert best.open == []
    running = stage.climber.running
    assert (running.file, running.is_blind, stage.climber.digest) == ("b", False, "b" * 10)
    assert running.refused[0].why == str(error)
    assert running.troubles() == (f"a failed while it ran, b runs: {error}",)
    assert stage.climber.retries()["a"]["failures"] == 1
    assert 0 < stage.climber.retries()["a"]["retry_in_s"] <= 3600
    assert stage.changes >= 2
    assert stage.climber.close()
    assert plain.open == []


def test_it_climbs_back_after_a_trial_on_a_real_frame_and_seeing_never_stops_meanwhile() -> None:
    best, plain = Stair("a"), Stair("b")
    stage = Stage(best, plain)
    best.fault = ModelError("out of memory")
    stage.see_until(until("b"))
    stage.see_until(lambda _: len(best.ways) >= 3)  # trials that opened it, and saw that it still fails
    best.fault = None
    seen = stage.see_until(until("a"))
    assert set(seen) == {"b", "a"}
    assert stage.climber.running.refused == ()
    assert stage.climber.retries() == {}
    assert plain.open == []
    assert stage.climber.close()


def test_what_hung_or_crashed_is_opened_apart_from_then_on() -> None:
    best, plain = Stair("a"), Stair("b")
    stage = Stage(best, plain)
    best.fault = UnavailableError("did not answer within 3 s")
    stage.see_until(until("b"))
    best.fault = None
    stage.see_until(until("a"))
    assert best.ways[0] == "as ever"
    assert set(best.ways[1:]) == {"apart"}
    assert plain.ways == ["as ever"]
    stage.climber.close()


def test_where_there_is_no_lower_one_it_is_opened_again_and_never_blind_in_silence() -> None:
    only = Stair("a")
    stage = Stage(only, retry=3600.0)
    only.fault = ModelError("out of memory")
    only.will_open = ModelError("no device")
    assert stage.see() == ""
    assert stage.climber.running.is_blind
    stage.see_until(lambda _: "no device" in stage.climber.running.troubles()[0])
    assert stage.climber.running.troubles() == ("a failed while it ran, nothing runs: no device",)
    only.fault = only.will_open = None
    stage.see_until(until("a"))
    assert not stage.climber.running.is_blind
    assert stage.climber.running.troubles() == ()
    stage.climber.close()


def test_where_all_have_failed_it_comes_back_though_no_frame_comes() -> None:
    best, plain = Stair("a"), Stair("b")
    stage = Stage(best, plain, retry=3600.0)
    best.fault = plain.fault = ModelError("out of memory")
    best.will_open = ModelError("no device")
    stage.see_until(lambda _: "b" in stage.climber.retries())
    plain.fault = None
    soon(lambda: not stage.climber.running.is_blind, "in service again")
    assert stage.climber.running.file == "b"
    assert stage.see() == "b"
    stage.climber.close()


def test_what_was_refused_at_the_start_is_tried_again_too_and_what_is_for_another_machine_never() -> None:
    stranger, late, plain = Stair("s", lacks="is for riscv64"), Stair("a"), Stair("b")
    refused = (
        Refusal("s", "is for riscv64", is_expected=True),
        Refusal("a", "its device is not there", is_expected=False),
    )
    stage = Stage(stranger, late, plain, first=2, refused=refused)
    assert stage.climber.running.troubles() == ("a was refused, b runs: its device is not there",)
    seen = stage.see_until(until("a"))
    assert set(seen) == {"b", "a"}
    assert stranger.ways == []
    assert [one.file for one in stage.climber.running.refused] == ["s"]
    stage.climber.close()


def test_a_lower_one_that_is_for_another_machine_is_passed_over_on_the_way_down() -> None:
    best, stranger, plain = Stair("a"), Stair("s", lacks="is for riscv64"), Stair("b")
    stage = Stage(best, stranger, plain, retry=3600.0)
    best.fault = ModelError("out of memory")
    stage.see_until(until("b"))
    assert [(one.file, one.is_expected) for one in stage.climber.running.refused] == [("a", False), ("s", True)]
    stage.climber.close()


def test_one_whose_device_was_pulled_out_says_so_until_it_is_back() -> None:
    best, plain = Stair("a"), Stair("b")
    stage = Stage(best, plain)
    best.fault, best.lacks = ModelError("bus error"), "needs /dev/apex_0, which is not there"
    stage.see_until(lambda _: "needs /dev/apex_0" in str(stage.climber.running.refused))
    assert best.ways == ["as ever"]
    stage.see_until(lambda _: "needs /dev/apex_0" in str(stage.told))
    best.fault, best.lacks = None, ""
    stage.see_until(until("a"))
    assert best.ways == ["as ever", "as ever"], "it neither hung nor crashed"
    stage.climber.close()


def test_what_is_found_to_fall_short_in_the_first_answer_is_told_once() -> None:
    only = Stair("a")
    stage = Stage(only)
    only.open[0].running = replace(only.open[0].running, shortfalls=("the camera stretches its picture",))
    assert (stage.see(), stage.see()) == ("a", "a")
    assert stage.told == ["the camera stretches its picture"]
    stage.climber.close()


def test_without_anything_to_climb_to_there_is_no_thread() -> None:
    before = threading.active_count()
    stage = Stage(Stair("a"), Stair("b"))
    assert stage.see() == "a"
    assert threading.active_count() == before
    assert stage.climber.close()


def test_where_nothing_can_be_opened_in_this_process_any_more_the_pipeline_is_to_fail() -> None:
    only, may_end = Stair("a"), threading.Event()
    stage = Stage(only)
    only.fault = only.will_open = UnavailableError("did not answer within 3 s")
    for _ in range(MOST_WEDGED):
        thread = threading.Thread(target=may_end.wait, args=(WITHIN,), daemon=True)
        thread.start()
        stage.wedged.add(thread)
    assert stage.see() == ""
    with pytest.raises(ModelError, match="3 calls hang in their runtimes: it takes a new process to try again"):
        stage.climber.use(Eye.see)
    may_end.set()
    stage.climber.close()


def test_closed_in_the_middle_of_a_trial_it_leaves_nothing_open() -> None:
    best, plain = Stair("a"), Stair("b")
    stage = Stage(best, plain)
    best.fault = ModelError("out of memory")
    stage.see_until(until("b"))
    best.fault = None
    assert stage.climber.close()
    assert (best.open, plain.open) == ([], [])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the log has it
@pytest.mark.parametrize("lower", ["b", ""])
def test_a_trial_that_fails_as_nobody_foresaw_is_told_and_the_next_one_comes_all_the_same(lower: str) -> None:
    best = Stair("a")
    stage = Stage(*[best, Stair("b")][: 2 if lower else 1])
    best.fault, best.will_open = ModelError("out of memory"), ZeroDivisionError("nobody foresaw it")
    stage.see_until(lambda seen: seen == lower and len(best.ways) > 3)
    assert "failed in a way that nobody foresaw; the log has it" in str(stage.climber.running.troubles())
    best.fault = best.will_open = None
    stage.see_until(until("a"))
    assert stage.climber.close()


def test_what_has_passed_its_trial_takes_over_at_once_where_the_one_in_service_fails() -> None:
    best, plain = Stair("a"), Stair("b")
    stage = Stage(best, plain)
    best.fault = ModelError("out of memory")
    stage.see_until(until("b"))
    best.fault = None
    soon(lambda: stage.climber._wants_look, "a trial that waits for a frame")

    def fail_once_the_other_has_passed() -> None:
        soon(lambda: stage.climber._candidate is not None, "a trial that was passed")
        plain.fault = ModelError("out of memory, too")

    plain.meanwhile = fail_once_the_other_has_passed
    assert stage.see() == ""
    started = time.monotonic()
    assert stage.see() == "a"
    assert time.monotonic() - started < PATIENCE
    stage.climber.close()


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (manifest("mobilenet"), "a is another model now, 'mobilenet' (classify)"),
        (YOLOX.model_copy(update={"labels": YOLOX.labels[:-1]}), "another model now, 'yolox' (detect) with 79 labels"),
    ],
    ids=["task", "labels"],
)
def test_a_file_that_is_another_model_by_now_is_not_taken_for_the_one_that_was_started(
    other: ModelManifest, told: str
) -> None:
    only = Stair("a")
    stage = Stage(only)
    only.fault, only.manifest = ModelError("out of memory"), other
    stage.see_until(lambda _: told in str(stage.told))
    assert "restart edgecam to run it, or put 'yolox' back" in str(stage.told)
    only.fault, only.manifest = None, YOLOX
    stage.see_until(until("a"))
    assert only.open == [stage.climber._opened], "the stranger was closed"
    stage.climber.close()
