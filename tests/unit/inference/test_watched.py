"""No call into a runtime is waited for without end, and what hangs is counted and tidied up when it comes back."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.core.errors import ModelError, UnavailableError
from appliance.core.manifest import TensorSpec
from appliance.core.providers import Delegate, ProviderName, default_provider
from appliance.inference.runtimes import NO_PLAN, Placement, Plan
from appliance.inference.watch import MOST_WEDGED, Isolate, Watch, Wedged
from appliance.inference.watched import BUILDING, OPENING, WatchedSession, is_isolated, open_watched, opening_time
from tests.simulators import tiny_onnx
from tests.simulators.faulty_runtime import RUNTIMES, faulty

SOUND = tiny_onnx.model({"images": (1, 3, 8, 8)}, {"output": np.ones((1, 4), np.float32)})
PICTURE = {"images": np.zeros((1, 3, 8, 8), np.float32)}


class Slow:
    """A session that answers when it is let."""

    inputs = outputs = (TensorSpec(name="x", shape=(1,), dtype="float32"),)
    placements = (Placement("cpu", 1),)
    shortfalls = ()

    def __init__(self) -> None:
        self.may_answer, self.was_closed = threading.Event(), threading.Event()
        self.threads: list[str] = []

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        self.threads.append(threading.current_thread().name)
        assert self.may_answer.wait(20)
        return list(inputs.values())

    def close(self) -> None:
        self.threads.append(threading.current_thread().name)
        self.was_closed.set()


def watch(wedged: Wedged, *, timeout: float = 0.05, isolate: Isolate = "never") -> Watch:
    return Watch(timeout, None, isolate, wedged)


def watched(slow: Slow, wedged: Wedged) -> WatchedSession:
    """Give a session that has answered once, and does not do so again until it is let."""
    slow.may_answer.set()
    session = WatchedSession(lambda: slow, name="/models/m.onnx", within=20.0, watch=watch(wedged))
    session.run({})
    slow.may_answer.clear()
    return session


def gone(wedged: Wedged) -> bool:
    """Tell whether no call hangs any more, soon."""
    deadline, pause = time.monotonic() + 10, threading.Event()
    while wedged.count and time.monotonic() < deadline:
        pause.wait(0.01)
    return wedged.count == 0


def test_a_call_that_does_not_come_back_is_left_and_counted_until_it_does_and_then_it_is_closed() -> None:
    slow, wedged = Slow(), Wedged()
    session = watched(slow, wedged)
    with pytest.raises(UnavailableError, match=r"/models/m\.onnx did not answer within 0\.05 s: its runtime hangs"):
        session.run({"x": np.zeros(1, np.float32)})
    assert wedged.count == 1
    session.close()
    with pytest.raises(ModelError, match="was closed"):
        session.run({})
    assert not slow.was_closed.is_set()
    slow.may_answer.set()
    assert slow.was_closed.wait(10)
    assert gone(wedged)


def test_who_is_to_end_does_not_wait_for_what_hangs_and_says_so() -> None:
    slow, wedged, is_ending = Slow(), Wedged(), threading.Event()
    how = Watch(60.0, None, "never", wedged, is_ending=is_ending.is_set)
    session = WatchedSession(lambda: slow, name="m", within=60.0, watch=how)
    threading.Timer(0.1, is_ending.set).start()
    started = time.monotonic()
    with pytest.raises(UnavailableError, match="m was not waited for: Edgecam is ending"):
        session.run({})
    assert time.monotonic() - started < 20.0
    slow.may_answer.set()
    assert gone(wedged)


def test_how_long_a_file_may_take_is_told_before_it_is_opened() -> None:
    asked: list[float] = []
    how = Watch(60.0, 7.0, "never", Wedged(), on_open=asked.append)
    open_watched(RUNTIMES, "onnx", SOUND, name="m", threads=1, plan=NO_PLAN, watch=how).close()
    assert asked == [14.0], "loading, and the first answer"


def test_the_first_answer_may_take_as_long_as_opening_and_the_next_may_not() -> None:
    slow, wedged = Slow(), Wedged()
    session = WatchedSession(lambda: slow, name="m", within=20.0, watch=watch(wedged))
    threading.Timer(0.2, slow.may_answer.set).start()
    session.run({})
    slow.may_answer.clear()
    with pytest.raises(UnavailableError, match=r"within 0\.05 s"):
        session.run({})
    slow.may_answer.set()


def test_all_is_done_in_one_thread_that_is_not_the_callers() -> None:
    slow, wedged = Slow(), Wedged()
    session = watched(slow, wedged)
    session.close()
    session.close()
    assert set(slow.threads) == {"model:m.onnx"}
    assert len(slow.threads) == 2
    assert wedged.count == 0


def test_a_model_that_takes_too_long_to_load_is_closed_when_it_is_there_after_all() -> None:
    slow, wedged, may_load = Slow(), Wedged(), threading.Event()

    def load() -> Slow:
        assert may_load.wait(20)
        return slow

    with pytest.raises(UnavailableError, match=r"m was not loaded within 0\.05 s"):
        WatchedSession(load, name="m", within=0.05, watch=watch(wedged))
    assert wedged.count == 1
    may_load.set()
    assert slow.was_closed.wait(10)
    assert gone(wedged)


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)  # the log has it: that is the promise
def test_what_nobody_foresaw_is_an_error_of_ours_and_no_wait() -> None:
    session = open_watched(
        RUNTIMES,
        "onnx",
        faulty("unforeseen", SOUND),
        name="m",
        threads=1,
        plan=NO_PLAN,
        watch=watch(Wedged(), timeout=20),
    )
    with pytest.raises(ModelError, match="failed in a way that nobody foresaw; the log has it"):
        session.run(PICTURE)
    with pytest.raises(ModelError, match="was closed"):
        session.run(PICTURE)
    for thread in [one for one in threading.enumerate() if one.name == "model:m"]:
        thread.join(10)  # or what it says in dying would be held against the next test


def test_when_too_many_calls_hang_nothing_more_is_opened_and_the_owner_is_told_what_to_do() -> None:
    wedged, sessions = Wedged(), [Slow() for _ in range(MOST_WEDGED)]
    for slow in sessions:
        session = watched(slow, wedged)
        with pytest.raises(UnavailableError):
            session.run({})
    assert wedged.is_full
    with pytest.raises(UnavailableError, match="3 earlier calls still hang in their runtimes; restart edgecam"):
        open_watched(RUNTIMES, "onnx", SOUND, name="m", threads=1, plan=NO_PLAN, watch=watch(wedged))
    for slow in sessions:
        slow.may_answer.set()
    assert gone(wedged)
    opened = open_watched(RUNTIMES, "onnx", SOUND, name="m", threads=1, plan=NO_PLAN, watch=watch(wedged, timeout=20))
    assert opened.run(PICTURE)[0].shape == (1, 4)
    opened.close()


def providers(*names: ProviderName) -> Plan:
    return Plan(providers=tuple(default_provider(name) for name in names))


@pytest.mark.parametrize(
    ("isolate", "kind", "plan", "expected"),
    [
        ("auto", "onnx", NO_PLAN, "here"),
        ("auto", "onnx", providers("xnnpack", "acl", "coreml", "cpu"), "here"),
        ("auto", "onnx", providers("tensorrt", "cuda", "cpu"), "apart"),
        ("auto", "onnx", providers("openvino", "cpu"), "apart"),
        ("auto", "onnx", providers("qnn"), "apart"),
        ("auto", "tflite", NO_PLAN, "here"),
        ("auto", "tflite", Plan(delegate=Delegate(library="libedgetpu.so.1", options={})), "apart"),
        ("auto", "hef", NO_PLAN, "apart"),
        ("always", "rpk", NO_PLAN, "here"),
        ("never", "hef", providers("cuda"), "here"),
        ("always", "onnx", NO_PLAN, "apart"),
    ],
)
def test_vendors_code_is_isolated_unless_the_owner_says_otherwise(
    isolate: Isolate, kind: str, plan: Plan, expected: str
) -> None:
    assert ("here", "apart")[is_isolated(isolate, kind, plan)] == expected


def test_building_an_engine_has_more_time_than_opening_a_file() -> None:
    assert opening_time(watch(Wedged()), NO_PLAN) == OPENING
    assert opening_time(watch(Wedged()), providers("tensorrt", "cpu")) == BUILDING
    assert opening_time(Watch(1.0, 7.0, "auto", Wedged()), providers("tensorrt")) == 7.0
