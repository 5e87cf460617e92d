"""What may run a network: ONNX Runtime's execution providers and LiteRT's delegates, as an artifact names them.

Words for options are ours where the vendors' differ from one another, theirs where their documentation has to be read
to choose: https://onnxruntime.ai/docs/execution-providers/.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, get_args

from pydantic import Field

from appliance.core.part import Part

ProviderName = Literal["tensorrt", "cuda", "openvino", "qnn", "coreml", "acl", "xnnpack", "cpu"]
Threads = Annotated[int, Field(ge=1, le=64)]
DeviceNumber = Annotated[int, Field(ge=0, le=15)]
Megabytes = Annotated[int, Field(ge=16, le=1 << 20)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:,-]{1,64}$")]


class TensorrtProvider(Part):
    """NVIDIA TensorRT: builds an engine for this very GPU when the model is first loaded, which takes minutes.

    Attributes:
        fp16: Let it calculate in half precision.
        int8: Let it calculate in 8 bits; for a file that is quantized (QDQ).
        keep_engine: Keep the engine on disk, so that only the first start takes minutes.
        dla_core: Core of Jetson's deep learning accelerator; None: the GPU.
        workspace_mb: Most memory for building; None: the vendor's own bound.
        device: Number of the GPU.
    """

    kind: Literal["tensorrt"]
    fp16: bool = False
    int8: bool = False
    keep_engine: bool = True
    dla_core: DeviceNumber | None = None
    workspace_mb: Megabytes | None = None
    device: DeviceNumber = 0


class CudaProvider(Part):
    """NVIDIA CUDA and cuDNN.

    Attributes:
        tf32: Let it round single precision to 10 bits of mantissa where the GPU can.
        search: How it looks for the fastest convolution: by trying all, by rule, or not at all.
        memory_mb: Most memory of the GPU; None: no bound.
        device: Number of the GPU.
    """

    kind: Literal["cuda"]
    tf32: bool = True
    search: Literal["EXHAUSTIVE", "HEURISTIC", "DEFAULT"] = "EXHAUSTIVE"
    memory_mb: Megabytes | None = None
    device: DeviceNumber = 0


class OpenvinoProvider(Part):
    """Intel OpenVINO.

    Attributes:
        device: ``CPU``, ``GPU``, ``GPU.1``, ``NPU``, ``HETERO:NPU,CPU``.
        precision: To calculate in; None: the device's own.
        keep_compiled: Keep what was compiled for the device on disk.
        threads: Of the CPU; None: as many as any inference has here.
    """

    kind: Literal["openvino"]
    device: Word = "CPU"
    precision: Literal["FP32", "FP16", "ACCURACY"] | None = None
    keep_compiled: bool = False
    threads: Threads | None = None


class QnnProvider(Part):
    """Qualcomm QNN.

    Attributes:
        backend: The Hexagon processor, the GPU or, to test with, the CPU.
        performance: Power against speed of the Hexagon processor.
        fp16: Let the Hexagon processor calculate float32 in half precision.
    """

    kind: Literal["qnn"]
    backend: Literal["htp", "gpu", "cpu"] = "htp"
    performance: Literal[
        "default", "burst", "sustained_high_performance", "high_performance", "balanced", "power_saver"
    ] = "default"
    fp16: bool = True


class CoremlProvider(Part):
    """Apple Core ML, on a developer's Mac.

    Attributes:
        units: What of the processor may be used.
        format: Of the model it makes; MLProgram needs macOS 12.
        keep_compiled: Keep what was compiled on disk.
    """

    kind: Literal["coreml"]
    units: Literal["ALL", "CPUOnly", "CPUAndGPU", "CPUAndNeuralEngine"] = "ALL"
    format: Literal["MLProgram", "NeuralNetwork"] = "MLProgram"
    keep_compiled: bool = True


class AclProvider(Part):
    """Arm Compute Library.

    Attributes:
        fast_math: Let it calculate in bfloat16 where the processor can.
    """

    kind: Literal["acl"]
    fast_math: bool = False


class XnnpackProvider(Part):
    """XNNPACK: another set of kernels for the CPU, with threads of its own.

    Attributes:
        threads: Of its own; None: as many as any inference has here.
    """

    kind: Literal["xnnpack"]
    threads: Threads | None = None


class CpuProvider(Part):
    """ONNX Runtime's own kernels for the CPU."""

    kind: Literal["cpu"]


AnyProvider = Annotated[
    TensorrtProvider
    | CudaProvider
    | OpenvinoProvider
    | QnnProvider
    | CoremlProvider
    | AclProvider
    | XnnpackProvider
    | CpuProvider,
    Field(discriminator="kind"),
]


class Delegate(Part):
    """A library that runs a .tflite network, or part of it, in LiteRT's place: Coral's Edge TPU, a GPU, an NPU.

    Attributes:
        library: Its name or path: ``libedgetpu.so.1``.
        options: As the library's documentation has them: ``{ device = "usb" }``.
        is_required: Without it the file is refused; else the CPU runs what it does not.
    """

    library: Annotated[str, Field(min_length=1, max_length=4096)]
    options: Annotated[dict[Word, Annotated[str, Field(max_length=1000)]], Field(max_length=16, default_factory=dict)]
    is_required: bool = False


PROVIDERS: Final[Mapping[str, type[Part]]] = {
    get_args(kind.model_fields["kind"].annotation)[0]: kind for kind in get_args(get_args(AnyProvider)[0])
}
"""Type of each provider's options, by name."""


def default_provider(name: ProviderName) -> AnyProvider:
    """Give a provider with the options it has unless told otherwise."""
    provider: AnyProvider = PROVIDERS[name].model_validate({"kind": name})  # type: ignore[assignment] # of that kind
    return provider
