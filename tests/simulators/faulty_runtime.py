"""A runtime whose artifacts have faults: what its file says happens at the session seam; the rest ONNX Runtime does.

A file that begins with ``FAULT:WORD:`` has that fault, and behind it an ONNX model: ``broken`` and ``unsupported``
refuse to open, the others open and fail when they are run: ``error``, ``unforeseen`` (an exception that no runtime
should raise), ``nan``, ``inf``, ``shape``, ``count``, ``dtype``, ``hang`` and ``segfault``; of a child process also
``garbage``, ``flood``, ``stale`` and ``shrink``, which go behind its back to its socket and memory. One that begins
with ``FAULT:@PATH:`` has whatever fault is written in that file when it is run, and none while that is not there.

An ONNX model that says ``FAULT-FROM:NUMBER:WORD;`` anywhere in it, as in its metadata, is sound before it is run for
that many times: so fails what no gate can find out. It knows some more words: ``kill`` (as the kernel does where memory
runs out), ``starved`` (an allocation fails), ``leak`` (2 MB a frame), ``slow`` (three times as slow),
``drag`` (a fifth of a second longer, without work), ``empty``.
"""

import contextlib
import ctypes
import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any, ClassVar, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.core.errors import ModelError, UnsupportedError
from appliance.inference import artifacts
from appliance.inference.faults import failed
from appliance.inference.runtimes import NO_PLAN, Plan, Session
from appliance.inference.runtimes.onnx import OnnxRuntime

LATE: Final = re.compile(rb"FAULT-FROM:(\d+):([a-z]+);")
MOST_LEAKED: Final = 250  # of 2 MB: a test must not take the machine with it
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
        late = LATE.search(model)
        if late is not None:
            fault = late[2].decode()
        if fault == "broken":
            raise ModelError(f"{name} is broken")
        if fault == "unsupported":
            raise UnsupportedError(f"nothing that may run {name} does so here")
        session = _Session(OnnxRuntime().open(model, name=name, threads=threads, plan=plan), name, fault)
        session.sound_for = int(late[1]) if late is not None else 0
        self.opened.append(name)
        return session


class _Session:
    def __init__(self, real: Session, name: str, fault: str) -> None:
        self._real, self._name, self._fault = real, name, fault
        self.inputs, self.outputs = real.inputs, real.outputs
        self.placements, self.shortfalls = real.placements, real.shortfalls
        self.sound_for = self._runs = 0
        self._leaked: list[NDArray[np.float64]] = []

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        outputs = list(self._real.run(inputs))
        word = self._now()
        if (act := _ACTS.get(word)) is not None:
            act(self, inputs)
        return _spoil(word, outputs)

    def fail(self, _: Mapping[str, NDArray[Any]]) -> None:
        raise ModelError(f"{self._name} failed to run: out of memory")

    def starve(self, _: Mapping[str, NDArray[Any]]) -> None:
        reason = "Failed to allocate memory for requested buffer of size 4294967296"
        raise failed(f"{self._name} failed to run: {reason}", reason)

    def leak(self, _: Mapping[str, NDArray[Any]]) -> None:
        self._leaked.append(np.ones(1 << 18))
        del self._leaked[:-MOST_LEAKED]

    def slow_down(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        for _ in range(2):
            self._real.run(inputs)

    def drag(self, _: Mapping[str, NDArray[Any]]) -> None:
        Event().wait(0.2)

    def hang(self, _: Mapping[str, NDArray[Any]]) -> None:
        while self._now() == "hang":
            Event().wait(0.02)

    def _now(self) -> str:
        self._runs += 1
        if self._runs <= self.sound_for:
            return ""
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


def _be_unforeseen(*_: object) -> None:
    raise ZeroDivisionError("nobody foresaw it")


_ACTS: Final[dict[str, Callable[[_Session, Mapping[str, NDArray[Any]]], object]]] = {
    "error": _Session.fail,
    "starved": _Session.starve,
    "leak": _Session.leak,
    "slow": _Session.slow_down,
    "drag": _Session.drag,
    "hang": _Session.hang,
    "unforeseen": _be_unforeseen,
    "segfault": lambda *_: ctypes.string_at(0),
    "kill": lambda *_: os.kill(os.getpid(), signal.SIGKILL),
    "garbage": lambda *_: _say(b"\x00garbage"),
    "flood": lambda *_: _say(b" " * (100 << 10)),
    "stale": lambda *_: _say(b'{"serial":1,"answer":{"outputs":[]}}'),
    "shrink": lambda *_: _shrink(),
}
_SPOILING: Final[dict[str, Callable[[NDArray[Any]], NDArray[Any]]]] = {
    "nan": lambda one: np.full_like(one, np.nan),
    "inf": lambda one: np.full_like(one, np.inf),
    "shape": lambda one: one[:, :-1],
    "empty": lambda one: one[..., :0],
    "dtype": lambda one: one.astype(np.float64),
}


def _spoil(fault: str, outputs: list[NDArray[Any]]) -> list[NDArray[Any]]:
    if fault == "count":
        return outputs[:-1]
    spoil = _SPOILING.get(fault)
    return outputs if spoil is None else [spoil(one) for one in outputs]
