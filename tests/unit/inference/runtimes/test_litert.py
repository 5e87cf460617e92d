"""The LiteRT runtime's seam, against the real LiteRT where it is installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from appliance.core.errors import ModelError, UnsupportedError
from appliance.core.providers import Delegate
from appliance.inference.runtimes import Plan
from appliance.inference.runtimes.litert import LiteRtRuntime, LiteRtSession, _Tensor
from tests.shared_data import SHARED, needs

MODELS = SHARED / "models"
V1 = "mobilenet_v1_0.25_128_quant.tflite"
DEEPLAB = "deeplabv3_mnv2_dm05_pascal_quant.tflite"
WHOLE = [V1, "mobilenet_v2_1.0_224_quant.tflite", DEEPLAB, "movenet_single_pose_lightning_ptq.tflite"]
DELEGATE_SOURCE = Path(__file__).resolve().parents[3] / "simulators" / "litert_delegate.c"


@pytest.fixture
def runtime() -> LiteRtRuntime:
    pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT is not installed: the extra litert")
    return LiteRtRuntime()


def opened(runtime: LiteRtRuntime, file: str, delegate: Delegate | None = None) -> LiteRtSession:
    return runtime.open((MODELS / file).read_bytes(), name=f"/m/{file}", threads=1, plan=Plan(delegate=delegate))


def picture(session: LiteRtSession, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {spec.name: rng.integers(0, 256, spec.shape).astype(spec.dtype) for spec in session.inputs}


def by_hand(file: str, inputs: dict[str, np.ndarray], kernels: str) -> list[np.ndarray]:
    """Run a file with the vendor's interpreter, and work out quantized outputs by the formula of its specification."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(str(MODELS / file), experimental_op_resolver_type=OpResolverType[kernels])
    interpreter.allocate_tensors()
    for one in interpreter.get_input_details():
        interpreter.set_tensor(one["index"], inputs[one["name"]])
    interpreter.invoke()
    answers = []
    for one in interpreter.get_output_details():
        (scale, zero), answer = one["quantization"], interpreter.get_tensor(one["index"])
        answers.append((answer.astype(np.float64) - zero) * scale if scale else answer)
    return answers


def detail(dtype: type, scales: list[float], zeros: list[int], axis: int = 0) -> dict[str, object]:
    quantization = {"scales": np.array(scales), "zero_points": np.array(zeros), "quantized_dimension": axis}
    return {"index": 3, "name": "x", "shape": [1, 2], "dtype": dtype, "quantization_parameters": quantization}


def test_without_litert_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(UnsupportedError, match=r"needs LiteRT, .* pip install 'edgecam\[litert\]'"):
        LiteRtRuntime()


def test_float_becomes_integers_by_scale_and_zero_point_rounded_and_clipped() -> None:
    tensor = _Tensor.of(detail(np.int8, [0.5], [-10]))
    given = np.array([[0.0, 0.26], [-100.0, 100.0]], np.float32)
    assert tensor.quantize(given).tolist() == [[-10, -9], [-128, 127]]
    assert tensor.quantize(given).dtype == np.int8
    raw = np.array([[3, 4]], np.int8)
    assert tensor.quantize(raw) is raw


def test_integers_become_float_by_scale_and_zero_point_for_each_channel_too() -> None:
    one = _Tensor.of(detail(np.uint8, [0.25], [128]))
    assert one.dequantize(np.array([[0, 129]], np.uint8)).tolist() == [[-32.0, 0.25]]
    each = _Tensor.of(detail(np.uint8, [0.25, 2.0], [0, 1], axis=1))
    assert each.dequantize(np.array([[4, 4]], np.uint8)).tolist() == [[1.0, 6.0]]


def test_integers_without_a_scale_are_what_they_are() -> None:
    tensor = _Tensor.of(detail(np.int64, [], []))
    labels = np.array([[15, 0]])
    assert tensor.dequantize(labels) is labels
    assert not tensor.spec.takes_float


@pytest.mark.parametrize("file", WHOLE)
@needs("models")
def test_it_answers_as_the_vendors_interpreter_does(runtime: LiteRtRuntime, file: str) -> None:
    session = opened(runtime, file)
    inputs = picture(session)
    for ours, theirs in zip(session.run(inputs), by_hand(file, inputs, "AUTO"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("file", [V1, "mobilenet_v2_1.0_224_quant.tflite", DEEPLAB])
@needs("models")
def test_it_answers_as_the_vendors_reference_kernels_do(runtime: LiteRtRuntime, file: str) -> None:
    session = opened(runtime, file)
    inputs = picture(session)
    ((ours,), (theirs,)) = session.run(inputs), by_hand(file, inputs, "BUILTIN_REF")
    if ours.dtype == np.int64:  # a label map: kernels that round differently move some borders
        assert np.mean(ours == theirs) > 0.97
    else:
        np.testing.assert_allclose(ours, theirs, atol=0.02)


@needs("models")
def test_float_input_gives_what_the_same_picture_in_bytes_gives(runtime: LiteRtRuntime) -> None:
    session = opened(runtime, V1)
    (spec,) = session.inputs
    pixels = picture(session)[spec.name]
    scale, zero = 0.0078125, 128  # of the file
    normalised = ((pixels.astype(np.float32) - zero) * scale).astype(np.float32)
    np.testing.assert_array_equal(session.run({spec.name: normalised})[0], session.run({spec.name: pixels})[0])


@needs("models")
def test_outputs_are_the_callers_own(runtime: LiteRtRuntime) -> None:
    session = opened(runtime, DEEPLAB)
    first = session.run(picture(session, 1))[0]
    kept = first.copy()
    session.run({spec.name: np.zeros(spec.shape, spec.dtype) for spec in session.inputs})
    np.testing.assert_array_equal(first, kept)


@needs("models")
def test_it_tells_what_xnnpack_has_taken_and_what_is_left(runtime: LiteRtRuntime) -> None:
    session = opened(runtime, V1)
    assert {one.provider: one.nodes for one in session.placements} == {"xnnpack": 29, "cpu": 2}  # of the file's 31
    assert session.shortfalls == ()


@needs("models/bad_custom_op.tflite")
def test_an_operator_that_nobody_knows_is_one_clear_line(runtime: LiteRtRuntime) -> None:
    with pytest.raises(
        ModelError, match=r"^/m/bad_custom_op\.tflite is no model .* custom op: fake-op-double\.[^\n]*$"
    ):
        opened(runtime, "bad_custom_op.tflite")


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x1c\0\0\0TFL3" + bytes(100)])
def test_what_is_no_model_is_one_line_with_a_next_step(runtime: LiteRtRuntime, content: bytes) -> None:
    with pytest.raises(ModelError, match=r"^/m/door\.tflite is .*opy or convert it again$"):
        runtime.open(content, name="/m/door.tflite", threads=1)


@needs("models")
def test_a_wrong_input_is_a_model_error(runtime: LiteRtRuntime) -> None:
    session = opened(runtime, V1)
    with pytest.raises(ModelError, match="failed to run: "):
        session.run({"input": np.zeros((1, 3, 128, 128), np.uint8)})
    with pytest.raises(ModelError, match="has no input 'picture'; it has input"):
        session.run({"picture": np.zeros((1, 128, 128, 3), np.uint8)})
    session.close()
    session.close()
    with pytest.raises(ModelError, match="was closed"):
        session.run({})


@needs("models")
def test_a_delegate_that_is_not_here_is_told_and_the_cpu_runs_the_file(runtime: LiteRtRuntime) -> None:
    session = opened(runtime, V1, Delegate(library="libedgetpu.so.1", options={"device": "usb"}))
    (told,) = session.shortfalls
    assert told.startswith("delegate libedgetpu.so.1 is not here: ")
    assert session.placements[0].provider == "xnnpack"
    (told,) = opened(runtime, V1, Delegate(library="libc.so.6", options={})).shortfalls
    assert told == "libc.so.6 is a library, but no delegate of LiteRT"


@needs("models")
def test_a_file_that_needs_its_delegate_is_refused_without_it(runtime: LiteRtRuntime) -> None:
    with pytest.raises(UnsupportedError, match=r"^nothing that may run /m/mobile\S+ does so here: delegate libedgetpu"):
        opened(runtime, V1, Delegate(library="libedgetpu.so.1", options={}, is_required=True))
    with pytest.raises(UnsupportedError, match=r"is not here: .*; without it: Encountered unresolved custom op"):
        opened(runtime, "bad_custom_op.tflite", Delegate(library="libedgetpu.so.1", options={}))


@pytest.fixture
def library(tmp_path: Path) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    made = tmp_path / "libtiny.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, DELEGATE_SOURCE], check=True, timeout=60)
    return made


@needs("models")
def test_a_delegate_that_takes_nothing_is_told(runtime: LiteRtRuntime, library: Path) -> None:
    session = opened(runtime, V1, Delegate(library=str(library), options={}))
    assert session.shortfalls == (f"delegate {library} took none of the network's nodes",)
    with pytest.raises(UnsupportedError, match="took none"):
        opened(runtime, V1, Delegate(library=str(library), options={}, is_required=True))


@needs("models")
def test_a_delegate_without_its_device_is_told_in_the_vendors_words(runtime: LiteRtRuntime, library: Path) -> None:
    session = opened(runtime, V1, Delegate(library=str(library), options={"fail": "no device on the bus"}))
    (told,) = session.shortfalls
    assert told.startswith(f"delegate {library} could not be started: ")
    assert told.endswith("no device on the bus")
