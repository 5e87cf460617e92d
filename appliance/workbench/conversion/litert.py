"""Makes .tflite files: in float from a PyTorch module by litert-torch, in 8 bits by ai-edge-quantizer.

https://github.com/google-ai-edge/litert-torch, https://github.com/google-ai-edge/ai-edge-quantizer; 8 bits as in
https://ai.google.dev/edge/litert/models/quantization_spec: weights per channel and symmetric, activations per tensor.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from appliance.workbench.conversion.extras import ERRORS, load_converter
from appliance.workbench.conversion.quiet import quietly
from appliance.workbench.conversion.torch_graph import TorchGraph

_LOGITS = (-8.0, 4.0)  # scores from 0.0003 to 0.98; what is seen in calibration pictures is often less, and cuts off
_HANDS_ON = {"CONCATENATION", "RESHAPE", "TRANSPOSE"}
_PURPOSE = ".tflite files"
_ERRORS: Final = (*ERRORS, NotImplementedError, OSError)


def to_tflite(network: TorchGraph, picture: NDArray[Any], name: str) -> bytes:
    """Give a .tflite file in float that takes the picture with its channels last.

    Args:
        network: With channels first.
        picture: An input as the network takes it: shape (1, C, H, W).
        name: What to call the network in messages.

    Raises:
        ModelError: It cannot be converted.
        UnsupportedError: litert-torch is not installed here.
    """
    with quietly(f"{_PURPOSE} cannot be made here", ()):
        vendor = load_converter("litert_torch", _PURPOSE)
    sample = torch.from_numpy(np.ascontiguousarray(picture.transpose(0, 2, 3, 1)))
    with tempfile.TemporaryDirectory(prefix="edgecam-convert-") as folder:
        file = Path(folder) / "network.tflite"
        with quietly(f"{name} cannot be converted to .tflite", _ERRORS):
            wrapped = vendor.to_channel_last_io(network.eval(), args=[0]).eval()
            vendor.convert(wrapped, (sample,)).export(str(file))
        return file.read_bytes()


def to_8_bits(content: bytes, pictures: Sequence[NDArray[Any]], name: str) -> bytes:
    """Give a .tflite file whose weights and activations are in 8 bits; the picture stays as it was.

    Args:
        content: The file in float.
        pictures: What the ranges are taken from: inputs with channels last, shape (1, H, W, C).
        name: What to call the network in messages.

    Raises:
        ModelError: It cannot be quantized.
        UnsupportedError: ai-edge-quantizer is not installed here.
    """
    with quietly("8-bit .tflite files cannot be made here", ()):
        vendor = load_converter("ai_edge_quantizer.quantizer", f"8-bit {_PURPOSE}")
        recipes = load_converter("ai_edge_quantizer.recipe", f"8-bit {_PURPOSE}")
        tools = load_converter("ai_edge_quantizer.utils.tfl_interpreter_utils", f"8-bit {_PURPOSE}")
    with quietly(f"{name} cannot be quantized", _ERRORS):
        quantizer = vendor.Quantizer(bytearray(content))
        quantizer.load_quantization_recipe(recipes.static_wi8_ai8())
        (key, tensors), *_ = tools.create_tfl_interpreter(bytearray(content)).get_signature_list().items()
        place = tensors["inputs"][0]
        ranges = quantizer.calibrate({key: [{place: picture} for picture in pictures]}, num_threads=1)
        for tensor in _before_scores(tools.create_tfl_interpreter(bytearray(content))):
            found = ranges[tensor]
            found["min"] = np.full_like(found["min"], _LOGITS[0])
            found["max"] = np.full_like(found["max"], _LOGITS[1])
        return bytes(quantizer.quantize(ranges).quantized_model)


def _before_scores(interpreter: Any) -> set[str]:
    """Give the names of the tensors that become scores by a sigmoid, back to what calculates them.

    Calibration pictures with no object that the network is very sure of would make a range that ends at their highest
    score: whatever is surer then gets that one, below the lowest score that is reported.
    """
    interpreter.allocate_tensors()
    names = {one["index"]: one["name"] for one in interpreter.get_tensor_details()}
    nodes = [one for one in interpreter._get_ops_details() if one["op_name"] != "DELEGATE"]  # noqa: SLF001 - no public way
    makers = {int(output): one for one in nodes for output in one["outputs"]}
    left = [int(each) for one in nodes if one["op_name"] == "LOGISTIC" for each in one["inputs"]]
    found = set[str]()
    while left:
        tensor = left.pop()
        found.add(names[tensor])
        maker = makers.get(tensor)
        if maker is not None and maker["op_name"] in _HANDS_ON:
            data = maker["inputs"] if maker["op_name"] == "CONCATENATION" else maker["inputs"][:1]
            left += [int(each) for each in data]
    return found
