"""A session in a process of its own: the same answers, and nothing the child does harms us."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import EdgecamError, ModelError, UnavailableError, UnsupportedError
from appliance.core.manifest import TensorSpec
from appliance.core.providers import default_provider
from appliance.inference.isolated import IsolatedSession, child_environment
from appliance.inference.runtimes import NO_PLAN, Plan
from appliance.inference.runtimes import RUNTIMES as REAL_RUNTIMES
from appliance.inference.runtimes.onnx import OnnxRuntime
from appliance.inference.watch import Watch, Wedged
from appliance.inference.wire import MOST_TENSOR, Opened, Ran, places, read_answer
from tests.simulators import tiny_onnx
from tests.simulators.faulty_runtime import RUNTIMES, faulty

ANSWER = np.arange(60, dtype=np.float32).reshape(1, 12, 5)
SOUND = tiny_onnx.model({"images": (1, 3, 8, 8)}, {"output": ANSWER, "more": ANSWER[:, :, :2] * -1})
PICTURE = {"images": np.zeros((1, 3, 8, 8), np.float32)}


def watch(timeout: float = 20.0) -> Watch:
    return Watch(timeout, 60.0, "always", Wedged())


def opened(model: bytes, *, plan: Plan = NO_PLAN, timeout: float = 20.0, within: float = 60.0) -> IsolatedSession:
    return IsolatedSession(
        RUNTIMES, "onnx", model, name="/models/m.onnx", threads=1, plan=plan, within=within, watch=watch(timeout)
    )


def has_ended(pid: int) -> bool:
    """Tell whether a process is gone, and reaped: a zombie still has its folder."""
    return not Path(f"/proc/{pid}").exists()


def is_dead(pid: int) -> bool:
    """Tell whether a process is gone, or dead and not reaped, as in a container where we come first."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def wait(question: Callable[[], bool], within: float = 20.0) -> bool:
    """Ask until the answer is yes."""
    deadline, pause = time.monotonic() + within, threading.Event()
    while not (answer := question()) and time.monotonic() < deadline:
        pause.wait(0.01)
    return answer


def children() -> set[int]:
    found = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found |= {int(pid) for pid in (task / "children").read_text().split()}
        except FileNotFoundError:  # a thread that has ended meanwhile
            continue
    return found


def test_a_child_gives_what_the_same_session_gives_here_and_tells_the_same_of_itself() -> None:
    plan = Plan(providers=(default_provider("acl"), default_provider("cpu")))
    here = OnnxRuntime().open(SOUND, name="/models/m.onnx", threads=1, plan=plan)
    apart = opened(SOUND, plan=plan)
    try:
        assert (apart.inputs, apart.outputs) == (here.inputs, here.outputs)
        assert (apart.placements, apart.shortfalls) == (here.placements, tuple(here.shortfalls))
        for _ in range(2):
            for ours, theirs in zip(here.run(PICTURE), apart.run(PICTURE), strict=True):
                assert ours.dtype == theirs.dtype
                np.testing.assert_array_equal(ours, theirs)
    finally:
        apart.close()


def test_outputs_are_the_callers_own_and_what_is_closed_is_gone() -> None:
    before = children()
    session = opened(SOUND)
    (child,) = children() - before
    first = session.run(PICTURE)[0]
    first[...] = 7.0
    np.testing.assert_array_equal(session.run(PICTURE)[0], ANSWER)
    session.close()
    session.close()
    assert wait(lambda: has_ended(child))
    with pytest.raises(UnavailableError, match=r"/models/m\.onnx: its process"):
        session.run(PICTURE)


def test_inputs_and_outputs_whose_size_the_file_leaves_open_go_through() -> None:
    with_open_size = tiny_onnx.model({"images": ("n", 3, "h", 8)}, {"output": ANSWER})
    session = opened(with_open_size)
    try:
        for height in (8, 64):
            np.testing.assert_array_equal(session.run({"images": np.ones((2, 3, height, 8), np.float32)})[0], ANSWER)
    finally:
        session.close()


@pytest.mark.parametrize(
    ("fault", "error", "why"),
    [
        ("error", ModelError, "failed to run: out of memory"),
        ("segfault", UnavailableError, "its process was ended by SIGSEGV"),
        ("unforeseen", UnavailableError, "its process ended with status 1; the log may say why"),
        ("shape", ModelError, r"answered nonsense.*float32\[1, 11, 5\] for output"),
        ("dtype", ModelError, "answered nonsense|larger than was promised"),
        ("count", ModelError, "answered nonsense.*1 outputs for 2"),
        ("garbage", ModelError, "answered nonsense.*Invalid JSON"),
        ("flood", ModelError, "answered nonsense.*more than 65536 bytes"),
        ("stale", ModelError, "answered nonsense.*an answer to request 1 in place of 4"),
        ("hang", UnavailableError, r"did not answer within 0\.5 s: its process hung, and was ended"),
    ],
)
def test_what_goes_wrong_in_the_child_is_an_error_here_and_the_child_leaves_nothing_behind(
    tmp_path: Path, fault: str, error: type[Exception], why: str
) -> None:
    before, word = children(), tmp_path / "fault"
    session = opened(faulty(f"@{word}", SOUND), timeout=0.5)
    (child,) = children() - before
    session.run(PICTURE)
    word.write_text(fault)
    with pytest.raises(error, match=why):
        session.run(PICTURE)
    session.close()
    assert wait(lambda: has_ended(child))


def test_a_child_cannot_cut_off_the_memory_that_we_are_about_to_look_at() -> None:
    session = opened(faulty("shrink", SOUND))  # where it can, whoever looks next is ended by SIGBUS
    try:
        np.testing.assert_array_equal(session.run(PICTURE)[0], ANSWER)
    finally:
        session.close()


@pytest.mark.parametrize(
    ("model", "error", "why"),
    [
        (faulty("broken", SOUND), ModelError, "is broken"),
        (faulty("unsupported", SOUND), UnsupportedError, "nothing that may run"),
        (SOUND[:-9], ModelError, "is no model that ONNX Runtime can load"),
    ],
    ids=["broken", "unsupported", "cut off"],
)
def test_a_file_that_cannot_be_opened_is_told_as_ever(model: bytes, error: type[Exception], why: str) -> None:
    before = children()
    with pytest.raises(error, match=why):
        opened(model)
    assert wait(lambda: children() <= before)


def test_a_child_that_is_not_ready_in_time_is_ended() -> None:
    before = children()
    with pytest.raises(UnavailableError, match=r"did not answer within 0\.01 s"):
        opened(SOUND, within=0.01)
    assert wait(lambda: children() <= before)


def test_who_is_to_end_does_not_wait_for_a_child_that_hangs_and_ends_it() -> None:
    before, is_ending = children(), threading.Event()
    how = Watch(60.0, 60.0, "always", Wedged(), is_ending=is_ending.is_set)
    session = IsolatedSession(
        RUNTIMES, "onnx", faulty("hang", SOUND), name="m", threads=1, plan=NO_PLAN, within=60.0, watch=how
    )
    threading.Timer(0.1, is_ending.set).start()
    started = time.monotonic()
    with pytest.raises(UnavailableError, match="m was not waited for: Edgecam is ending"):
        session.run(PICTURE)
    assert time.monotonic() - started < 20.0
    assert wait(lambda: children() <= before)


def test_an_input_that_the_file_has_not_or_that_is_too_large_is_refused_here() -> None:
    session = opened(SOUND)
    try:
        with pytest.raises(ModelError, match=r"has no input 'picture'; it has images"):
            session.run({"picture": PICTURE["images"]})
        with pytest.raises(ModelError, match=r"needs 7680000 bytes and has 768"):
            session.run({"images": np.zeros((1, 3, 800, 800), np.float32)})
        np.testing.assert_array_equal(session.run(PICTURE)[0], ANSWER)
    finally:
        session.close()


PARENT = """
import sys
from pathlib import Path
from tests.unit.inference.test_isolated import PICTURE, SOUND, children, faulty, opened

session = opened(faulty("hang", SOUND))
Path(sys.argv[1]).write_text(str(max(children())))
session.run(PICTURE)
"""


def test_a_child_dies_with_its_parent_even_in_the_middle_of_a_call(tmp_path: Path) -> None:
    told = tmp_path / "child"
    # started anew: a fork of this process, which has threads, could wait for ever for what one of them held
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(told)], env=environment)
    try:
        assert wait(lambda: told.exists() and told.read_text() != "", within=60.0)
        child = int(told.read_text())
        assert "isolated_child" in Path(f"/proc/{child}/cmdline").read_text()
    finally:
        parent.kill()
        parent.wait(20.0)
    assert wait(lambda: is_dead(child))


def test_signals_to_the_whole_service_do_not_end_the_child_before_its_parent() -> None:
    before = children()
    session = opened(SOUND)
    (child,) = children() - before
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(child, number)
        np.testing.assert_array_equal(session.run(PICTURE)[0], ANSWER)
    finally:
        session.close()


def test_a_child_gets_no_more_of_the_environment_than_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/edgecam.service")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setenv("SOME_PASSWORD", "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    before = children()
    session = opened(SOUND)
    try:
        (child,) = children() - before
        seen = Path(f"/proc/{child}/environ").read_bytes().decode().split("\0")
    finally:
        session.close()
    names = {one.partition("=")[0] for one in seen if one}
    assert "CUDA_VISIBLE_DEVICES" in names
    assert not names & {"CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "SOME_PASSWORD", "HOME"}
    assert child_environment({"A": "b"}, ["", "/x"]) == {"PYTHONPATH": f"{Path.cwd()}:/x"}


def test_a_child_loads_no_more_than_the_runtime_needs() -> None:
    before = children()
    name = "/models/m.onnx"
    session = IsolatedSession(
        REAL_RUNTIMES, "onnx", SOUND, name=name, threads=1, plan=NO_PLAN, within=60.0, watch=watch()
    )
    try:
        session.run(PICTURE)
        (child,) = children() - before
        libraries = Path(f"/proc/{child}/maps").read_text()
    finally:
        session.close()
    assert "onnxruntime" in libraries
    assert not re.findall(r"cv2|paho|torch|sqlite", libraries)


SPEC = {"name": "a", "shape": [1, None], "dtype": "float32"}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"inputs": [SPEC], "outputs": [], "placements": [], "shortfalls": []}, "outputs: "),
        ({"inputs": [SPEC] * 65, "outputs": [SPEC], "placements": [], "shortfalls": []}, "inputs: "),
        ({"inputs": [SPEC | {"dtype": "object"}], "outputs": [SPEC], "placements": [], "shortfalls": []}, "dtype: "),
        ({"inputs": [SPEC | {"shape": [1] * 9}], "outputs": [SPEC], "placements": [], "shortfalls": []}, "shape: "),
        ({"inputs": [SPEC | {"shape": [-1]}], "outputs": [SPEC], "placements": [], "shortfalls": []}, "shape"),
        ({"inputs": [SPEC], "outputs": [SPEC], "placements": [], "shortfalls": [], "more": 1}, "more: "),
        ({}, "inputs: "),
        ({"failed": "config", "why": "no"}, "failed: "),
    ],
)
def test_what_a_child_says_is_bounded(answer: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read_answer(json.dumps({"serial": 1, "answer": answer}).encode(), 1, Opened)


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["outputs", "shape"]), inner),
        max_leaves=8,
    ).map(lambda value: json.dumps({"serial": 3, "answer": value}).encode())
)
def test_whatever_a_child_says_is_an_answer_or_an_error_of_ours(data: bytes) -> None:
    with contextlib.suppress(ValueError, EdgecamError):  # what the parent expects
        assert len(read_answer(data, 3, Ran).outputs) <= 64


def test_tensors_lie_apart_and_none_is_larger_than_any_model_has() -> None:
    picture = TensorSpec(name="i", shape=(1, 3, 5, 5), dtype="uint8", takes_float=True)
    open_size = TensorSpec(name="o", shape=(None, 7), dtype="float32")
    (into,), (out_of,), size = places([picture], [open_size])
    assert (into.start, into.room) == (0, 300)
    assert out_of.start == 320
    assert size == out_of.start + out_of.room
    assert out_of.refusal((10, 7), "float32") == ""
    assert out_of.refusal((1 << 20, 7), "float32").startswith("float32[1048576, 7] needs 29360128 bytes")
    with pytest.raises(ValueError, match="more than 256 MiB"):
        places([TensorSpec(name="i", shape=(MOST_TENSOR,), dtype="float32")], [])
