"""What every runtime promises, whatever it runs on."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.core.errors import EdgecamError, ModelError, UnsupportedError
from appliance.core.manifest import Signature
from appliance.core.registry import load
from appliance.inference.runtimes import NO_PLAN, RUN_BY_CAMERA, RUNTIMES, OpenedSession, Plan, Runtime
from tests.shared_data import SHARED
from tests.simulators import tiny_onnx, vendor_hailo_platform

TFLITE = SHARED / "models" / "mobilenet_v1_0.25_128_quant.tflite"
NAME = "/models/under-test"


@dataclass
class Rig:
    """One runtime, ready to be tested.

    Attributes:
        format: Of what it opens.
        model: A file that works.
        broken: One that is none.
        stack: Left when the test ends.
        plan: How to run it.
    """

    format: str
    model: bytes
    broken: bytes
    stack: ExitStack
    plan: Plan = NO_PLAN

    def runtime(self) -> Runtime:
        """Make the runtime."""
        made: Runtime = load(RUNTIMES, self.format, "the format")()
        return made

    def open(self) -> OpenedSession:
        """Open the file that works; it is closed when the test ends."""
        session = self.runtime().open(self.model, name=NAME, threads=1, plan=self.plan)
        self.stack.callback(session.close)
        return session


def onnx_rig(stack: ExitStack) -> Rig:
    answers = {"scores": np.arange(6, dtype=np.float32).reshape(1, 6), "boxes": np.ones((1, 6, 4), np.float32)}
    return Rig("onnx", tiny_onnx.model({"images": (1, 3, 32, 32)}, answers), b"\x00" * 64, stack)


def tflite_rig(stack: ExitStack) -> Rig:
    pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT is not installed: the extra litert")
    if not TFLITE.exists():
        pytest.skip(f"needs {TFLITE}")
    return Rig("tflite", TFLITE.read_bytes(), b"\x00" * 64, stack)


def hef_rig(stack: ExitStack) -> Rig:
    found = {0: [(0.1, 0.2, 0.3, 0.4, 0.9)], 2: [(0.0, 0.0, 1.0, 1.0, 0.7)]}
    machine = stack.enter_context(vendor_hailo_platform.installed(vendor_hailo_platform.Machine(found=found)))
    stack.callback(lambda: check_given_back(machine))
    outputs = [{"name": "net/nms", "classes": 3, "boxes": 5}, {"name": "net/map", "shape": [4, 4, 8]}]
    return Rig("hef", vendor_hailo_platform.hef(outputs=outputs), b"\x00" * 64, stack)


def check_given_back(machine: vendor_hailo_platform.Machine) -> None:
    assert (machine.devices, machine.networks) == ([], 0)


def rpk_rig(stack: ExitStack) -> Rig:
    """The camera has computed: what goes in are its tensors."""
    outputs = [{"shape": [1, 5, 4]}, {"shape": [1, 5]}]
    told = {"input": {"shape": [1, 32, 32, 3], "dtype": "uint8"}, "outputs": outputs}
    return Rig("rpk", b"9464" + bytes(60), b"\x00" * 64, stack, Plan(signature=Signature.model_validate(told)))


RIGS: list[Callable[[ExitStack], Rig]] = [onnx_rig, tflite_rig, hef_rig, rpk_rig]


@pytest.fixture(params=RIGS, ids=lambda rig: rig.__name__.removesuffix("_rig"))
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield request.param(stack)


def pictures(session: OpenedSession, seed: int = 1) -> dict[str, NDArray[np.float32 | np.uint8]]:
    random = np.random.default_rng(seed)
    made = {}
    is_in_camera = session.placements[0].provider == "imx500"
    for one in session.outputs if is_in_camera else session.inputs:
        assert None not in one.shape
        made[one.name] = random.integers(0, 256, [size or 0 for size in one.shape]).astype(one.dtype)
    return made


def test_every_runtime_that_is_known_is_tested() -> None:
    assert set(RUNTIMES) > RUN_BY_CAMERA
    assert {rig.__name__.removesuffix("_rig") for rig in RIGS} == set(RUNTIMES)


def test_answers_are_what_the_outputs_promise(rig: Rig) -> None:
    session = rig.open()
    answers = session.run(pictures(session))
    assert len(answers) == len(session.outputs) > 0
    for promised, answer in zip(session.outputs, answers, strict=True):
        assert promised.shape == answer.shape
        assert promised.dtype == answer.dtype
        assert math.isfinite(answer.sum())


def test_the_same_picture_has_the_same_answer(rig: Rig) -> None:
    session = rig.open()
    first, second = session.run(pictures(session)), session.run(pictures(session))
    for before, after in zip(first, second, strict=True):
        np.testing.assert_array_equal(before, after)


def test_an_answer_belongs_to_its_receiver(rig: Rig) -> None:
    session = rig.open()
    first = session.run(pictures(session))
    kept = [answer.copy() for answer in first]
    second = session.run(pictures(session, seed=2))
    for before, copy, after in zip(first, kept, second, strict=True):
        assert not np.shares_memory(before, after)
        np.testing.assert_array_equal(before, copy)


def test_a_picture_is_not_changed_and_read_during_the_call_only(rig: Rig) -> None:
    session = rig.open()
    given = pictures(session)
    kept = {name: value.copy() for name, value in given.items()}
    answers = [answer.copy() for answer in session.run(given)]
    assert_equal(given, kept)
    for value in given.values():
        value[...] = 0
    assert all(np.array_equal(one, other) for one, other in zip(session.run(kept), answers, strict=True))


def assert_equal(one: Mapping[str, NDArray[np.generic]], other: Mapping[str, NDArray[np.generic]]) -> None:
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name])


def test_two_sessions_do_not_mix(rig: Rig) -> None:
    first, second = rig.open(), rig.open()
    alone = [answer.copy() for answer in first.run(pictures(first))]
    second.run(pictures(second, seed=2))
    for before, after in zip(alone, first.run(pictures(first)), strict=True):
        np.testing.assert_array_equal(before, after)


def test_it_says_on_what_it_runs(rig: Rig) -> None:
    session = rig.open()
    assert session.placements
    assert all(one.provider and (one.nodes is None or one.nodes >= 0) for one in session.placements)
    assert session.shortfalls == ()


def test_an_input_that_it_does_not_have_is_a_model_error(rig: Rig) -> None:
    session = rig.open()
    with pytest.raises(ModelError):
        session.run({"of no such name": next(iter(pictures(session).values()))})


def test_a_file_that_is_none_is_refused_by_its_name_in_one_line(rig: Rig) -> None:
    for content in (rig.broken, b""):
        with pytest.raises((ModelError, UnsupportedError)) as caught:
            rig.runtime().open(content, name=NAME, threads=1, plan=rig.plan)
        assert NAME in str(caught.value)
        assert "\n" not in str(caught.value)


def test_closing_is_always_allowed_and_ends_it(rig: Rig) -> None:
    session = rig.open()
    given = pictures(session)
    session.run(given)
    session.close()
    session.close()
    with pytest.raises(EdgecamError):
        session.run(given)
