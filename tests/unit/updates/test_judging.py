"""Whether a candidate is as good as what it is to replace: told from few frames, and not from chance."""

import numpy as np
import pytest

from appliance.core.results import Detections
from appliance.updates.formats import Trial
from appliance.updates.judging import Comparison, Vitals, Watching
from appliance.updates.refusals import Code

TRIAL = Trial(agreement_percent=80, rate_percent=(60, 170), latency_percent=125, memory_percent=120)
BEFORE = Vitals(latency_ms=40.0, fps=10.0, memory_mb=120.0)


def objects(count: int, *, shift: float = 0.0, label: int = 0) -> Detections:
    boxes = np.array([[100.0 * n + shift, 0, 100.0 * n + 50 + shift, 50] for n in range(count)], np.float32)
    return Detections(boxes.reshape(-1, 4), np.full(count, 0.9, np.float32), np.full(count, label, np.int32))


def compared(active: Detections, candidate: Detections, frames: int = 20) -> Comparison:
    comparison = Comparison()
    for _ in range(frames):
        comparison.add(active, candidate)
    return comparison


@pytest.mark.parametrize(
    ("candidate", "code"),
    [
        (objects(4), None),
        (objects(4, shift=10.0), None),
        (objects(3), None),
        (objects(2), Code.BLIND),
        (objects(0), Code.BLIND),
        (objects(9), Code.FLOOD),
        (objects(4, shift=30.0), Code.DISAGREEMENT),
        (objects(4, label=1), Code.DISAGREEMENT),
    ],
)
def test_what_a_candidate_finds_beside_the_model_in_service_is_judged(candidate: Detections, code: Code | None) -> None:
    verdict = compared(objects(4), candidate).verdict(TRIAL)
    assert (verdict and verdict[0]) == code


def test_few_objects_condemn_nobody_but_a_flood_where_nothing_is_does() -> None:
    assert compared(objects(1), objects(0), frames=10).verdict(TRIAL) is None
    assert compared(objects(0), objects(0)).verdict(TRIAL) is None
    verdict = compared(objects(0), objects(3)).verdict(TRIAL)
    assert verdict is not None
    assert verdict[0] is Code.FLOOD


@pytest.mark.parametrize(
    ("now", "code"),
    [
        (Vitals(latency_ms=60.0, fps=10.0), Code.LATENCY),
        (Vitals(latency_ms=40.0, fps=7.0), Code.FRAME_RATE),
        (Vitals(fps=10.0, is_throttled=True), Code.THROTTLED),
    ],
)
def test_what_is_bad_for_long_enough_ends_a_trial_and_what_passes_does_not(now: Vitals, code: Code) -> None:
    watching = Watching(BEFORE, TRIAL)
    assert watching.verdict(now, 0.0) is None
    assert watching.verdict(Vitals(latency_ms=45.0, fps=9.5), 59.0) is None
    assert watching.verdict(now, 60.0) is None
    verdict = watching.verdict(now, 121.0)
    assert verdict is not None
    assert verdict[0] is code


@pytest.mark.parametrize(
    ("now", "code"),
    [
        (Vitals(failure="gave numbers that are not finite"), Code.NUMBERS),
        (Vitals(failure="did not answer within 5 s", fault=Code.HANG), Code.HANG),
        (Vitals(failure="its process was ended by SIGSEGV", fault=Code.CRASH), Code.CRASH),
        (Vitals(failure="its process was ended by SIGKILL", fault=Code.MEMORY), Code.MEMORY),
        (Vitals(fps=10.0, memory_mb=170.0), Code.MEMORY),
    ],
)
def test_what_cannot_pass_ends_a_trial_at_once(now: Vitals, code: Code) -> None:
    verdict = Watching(BEFORE, TRIAL).verdict(now, 0.0)
    assert verdict is not None
    assert verdict[0] is code


def test_where_nothing_is_known_of_before_nothing_is_compared() -> None:
    watching = Watching(Vitals(), TRIAL)
    for at in range(0, 1000, 10):
        assert watching.verdict(Vitals(latency_ms=900.0, fps=0.1, memory_mb=900.0), at) is None


def test_what_somebody_commanded_to_be_passed_over_is_no_lower_frame_rate() -> None:
    watching = Watching(BEFORE, TRIAL)
    one = Vitals(latency_ms=40.0, fps=4.0, memory_mb=120.0, idle=frozenset({"yard"}))
    none = Vitals(fps=0.0, memory_mb=120.0, idle=frozenset({"door", "yard"}), is_looking=False)
    assert [watching.verdict(now, at) for at in (0.0, 100.0, 200.0) for now in (one, none)] == [None] * 6
    broken = Vitals(failure="it crashed", is_looking=False)
    assert watching.verdict(broken, 300.0) is not None
