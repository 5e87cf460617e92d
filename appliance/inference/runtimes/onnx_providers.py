"""Translates between our execution providers and those of ONNX Runtime. Pure: values in, values out.

Options as in https://onnxruntime.ai/docs/execution-providers/ and in the vendor's tables of provider options.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from appliance.core.providers import (
    AclProvider,
    AnyProvider,
    CoremlProvider,
    CpuProvider,
    CudaProvider,
    OpenvinoProvider,
    QnnProvider,
    TensorrtProvider,
    XnnpackProvider,
)
from appliance.inference.runtimes import Placement

VENDOR_NAMES: Final[Mapping[str, str]] = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "acl": "ACLExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
_OURS = {vendors: ours for ours, vendors in VENDOR_NAMES.items()}
_MIB = 1 << 20


def our_name(vendors: str) -> str:
    """Give our word for a provider; the vendor's own in small letters where we have none."""
    return _OURS.get(vendors, vendors.removesuffix("ExecutionProvider").lower())


def vendor_options(provider: AnyProvider, threads: int, cache: Path | None) -> dict[str, str]:
    """Give a provider's options as the vendor takes them; what is left out has the vendor's default.

    Args:
        provider: Ours.
        threads: CPU threads of one inference.
        cache: Folder for what it compiles; None: nothing is kept.
    """
    options: dict[str, object] = {}
    match provider:
        case TensorrtProvider():
            options = _tensorrt(provider, cache)
        case CudaProvider():
            options = {
                "device_id": provider.device,
                "use_tf32": int(provider.tf32),
                "cudnn_conv_algo_search": provider.search,
                "gpu_mem_limit": None if provider.memory_mb is None else provider.memory_mb * _MIB,
            }
        case OpenvinoProvider():
            options = {
                "device_type": provider.device,
                "num_of_threads": provider.threads or threads,
                "precision": provider.precision,
                "cache_dir": cache if provider.keep_compiled else None,
            }
        case QnnProvider():
            options = {
                "backend_path": f"libQnn{provider.backend.capitalize()}.so",
                "htp_performance_mode": provider.performance,
                "enable_htp_fp16_precision": int(provider.fp16),
            }
        case CoremlProvider():
            options = {
                "MLComputeUnits": provider.units,
                "ModelFormat": provider.format,
                "ModelCacheDirectory": cache if provider.keep_compiled else None,
            }
        case AclProvider():
            options = {"enable_fast_math": str(provider.fast_math).lower()}
        case XnnpackProvider():
            options = {"intra_op_num_threads": provider.threads or threads}
        case CpuProvider():
            pass
    return {key: str(value) for key, value in options.items() if value is not None}


def keeps_files(provider: AnyProvider) -> bool:
    """Tell whether it writes into the cache."""
    return (isinstance(provider, TensorrtProvider) and provider.keep_engine) or (
        isinstance(provider, OpenvinoProvider | CoremlProvider) and provider.keep_compiled
    )


def placements(asked: Sequence[str], started: Sequence[str], nodes: Mapping[str, int] | None) -> tuple[Placement, ...]:
    """Tell what runs a graph.

    Args:
        asked: Our names, in order.
        started: Names of the providers that run, ours; ONNX Runtime adds the CPU where it is missing.
        nodes: How many nodes each has, by our name; None where the runtime cannot tell.
    """
    if nodes is None:
        return tuple(Placement(name, None) for name in started)
    if not nodes:  # the whole network was constant
        return (Placement("cpu", 0),)
    order = [*(name for name in asked if name in nodes), *(name for name in nodes if name not in asked)]
    return tuple(Placement(name, nodes[name]) for name in order)


def _tensorrt(provider: TensorrtProvider, cache: Path | None) -> dict[str, object]:
    options: dict[str, object] = {
        "device_id": provider.device,
        "trt_fp16_enable": int(provider.fp16),
        "trt_int8_enable": int(provider.int8),
    }
    if provider.workspace_mb is not None:
        options["trt_max_workspace_size"] = provider.workspace_mb * _MIB
    if provider.dla_core is not None:
        options |= {"trt_dla_enable": 1, "trt_dla_core": provider.dla_core}
    if provider.keep_engine and cache is not None:
        options |= {"trt_engine_cache_enable": 1, "trt_engine_cache_path": cache}
        options |= {"trt_timing_cache_enable": 1, "trt_timing_cache_path": cache}
    return options
