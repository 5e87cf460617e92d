"""Execution providers: what is asked for, what comes of it, and that nothing falls short in silence."""

from pathlib import Path

import numpy as np
import pytest

from appliance.core.errors import ModelError, UnsupportedError
from appliance.core.providers import PROVIDERS, AnyProvider, TensorrtProvider, XnnpackProvider, default_provider
from appliance.inference.runtimes import Placement, Plan
from appliance.inference.runtimes.onnx import OnnxRuntime, OnnxSession
from appliance.inference.runtimes.onnx_providers import VENDOR_NAMES, vendor_options
from tests.shared_data import SHARED, needs
from tests.simulators import tiny_onnx
from tests.simulators.vendor_onnxruntime import NO_TENSORRT, Vendor, installed

ANSWERS = {name: np.arange(6, dtype=np.float32).reshape(1, 6) for name in ("a", "b", "c", "d")}
TINY = tiny_onnx.model({"x": (1, 3, 8, 8)}, ANSWERS)
CUDA, TENSORRT, XNNPACK = (VENDOR_NAMES[name] for name in ("cuda", "tensorrt", "xnnpack"))


def opened(vendor: Vendor, *providers: str | AnyProvider, threads: int = 1, cache: Path | None = None) -> OnnxSession:
    chosen = tuple(default_provider(one) if isinstance(one, str) else one for one in providers)  # type: ignore[arg-type]
    with installed(vendor):
        return OnnxRuntime().open(TINY, name="/m/door.onnx", threads=threads, plan=Plan(chosen, cache=cache))


@needs("models/nanodet_m_320_coco80.onnx")
def test_without_a_plan_the_cpu_runs_it_and_every_node_is_counted() -> None:
    content = (SHARED / "models" / "nanodet_m_320_coco80.onnx").read_bytes()
    session = OnnxRuntime().open(content, name="nanodet", threads=1)
    (placement,) = session.placements
    assert placement.provider == "cpu"
    assert placement.nodes is None or placement.nodes > 100  # the file has 225 but for what is folded
    assert session.shortfalls == ()


def test_a_network_without_nodes_runs_on_the_cpu_and_nobody_is_accused() -> None:
    session = opened(Vendor(whole=0), "cuda", "cpu")
    assert session.placements == (Placement("cpu", 0),)
    assert session.shortfalls == ()


def test_providers_are_asked_for_in_the_order_of_the_plan_and_the_nodes_of_each_are_read_back() -> None:
    vendor = Vendor(nodes={TENSORRT: 1, CUDA: 2})
    session = opened(vendor, "tensorrt", "cuda", "cpu")
    assert [name for name, _ in vendor.asked[0]] == [TENSORRT, CUDA, "CPUExecutionProvider"]
    assert session.placements == (Placement("tensorrt", 1), Placement("cuda", 2), Placement("cpu", 1))
    assert session.shortfalls == ()


def test_threads_are_set_and_spinning_is_off_whatever_runs_it() -> None:
    vendor = Vendor(nodes={XNNPACK: 4})
    opened(vendor, "xnnpack", "cpu", threads=3)
    assert vendor.threads == 3
    assert vendor.config["session.intra_op.allow_spinning"] == "0"
    assert dict(vendor.asked[0])[XNNPACK] == {"intra_op_num_threads": "3"}
    opened(vendor, XnnpackProvider(kind="xnnpack", threads=2), "cpu", threads=3)
    assert dict(vendor.asked[1])[XNNPACK] == {"intra_op_num_threads": "2"}


def test_providers_that_are_not_installed_are_named_with_what_there_is() -> None:
    session = opened(Vendor(available=("CPUExecutionProvider",)), "tensorrt", "cuda", "cpu")
    assert session.placements == (Placement("cpu", 4),)
    (told,) = session.shortfalls
    assert told.startswith("providers tensorrt, cuda not in ONNX Runtime ")
    assert told.endswith("which has cpu")


def test_a_provider_that_does_not_come_up_is_told_with_what_its_library_misses(tmp_path: Path) -> None:
    (tmp_path / "capi").mkdir()
    (tmp_path / "capi" / "libonnxruntime_providers_cuda.so").write_bytes(b"no library")
    session = opened(Vendor(silent=(CUDA,), package=tmp_path), "cuda", "cpu")
    (told,) = session.shortfalls
    assert told.startswith("provider cuda could not be started: ")
    assert "libonnxruntime_providers_cuda.so" in told
    assert session.placements == (Placement("cpu", 4),)
    (told,) = opened(Vendor(silent=(CUDA,)), "cuda", "cpu").shortfalls
    assert told == "provider cuda could not be started: its device or its driver is not there"


def test_a_provider_that_raises_is_left_out_and_the_others_go_on() -> None:
    vendor = Vendor(raising={TENSORRT: NO_TENSORRT}, nodes={CUDA: 3})
    session = opened(vendor, "cuda", "tensorrt", "cpu")
    assert [[name for name, _ in asked] for asked in vendor.asked][1] == [CUDA, "CPUExecutionProvider"]
    assert session.placements == (Placement("cuda", 3), Placement("cpu", 1))
    (told,) = session.shortfalls
    assert told == (
        "provider tensorrt could not load it: Please install TensorRT libraries as mentioned in the GPU "
        "requirements page."
    )


def test_a_provider_that_takes_no_node_is_told() -> None:
    session = opened(Vendor(), "xnnpack", "cpu")
    assert session.shortfalls == ("provider xnnpack took none of the network's 4 nodes",)


def test_a_version_that_cannot_count_says_so_and_accuses_nobody() -> None:
    session = opened(Vendor(can_count=False), "cuda", "cpu")
    assert session.placements == (Placement("cuda", None), Placement("cpu", None))
    assert session.shortfalls == ()


@pytest.mark.parametrize(
    "vendor",
    [
        Vendor(available=("CPUExecutionProvider",)),
        Vendor(silent=(CUDA,)),
        Vendor(raising={CUDA: "CUDA failure 100"}),
        Vendor(nodes={}),
    ],
    ids=["not installed", "does not come up", "raises", "takes nothing"],
)
def test_a_plan_without_the_cpu_is_refused_where_nothing_else_runs_it(vendor: Vendor) -> None:
    with pytest.raises(UnsupportedError, match=r"^nothing that may run /m/door\.onnx does so here: provider.* cuda "):
        opened(vendor, "cuda")


def test_a_broken_file_is_the_files_fault_not_the_providers() -> None:
    plan = Plan((default_provider("cuda"), default_provider("cpu")))
    with installed(Vendor(nodes={CUDA: 1})), pytest.raises(ModelError, match="is no model that ONNX Runtime can load"):
        OnnxRuntime().open(TINY[:-30], name="/m/door.onnx", threads=1, plan=plan)


def test_engines_are_kept_where_there_is_a_folder_for_them(tmp_path: Path) -> None:
    vendor, cache = Vendor(nodes={TENSORRT: 4}), tmp_path / "state" / "compiled"
    opened(vendor, TensorrtProvider(kind="tensorrt", fp16=True), "cpu", cache=cache)
    assert cache.is_dir()
    options = dict(vendor.asked[0])[TENSORRT]
    assert options["trt_engine_cache_enable"] == "1"
    assert options["trt_engine_cache_path"] == str(cache)
    assert (options["trt_fp16_enable"], options["trt_int8_enable"]) == ("1", "0")
    opened(vendor, "tensorrt", "cpu")
    assert "trt_engine_cache_enable" not in dict(vendor.asked[1])[TENSORRT]


def test_a_folder_that_cannot_be_made_is_told_and_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    session = opened(Vendor(nodes={TENSORRT: 4}), "tensorrt", "cpu", cache=tmp_path / "file" / "compiled")
    assert session.shortfalls == (f"what is compiled cannot be kept in {tmp_path}/file/compiled: Not a directory",)


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_has_a_name_and_options_in_the_vendors_words(name: str, tmp_path: Path) -> None:
    import onnxruntime

    assert VENDOR_NAMES[name] in onnxruntime.get_all_providers()  # all that a build could have
    options = vendor_options(default_provider(name), 2, tmp_path)  # type: ignore[arg-type]
    assert all(isinstance(value, str) for value in options.values())


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ({"kind": "tensorrt", "dla_core": 1, "workspace_mb": 512}, {"trt_dla_core": "1", "trt_dla_enable": "1"}),
        ({"kind": "cuda", "memory_mb": 256, "tf32": False}, {"gpu_mem_limit": "268435456", "use_tf32": "0"}),
        ({"kind": "openvino", "device": "NPU", "precision": "FP16"}, {"device_type": "NPU", "precision": "FP16"}),
        ({"kind": "openvino", "keep_compiled": True}, {"cache_dir": "/c", "num_of_threads": "2"}),
        ({"kind": "qnn", "performance": "burst"}, {"backend_path": "libQnnHtp.so", "htp_performance_mode": "burst"}),
        ({"kind": "coreml"}, {"MLComputeUnits": "ALL", "ModelFormat": "MLProgram", "ModelCacheDirectory": "/c"}),
        ({"kind": "acl", "fast_math": True}, {"enable_fast_math": "true"}),
    ],
)
def test_options_are_the_vendors(option: dict[str, object], expected: dict[str, str]) -> None:
    provider = PROVIDERS[str(option["kind"])].model_validate(option)
    assert expected.items() <= vendor_options(provider, 2, Path("/c")).items()  # type: ignore[arg-type]
