"""What kind of fault a model shows is told by how its runtime ends: reports name it, and each has a code of its own."""

import numpy as np
import pytest

from appliance.core.errors import EdgecamError, ModelError, UnavailableError
from appliance.inference.faults import Fault, OutOfMemoryError, failed, fault_of
from appliance.inference.runtimes import NO_PLAN
from appliance.inference.watch import Watch, Wedged
from appliance.inference.watched import open_watched
from tests.simulators import faulty_runtime, tiny_onnx

SOUND = tiny_onnx.model({"images": (1, 3, 8, 8)}, {"output": np.zeros((1, 12, 5), np.float32)})
PICTURE = {"images": np.zeros((1, 3, 8, 8), np.float32)}


def fails(fault: str, *, is_isolated: bool) -> EdgecamError:
    """Open a model with a fault, run it, and give what comes of that."""
    watch = Watch(2.0, 60.0, "always" if is_isolated else "never", Wedged())
    table, model = faulty_runtime.RUNTIMES, faulty_runtime.faulty(fault, SOUND)
    session = open_watched(table, "onnx", model, name="m.onnx", threads=1, plan=NO_PLAN, watch=watch)
    assert session.is_isolated is is_isolated
    try:
        with pytest.raises(EdgecamError) as raised:
            session.run(PICTURE)
    finally:
        session.close()
    return raised.value


@pytest.mark.parametrize(
    ("word", "fault"),
    [("segfault", Fault.CRASH), ("kill", Fault.MEMORY), ("starved", Fault.MEMORY), ("count", Fault.NUMBERS)],
)
def test_the_end_of_a_process_tells_what_kind_of_fault_it_was(word: str, fault: Fault) -> None:
    assert fault_of(fails(word, is_isolated=True)) is fault


def test_a_call_that_does_not_come_back_is_a_hang_wherever_it_was_made() -> None:
    assert fault_of(fails("hang", is_isolated=True)) is Fault.HANG


def test_what_an_isolated_session_cannot_do_is_told_as_it_is_here() -> None:
    assert isinstance(fails("starved", is_isolated=False), OutOfMemoryError)
    assert fault_of(fails("error", is_isolated=False)) is Fault.NUMBERS


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("bfc_arena.cc:360 Failed to allocate memory for requested buffer of size 8589934592", OutOfMemoryError),
        ("std::bad_alloc", OutOfMemoryError),
        ("indices element out of data bounds", ModelError),
    ],
)
def test_what_a_runtime_says_tells_whether_memory_was_the_matter(reason: str, kind: type[ModelError]) -> None:
    assert type(failed(f"m.onnx failed to run: {reason}", reason)) is kind


def test_any_other_end_of_a_process_is_a_crash() -> None:
    assert fault_of(UnavailableError("its process ended with status 1")) is Fault.CRASH
