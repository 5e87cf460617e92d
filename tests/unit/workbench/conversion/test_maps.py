"""A network that is cut at its maps gives, put together again, what it gave whole: calculated by ONNX Runtime."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx, the extra `workbench`, is not installed")

import onnx

from appliance.core.errors import ModelError
from appliance.inference.runtimes.onnx import OnnxRuntime
from appliance.workbench.conversion.maps import cut_at_maps
from appliance.workbench.conversion.onnx_form import bring_into_form
from tests.simulators.tiny_detector import SIZE, tiny_detector

OURS = Path(__file__).resolve().parents[4] / "models" / "edgecam-nano" / "edgecam-nano-fp32.onnx"


def run(content: bytes, picture: np.ndarray) -> list[np.ndarray]:
    session = OnnxRuntime().open(content, name="network", threads=1)
    try:
        return list(session.run({session.inputs[0].name: picture}))
    finally:
        session.close()


@pytest.mark.parametrize(("content", "size"), [(tiny_detector(), SIZE), (OURS.read_bytes(), 320)], ids=["tiny", "ours"])
def test_the_maps_put_together_are_the_outputs(content: bytes, size: int) -> None:
    form = bring_into_form(content, "network.onnx")
    cut = cut_at_maps(form, "network.onnx")
    picture = np.random.default_rng(4).integers(0, 256, (1, 3, size, size), np.uint8)
    whole = dict(zip((name for name, _ in form.outputs), run(form.content, picture), strict=True))
    maps = run(cut.content, picture.astype(np.float32))
    assert [one.shape for one in cut.maps] == [one.shape for one in maps]
    for output, wanted in whole.items():
        parts = [
            found.reshape(*found.shape[:2], -1)
            for one, found in zip(cut.maps, maps, strict=True)
            if one.output == output
        ]
        np.testing.assert_allclose(np.concatenate(parts, axis=2), wanted, atol=1e-5)


def test_ours_ends_in_three_maps_for_each_output_with_nodes_of_their_names() -> None:
    cut = cut_at_maps(bring_into_form(OURS.read_bytes(), "ours.onnx"), "ours.onnx")
    sides = [(one.output, one.shape[1:]) for one in cut.maps]
    assert sides == [(o, (c, s, s)) for o, c in (("scores", 6), ("distances", 4)) for s in (40, 20, 10)]
    graph = onnx.load_from_string(cut.content).graph
    assert {one.name for one in cut.maps} <= {node.name for node in graph.node}
    assert {node.op_type for node in graph.node} & {"Reshape", "Cast", "Identity"} == set()


def test_a_network_that_does_not_end_in_maps_is_refused() -> None:
    form = bring_into_form(tiny_detector(extra="Erf"), "other.onnx")
    with pytest.raises(ModelError, match=r"other\.onnx does not end in maps"):
        cut_at_maps(form, "other.onnx")
