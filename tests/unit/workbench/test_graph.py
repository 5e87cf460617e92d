from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="needs the onnx package: pip install 'edgecam[workbench]'")
from onnx import TensorProto, helper, numpy_helper

from appliance.workbench.graph import GraphSize, count_graph
from tests.shared_data import SHARED, needs
from tests.simulators import seeing_yolox


def test_parameters_and_multiply_adds_are_those_of_the_layers(tmp_path: Path) -> None:
    model = seeing_yolox.write_model(tmp_path / "seeing.onnx")
    size = count_graph(model.read_bytes())
    assert size is not None
    steps = (8, 16, 32)
    assert size.parameters == sum(85 * 3 * step**2 + 85 for step in steps)
    assert size.multiply_adds == sum(85 * (64 // step) ** 2 * 3 * step**2 for step in steps)


def test_products_with_stored_matrices_count_and_what_has_no_size_is_not_known() -> None:
    import numpy as np

    weights = [
        numpy_helper.from_array(np.zeros((6, 4), np.float32), "turned"),
        numpy_helper.from_array(np.zeros((6, 5), np.float32), "plain"),
    ]
    nodes = [
        helper.make_node("Gemm", ["in", "turned"], ["middle"], transB=1),
        helper.make_node("MatMul", ["middle", "plain"], ["out"]),
    ]

    def model(rows: int | str) -> bytes:
        taken = [helper.make_tensor_value_info("in", TensorProto.FLOAT, [rows, 4])]
        given = [helper.make_tensor_value_info("out", TensorProto.FLOAT, [rows, 5])]
        graph = helper.make_graph(nodes, "products", taken, given, weights)
        return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString())

    known, open_ = count_graph(model(3)), count_graph(model("rows"))
    assert known is not None
    assert open_ is not None
    assert (known.parameters, known.multiply_adds) == (54, 3 * 6 * 4 + 3 * 5 * 6)
    assert (open_.parameters, open_.multiply_adds) == (54, None)


def test_a_product_with_its_weights_first_sums_over_their_columns() -> None:
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [8, 16], [0.0] * 8 * 16)
    taken = [helper.make_tensor_value_info("in", TensorProto.FLOAT, [16, 100])]
    given = [helper.make_tensor_value_info("out", TensorProto.FLOAT, [8, 100])]
    node = helper.make_node("MatMul", ["weights", "in"], ["out"])
    graph = helper.make_graph([node], "product", taken, given, [weights])
    found = count_graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString())
    assert found == GraphSize(parameters=8 * 16, multiply_adds=8 * 100 * 16)


def test_a_network_that_calculates_in_integers_has_no_figures_and_not_none_at_all() -> None:
    weights = helper.make_tensor("weights", TensorProto.UINT8, [16, 8], [0] * 16 * 8)
    taken = [helper.make_tensor_value_info("in", TensorProto.UINT8, [4, 16])]
    given = [helper.make_tensor_value_info("out", TensorProto.INT32, [4, 8])]
    node = helper.make_node("MatMulInteger", ["in", "weights"], ["out"])
    graph = helper.make_graph([node], "product", taken, given, [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    assert count_graph(model.SerializeToString()) is None


@needs("models/fastestdet_352_coco80.onnx", "models/fastestdet_352_int8_qdq.onnx")
def test_a_network_in_8_bits_is_as_large_as_in_float() -> None:
    sizes = [
        count_graph((SHARED / "models" / f"fastestdet_352_{kind}.onnx").read_bytes()) for kind in ("coco80", "int8_qdq")
    ]
    assert sizes[0] is not None
    assert sizes[0] == sizes[1]
    assert 230_000 < sizes[0].parameters < 250_000  # the project says 0.24 M
