"""A runtime whose artifacts have faults: what its file says happens at the session seam; the rest ONNX Runtime does.

A file that begins with ``FAULT:WORD:`` has that fault, and behind it an ONNX model: ``broken`` and ``unsupported``
refuse to open, ``error``, ``nan``, ``shape`` and ``count`` open and fail when they are run.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.core.errors import ModelError, UnsupportedError
from appliance.inference import artifacts
from appliance.inference.runtimes import NO_PLAN, Plan, Session
from appliance.inference.runtimes.onnx import OnnxRuntime


def faulty(fault: str, model: bytes) -> bytes:
    """Give a model's file with a fault."""
    return f"FAULT:{fault}:".encode() + model


def install(patch: pytest.MonkeyPatch) -> None:
    """Have this runtime open every .onnx file."""
    patch.setattr(artifacts, "RUNTIMES", {"onnx": f"{__name__}:FaultyRuntime"})
    FaultyRuntime.opened.clear()


class FaultyRuntime:
    """Opens what is sound, and fails as the file says.

    Attributes:
        opened: Names of the files that were opened, and are not closed.
    """

    opened: ClassVar[list[str]] = []

    def open(self, model: bytes, *, name: str, threads: int, plan: Plan = NO_PLAN) -> Session:
        """Load a model, or not."""
        fault = ""
        if model.startswith(b"FAULT:"):
            _, word, model = model.split(b":", 2)
            fault = word.decode()
        if fault == "broken":
            raise ModelError(f"{name} is broken")
        if fault == "unsupported":
            raise UnsupportedError(f"nothing that may run {name} does so here")
        session = _Session(OnnxRuntime().open(model, name=name, threads=threads, plan=plan), name, fault)
        self.opened.append(name)
        return session


class _Session:
    def __init__(self, real: Session, name: str, fault: str) -> None:
        self._real, self._name, self._fault = real, name, fault
        self.inputs, self.outputs = real.inputs, real.outputs
        self.placements, self.shortfalls = real.placements, real.shortfalls

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        outputs = list(self._real.run(inputs))
        match self._fault:
            case "error":
                raise ModelError(f"{self._name} failed to run: out of memory")
            case "nan":
                return [np.full_like(one, np.nan) for one in outputs]
            case "shape":
                return [one[:, :-1] for one in outputs]
            case "count":
                return outputs[:-1]
        return outputs

    def close(self) -> None:
        FaultyRuntime.opened.remove(self._name)
        self._real.close()
