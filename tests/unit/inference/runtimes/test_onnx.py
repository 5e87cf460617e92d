"""The ONNX runtime's seam: what goes in, what comes out, what is told when it cannot."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import ModelError
from appliance.inference.runtimes.onnx import OnnxRuntime, sums_saturate
from appliance.inference.runtimes.onnx_file import varint, without_weight_inputs
from tests.shared_data import SHARED, needs
from tests.simulators import tiny_onnx

ANSWER = np.arange(6, dtype=np.float32).reshape(1, 6)
PICODET = SHARED / "models" / "picodet_s_416_coco80.onnx"


def tiny(*, weights_are_inputs: bool = False) -> bytes:
    return tiny_onnx.model(
        {"x": (1, 3, "h", 32)}, {"y": ANSWER, "z": ANSWER[:, :2]}, weights_are_inputs=weights_are_inputs
    )


def test_a_session_tells_its_tensors_and_answers_in_the_order_of_its_outputs() -> None:
    session = OnnxRuntime().open(tiny(), name="tiny", threads=1)
    assert [str(spec) for spec in session.inputs] == ["x float32[1,3,?,32]"]
    assert [str(spec) for spec in session.outputs] == ["y float32[1,6]", "z float32[1,2]"]
    y, z = session.run({"x": np.zeros((1, 3, 8, 32), np.float32)})
    np.testing.assert_array_equal(y, ANSWER)
    np.testing.assert_array_equal(z, ANSWER[:, :2])


@pytest.mark.parametrize(
    ("number", "written"), [(0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (150, b"\x96\x01"), (300, b"\xac\x02")]
)
def test_numbers_are_written_as_protocol_buffers_do(number: int, written: bytes) -> None:
    """150 is the example of https://protobuf.dev/programming-guides/encoding/."""
    assert varint(number) == written


def test_weights_that_are_listed_as_inputs_are_none() -> None:
    session = OnnxRuntime().open(tiny(weights_are_inputs=True), name="tiny", threads=1)
    assert [spec.name for spec in session.inputs] == ["x"]
    np.testing.assert_array_equal(session.run({"x": np.zeros((1, 3, 8, 32), np.float32)})[0], ANSWER)


def test_taking_weights_off_the_inputs_leaves_the_rest_byte_for_byte() -> None:
    assert without_weight_inputs(tiny(weights_are_inputs=True)) == tiny()
    clean = tiny()
    assert without_weight_inputs(clean) is clean


@needs("models/picodet_s_416_coco80.onnx")
def test_a_real_export_loses_its_279_superfluous_inputs_and_gives_the_same() -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    raw = onnxruntime.InferenceSession(PICODET, options, providers=["CPUExecutionProvider"])
    assert len(raw.get_overridable_initializers()) == 279
    ours = OnnxRuntime().open(PICODET.read_bytes(), name="picodet", threads=1)
    picture = {"image": np.random.default_rng(1).normal(0, 1, (1, 3, 416, 416)).astype(np.float32)}
    for theirs, mine in zip(raw.run(None, picture), ours.run(picture), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-3)


@given(st.data())
def test_damaged_files_are_left_for_the_runtime_to_refuse(data: st.DataObject) -> None:
    model = bytearray(tiny(weights_are_inputs=True))
    for _ in range(data.draw(st.integers(1, 4))):
        model[data.draw(st.integers(0, len(model) - 1))] = data.draw(st.integers(0, 255))
    whole = bytes(model[: data.draw(st.integers(0, len(model)))])
    assert len(without_weight_inputs(whole)) <= len(whole)  # and nothing is raised


@pytest.mark.parametrize("content", [b"", b"no model at all", tiny()[:-30]])
def test_what_is_no_model_is_one_line_with_its_name_and_a_next_step(content: bytes) -> None:
    with pytest.raises(ModelError, match=r"^/m/door\.onnx is no model .* Copy or export it again$"):
        OnnxRuntime().open(content, name="/m/door.onnx", threads=1)


def test_an_input_of_the_wrong_shape_is_a_model_error() -> None:
    session = OnnxRuntime().open(tiny(), name="/m/door.onnx", threads=1)
    with pytest.raises(ModelError, match=r"/m/door\.onnx failed to run: "):
        session.run({"x": np.zeros((1, 3, 8, 31), np.float32)})


def test_a_closed_session_says_so() -> None:
    session = OnnxRuntime().open(tiny(), name="/m/door.onnx", threads=1)
    session.close()
    session.close()
    with pytest.raises(ModelError, match="was closed"):
        session.run({"x": np.zeros((1, 3, 8, 32), np.float32)})


def test_the_vendor_writes_nothing_to_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "listed.onnx").write_bytes(tiny(weights_are_inputs=True))
    (tmp_path / "broken.onnx").write_bytes(tiny()[:-30])
    code = f"""
from pathlib import Path
from appliance.core.errors import ModelError
from appliance.inference.runtimes.onnx import OnnxRuntime
OnnxRuntime().open(Path({str(tmp_path / "listed.onnx")!r}).read_bytes(), name="x", threads=1)
try:
    OnnxRuntime().open(Path({str(tmp_path / "broken.onnx")!r}).read_bytes(), name="x", threads=1)
except ModelError:
    print("refused")
"""
    root = Path(__file__).resolve().parents[4]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("refused\n", "")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags : fpu sse4_1 avx2 fma", True),
        ("flags : avx2 avx512f avx512_vnni", False),
        ("flags : avx2 avx_vnni", False),
        ("Features : fp asimd asimddp", False),
        ("", False),
    ],
)
def test_only_x86_without_vnni_needs_the_exact_sums(flags: str, *, expected: bool) -> None:
    assert sums_saturate(flags) is expected
