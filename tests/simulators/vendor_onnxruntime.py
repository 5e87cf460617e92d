"""Stands in for the `onnxruntime` of a machine with accelerators, where `appliance.inference.runtimes.onnx` looks.

The real one does all the work on the CPU; what differs is told as the vendor's packages tell it. Recorded from
onnxruntime-gpu 1.31.1 without CUDA's libraries (CUDA is left out silently, TensorRT raises), onnxruntime-openvino
1.24.1 (a device that is missing is left out silently, an unknown option raises) and onnxruntime 1.20.1 (no node
counts).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest

from appliance.inference.runtimes import onnx

CPU = "CPUExecutionProvider"
NO_TENSORRT = (
    "/onnxruntime_src/onnxruntime/python/onnxruntime_pybind_state.cc:729 void onnxruntime::python::"
    "RegisterTensorRTPluginsAsCustomOps(PySessionOptions&, const onnxruntime::ProviderOptions&) Please install "
    "TensorRT libraries as mentioned in the GPU requirements page."
)


@dataclass
class Vendor:
    """What the simulated machine has.

    Attributes:
        available: Providers in the package.
        silent: Those of them that do not come up, without a word.
        raising: Those that raise, with what they say.
        nodes: How many nodes each takes; the CPU has the rest.
        whole: How many nodes the network is said to have.
        package: Folder of the package, where its libraries lie.
        can_count: Whether this version tells node counts.
        asked: Providers and options of every session that was asked for.
        config: Session configuration entries of the last session.
        threads: `intra_op_num_threads` of the last session.
    """

    available: tuple[str, ...] = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "XnnpackExecutionProvider", CPU)
    silent: tuple[str, ...] = ()
    raising: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, int] = field(default_factory=dict)
    whole: int = 4
    package: Path = Path("/nowhere")
    can_count: bool = True
    asked: list[list[tuple[str, dict[str, str]]]] = field(default_factory=list)
    config: dict[str, str] = field(default_factory=dict)
    threads: int = 0

    def session(self, model: bytes, options: Any, *, providers: list[Any], enable_fallback: int) -> Any:
        """Make a session as `onnxruntime.InferenceSession` does."""
        assert not enable_fallback
        self.asked.append(providers)
        self.threads = options.intra_op_num_threads
        for entry in ("session.intra_op.allow_spinning", "session.record_ep_graph_assignment_info"):
            self.config[entry] = options.get_session_config_entry(entry)
        names = [name for name, _ in providers]
        for name in names:
            if name in self.raising:
                raise RuntimeError(self.raising[name])
        real = onnxruntime.InferenceSession(model, options, providers=[CPU], enable_fallback=0)
        return _Session(self, real, [name for name in names if name not in self.silent])


class _Session:
    """A session whose nodes are said to run elsewhere."""

    def __init__(self, vendor: Vendor, real: Any, started: list[str]) -> None:
        self._real, self._started, self._vendor = real, started, vendor
        self._model_bytes: bytes | None = b""
        if vendor.can_count:
            self.get_provider_graph_assignment_info = self._count

    def __getattr__(self, name: str) -> Any:
        if name == "get_provider_graph_assignment_info":
            raise AttributeError(name)  # before 1.24
        return getattr(self._real, name)

    def get_providers(self) -> list[str]:
        return [*(one for one in self._started if one != CPU), CPU]

    def _count(self) -> Iterator[Any]:
        whole = self._vendor.whole
        for name in self._started:
            if name != CPU and (taken := min(whole, self._vendor.nodes.get(name, 0))):
                whole -= taken
                yield SimpleNamespace(ep_name=name, get_nodes=lambda taken=taken: [None] * taken)
        if whole:
            yield SimpleNamespace(ep_name=CPU, get_nodes=lambda: [None] * whole)


class _Package:
    """The module as the runtime sees it."""

    def __init__(self, vendor: Vendor) -> None:
        self.InferenceSession = vendor.session
        self.__file__ = str(vendor.package / "__init__.py")
        self._vendor = vendor

    def __getattr__(self, name: str) -> Any:
        return getattr(onnxruntime, name)

    def get_available_providers(self) -> list[str]:
        return list(self._vendor.available)


@contextmanager
def installed(vendor: Vendor) -> Iterator[Vendor]:
    """Let the runtime find this vendor's package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx, "onnxruntime", _Package(vendor))
        yield vendor
