"""Opens a model so that no call into its runtime is waited for without end."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from appliance.core.errors import EdgecamError, ModelError, UnavailableError
from appliance.core.registry import load
from appliance.inference.faults import HungError
from appliance.inference.runtimes import RUN_BY_CAMERA
from appliance.inference.watch import Isolate, Watch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from appliance.inference.runtimes import OpenedSession, Plan, Runtime

T = TypeVar("T")
VENDORS_FORMATS: Final = frozenset({"hef"})
"""Formats whose runtime is a vendor's library with a driver behind it."""
VENDORS_PROVIDERS: Final = frozenset({"tensorrt", "cuda", "openvino", "qnn"})
"""Providers of ONNX Runtime, likewise. Others are kernels for the CPU; Core ML's Mac has no way to isolate."""
OPENING, BUILDING = 60.0, 600.0  # seconds; NVIDIA tells of minutes for an engine, so it has ten
_CLOSING = 1.0  # seconds that closing may take


def is_isolated(isolate: Isolate, kind: str, plan: "Plan") -> bool:
    """Tell whether a file is to run in a process of its own.

    Args:
        isolate: What the owner says.
        kind: The file's format.
        plan: How it is to be run.
    """
    if isolate == "never" or kind in RUN_BY_CAMERA:  # there is nothing here to be isolated
        return False
    if isolate == "always":
        return True
    is_vendors = kind in VENDORS_FORMATS or plan.delegate is not None
    is_vendors = is_vendors or any(one.kind in VENDORS_PROVIDERS for one in plan.providers)
    return is_vendors and hasattr(os, "memfd_create")


def opening_time(watch: Watch, plan: "Plan") -> float:
    """Give how many seconds loading may take, and the first inference."""
    if watch.open_timeout is not None:
        return watch.open_timeout
    return BUILDING if any(one.kind == "tensorrt" for one in plan.providers) else OPENING


def open_watched(
    runtimes: Mapping[str, str], kind: str, model: bytes, *, name: str, threads: int, plan: "Plan", watch: Watch
) -> "OpenedSession":
    """Load a model, in a thread or a process of its own.

    Args:
        runtimes: Runtime of each format, as ``"module:Class"``.
        kind: The file's format.
        model: The file's content.
        name: What to call it in messages: the file's path.
        threads: CPU threads of one inference.
        plan: How to run it.
        watch: How long to wait.

    Raises:
        ModelError: It is broken.
        UnavailableError: It did not come back in time, its process died, or too many earlier calls hang.
        UnsupportedError: Its runtime is not installed here, or nothing that may run it does so here.
    """
    if watch.wedged.is_full:
        raise UnavailableError(
            f"{name} is not opened: {watch.wedged.count} earlier calls still hang in their runtimes; restart edgecam"
        )
    within, bare = opening_time(watch, plan), replace(plan, watch=None)
    watch.on_open(2 * within)  # loading, and the first inference
    if is_isolated(watch.isolate, kind, plan):
        from appliance.inference.isolated import IsolatedSession  # noqa: PLC0415 - memory, where nothing is isolated

        return IsolatedSession(runtimes, kind, model, name=name, threads=threads, plan=bare, within=within, watch=watch)

    def open_it() -> "OpenedSession":
        runtime: Runtime = load(runtimes, kind, "the model's format")()
        return runtime.open(model, name=name, threads=threads, plan=bare)

    return WatchedSession(open_it, name=name, within=within, watch=watch)


class WatchedSession:
    """A session in a thread of its own; see `OpenedSession`.

    Where a call does not come back in time the thread is abandoned and counted. It closes the session when it does come
    back; this one is of no more use.

    Args:
        open_it: Loads the model; called in that thread.
        name: What to call it in messages.
        within: Seconds for loading, and for the first inference.
        watch: How long to wait otherwise.

    Raises:
        EdgecamError: What `open_it` raised.
        ModelError: It raised what nobody foresaw; the log has it.
        UnavailableError: It did not come back in time.
    """

    def __init__(self, open_it: Callable[[], "OpenedSession"], *, name: str, within: float, watch: Watch) -> None:
        self._name, self._watch, self._within = name, watch, within
        self._line = _Line(name)
        self._opened: list[OpenedSession] = []
        self._is_closed = False
        try:
            self._call(lambda: self._opened.append(open_it()), within, "was not loaded")
        except EdgecamError:
            self.close()
            raise
        session = self._opened[0]
        self.inputs, self.outputs = session.inputs, session.outputs
        self.placements, self.shortfalls = session.placements, session.shortfalls
        self.is_isolated = False

    def run(self, inputs: Mapping[str, "NDArray[Any]"]) -> Sequence["NDArray[Any]"]:
        """Run the model once; see `Session.run`.

        Raises:
            ModelError: It could not be run with these inputs, or was closed.
            UnavailableError: It did not answer in time.
        """
        if self._is_closed:
            raise ModelError(f"{self._name} was closed")
        within, self._within = self._within, self._watch.timeout
        session = self._opened[0]
        return self._call(lambda: session.run(inputs), within, "did not answer")

    def close(self) -> None:
        """Let go of the model, or leave that to its thread when it is busy; a second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        if not self._line.end(self._let_go, _CLOSING):
            self._watch.wedged.add(self._line.thread)

    def _let_go(self) -> None:
        while self._opened:
            self._opened.pop().close()

    def _call(self, function: Callable[[], T], within: float, what: str) -> T:
        job = _Job(function)
        self._line.do(job)
        if not self._watch.wait(job.done.wait, within):
            self._is_closed = True
            self._line.end(self._let_go, 0.0)
            self._watch.wedged.add(self._line.thread)
            why = self._watch.missed(f"{what} within {within:g} s: its runtime hangs")
            raise HungError(f"{self._name} {why}")
        if job.error is not None:
            raise job.error
        if not job.results:
            self._is_closed = True
            raise ModelError(f"{self._name}: its runtime failed in a way that nobody foresaw; the log has it")
        return job.results[0]


class _Job(Generic[T]):
    """A call and what came of it."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self.results: list[T] = []
        self.error: EdgecamError | None = None
        self.done = threading.Event()

    def run(self) -> None:
        try:
            self.results.append(self._function())
        except EdgecamError as error:
            self.error = error
        finally:
            self.done.set()


class _Line:
    """A thread that does one job after the other; what nobody foresaw ends it, and is told on standard error."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()  # two at the most: a call, and closing behind it
        # daemon: a thread that hangs must not keep the process from ending
        self.thread = threading.Thread(target=self._run, name=f"model:{Path(name).name}", daemon=True)
        self.thread.start()

    def do(self, job: "_Job[Any]") -> None:
        """Have a job done."""
        self._jobs.put(job)

    def end(self, last: Callable[[], None], within: float) -> bool:
        """Have a last job done; tell whether it was, in time."""
        job = _Job(last)
        self._jobs.put(job)
        self._jobs.put(None)
        return not self.thread.is_alive() or job.done.wait(within)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
            del job  # or it would keep a frame's tensors until the next one
