"""A runtime whose artifacts have faults: what its file says happens at the session seam; the rest ONNX Runtime does.

A file that begins with ``FAULT:WORD:`` has that fault, and behind it an ONNX model: ``broken`` and ``unsupported``
refuse to open, the others open and fail when they are run: ``error``, ``unforeseen`` (an exception that no runtime
should raise), ``nan``, ``inf``, ``shape``, ``count``, ``dtype``, ``hang`` and ``segfault``; of a child process also
``garbage``, ``flood``, ``stale`` and ``shrink``, which go behind its back to its socket and memory. One that begins
with ``FAULT:@PATH:`` has whatever fault is written in that file when it is run, and none while that is not there.
"""

import contextlib
import ctypes
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any, ClassVar, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.core.errors import ModelError, UnsupportedError
from appliance.inference import artifacts
from appliance.inference.runtimes import NO_PLAN, Plan, Session
from appliance.inference.runtimes.onnx import OnnxRuntime

RUNTIMES: Final = {"onnx": f"{__name__}:FaultyRuntime"}
"""A table of runtimes with this one for .onnx files."""


def faulty(fault: str, model: bytes) -> bytes:
    """Give a model's file with a fault."""
    return f"FAULT:{fault}:".encode() + model


def install(patch: pytest.MonkeyPatch) -> None:
    """Have this runtime open every .onnx file."""
    patch.setattr(artifacts, "RUNTIMES", RUNTIMES)
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
        match self._now():
            case "error":
                raise ModelError(f"{self._name} failed to run: out of memory")
            case "unforeseen":
                raise ZeroDivisionError("nobody foresaw it")
            case "hang":
                while self._now() == "hang":
                    Event().wait(0.02)
            case "segfault":
                ctypes.string_at(0)
            case "garbage":
                _say(b"\x00garbage")
            case "flood":
                _say(b" " * (100 << 10))
            case "stale":
                _say(b'{"serial":1,"answer":{"outputs":[]}}')
            case "shrink":
                _shrink()
            case word:
                return _spoilt(word, outputs)
        return outputs

    def _now(self) -> str:
        if not self._fault.startswith("@"):
            return self._fault
        try:
            return Path(self._fault[1:]).read_text(encoding="ascii")
        except OSError:
            return ""

    def close(self) -> None:
        if self._name in FaultyRuntime.opened:  # a thread that was abandoned in an earlier test comes back late
            FaultyRuntime.opened.remove(self._name)
        self._real.close()


def _files(kind: str) -> list[int]:
    links = {int(entry.name): entry for entry in Path("/proc/self/fd").iterdir()}
    return [number for number, entry in links.items() if entry.is_symlink() and kind in str(entry.readlink())]


def _say(data: bytes) -> None:
    for number in _files("socket:"):
        os.write(number, data)


def _shrink() -> None:
    """Try to cut off the shared memory, by the way in which it is still open: as it is mapped."""
    with contextlib.suppress(PermissionError):  # of the seal, or already of looking there
        mappings = Path("/proc/self/map_files").iterdir()
        (mapped,) = [entry for entry in mappings if "memfd:edgecam" in str(entry.readlink())]
        os.truncate(mapped, 0)


def _spoilt(fault: str, outputs: list[NDArray[Any]]) -> list[NDArray[Any]]:
    match fault:
        case "nan":
            return [np.full_like(one, np.nan) for one in outputs]
        case "inf":
            return [np.full_like(one, np.inf) for one in outputs]
        case "shape":
            return [one[:, :-1] for one in outputs]
        case "dtype":
            return [one.astype(np.float64) for one in outputs]
        case "count":
            return outputs[:-1]
    return outputs
