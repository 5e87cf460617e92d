"""Runs a model in a process of its own, which may hang, crash or talk nonsense without harm to this one.

The child is `appliance.inference.isolated_child`; what is said between them is in `appliance.inference.wire`.
"""

import array
import contextlib
import mmap
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from appliance.core.errors import EdgecamError, ModelError, UnavailableError, UnsupportedError
from appliance.core.memory_file import memory_file
from appliance.inference.faults import HungError, KilledError
from appliance.inference.runtimes import Plan, fits
from appliance.inference.wire import MOST_MESSAGE, Opened, Place, Ran, Ready, places, read_answer

if TYPE_CHECKING:
    from appliance.inference.watch import Watch
    from appliance.inference.wire import Answer

KEPT: Final = frozenset(
    {
        "PATH",
        "LANG",
        "LC_ALL",
        "TMPDIR",
        "LD_LIBRARY_PATH",
        "OMP_NUM_THREADS",
        "PYTHONPYCACHEPREFIX",
        "PYTHONNOUSERSITE",
    }
)
"""What of the environment Python and libraries may need."""
KEPT_BEGINNINGS: Final = ("CUDA_", "NVIDIA_", "HAILO", "EDGETPU_", "QNN_", "ADSP_", "OPENVINO_")
"""The same, of vendors' own."""
_ENDING = 1.0  # seconds a child may take to end once it has been told or killed
_FOR_MEMORY = {signal.SIGKILL, signal.SIGABRT}  # the kernel's way, and malloc's


class IsolatedSession:
    """A session in a child process; see `OpenedSession`.

    Args:
        runtimes: Runtime of each format, as ``"module:Class"``: which class opens the file is for this table to say.
        kind: The file's format.
        model: The file's content.
        name: What to call it in messages: the file's path.
        threads: CPU threads of one inference.
        plan: How to run it.
        within: Seconds for loading, and for the first inference.
        watch: How long to wait otherwise.

    Raises:
        ModelError: The file is broken, or the child talks nonsense.
        UnavailableError: The child did not answer in time, or died.
        UnsupportedError: Nothing that may run it does so here, or this system has no way to isolate.
    """

    is_isolated = True

    def __init__(
        self,
        runtimes: Mapping[str, str],
        kind: str,
        model: bytes,
        *,
        name: str,
        threads: int,
        plan: Plan,
        within: float,
        watch: "Watch",
    ) -> None:
        if not hasattr(os, "memfd_create"):
            raise UnsupportedError(f'{name} cannot be isolated on {sys.platform}; set isolate = "never" in [model]')
        self._watch, self._within = watch, within
        self._child = _Child(name, watch)
        try:
            target = {kind: runtimes[kind]} if kind in runtimes else dict(runtimes)
            with memory_file(model) as weights:
                order = {"runtimes": target, "kind": kind, "name": name, "threads": threads, "plan": plan}
                opened = self._child.ask(order, Opened, within, weights)
            self.inputs = tuple(one.spec() for one in opened.inputs)
            self.outputs = tuple(one.spec() for one in opened.outputs)
            self.placements = tuple(one.placement() for one in opened.placements)
            self.shortfalls = opened.shortfalls
            self._arena = self._share(within)
        except EdgecamError:
            self._child.end()
            raise

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """Run the model once; see `Session.run`.

        Raises:
            ModelError: It could not be run with these inputs, was closed, or the child talks nonsense.
            UnavailableError: The child did not answer in time, or died.
        """
        given = {name: self._put(name, value) for name, value in inputs.items()}
        within, self._within = self._within, self._watch.timeout
        ran = self._child.ask({"inputs": given}, Ran, within)
        if len(ran.outputs) != len(self.outputs):
            raise self._child.nonsense(f"{len(ran.outputs)} outputs for {len(self.outputs)}")
        return [self._take(index, one.shape, one.dtype) for index, one in enumerate(ran.outputs)]

    def close(self) -> None:
        """End the child; a second call does nothing."""
        self._child.end()

    def _share(self, within: float) -> "NDArray[np.uint8]":
        try:
            into, out_of, size = places(self.inputs, self.outputs)
        except ValueError as error:
            raise self._child.nonsense(str(error)) from error
        self._into = {spec.name: place for spec, place in zip(self.inputs, into, strict=True)}
        self._out_of = out_of
        with memory_file(size) as memory:
            order = {"size": size, "inputs": {name: asdict(one) for name, one in self._into.items()}}
            self._child.ask({**order, "outputs": [asdict(one) for one in out_of]}, Ready, within, memory)
            return np.frombuffer(mmap.mmap(memory, size), np.uint8)

    def _put(self, name: str, value: NDArray[Any]) -> tuple[list[int], str]:
        place, dtype = self._into.get(name), str(value.dtype)
        if place is None:
            raise ModelError(f"{self._child.name} has no input {name!r}; it has {', '.join(self._into)}")
        if why := place.refusal(value.shape, dtype):
            raise ModelError(f"{self._child.name}: input {name}: {why}")
        _view(self._arena, place, value.shape, value.dtype)[...] = value
        return list(value.shape), dtype

    def _take(self, index: int, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """Copy an output out of shared memory, where the child could still write."""
        spec, place = self.outputs[index], self._out_of[index]
        if dtype != spec.dtype or not fits(spec.shape, shape):
            raise self._child.nonsense(f"{dtype}{list(shape)} for {spec}")
        if why := place.refusal(shape, dtype):
            raise self._child.nonsense(why)
        return _view(self._arena, place, shape, np.dtype(dtype)).copy()


class _Child:
    """The process, and the socket to it. A thread starts it, waits for its end and reaps it.

    The kernel kills a child when the thread that started it ends (PR_SET_PDEATHSIG in prctl(2)), so that thread lives
    as long as the child does.
    """

    def __init__(self, name: str, watch: "Watch") -> None:
        self.name = name
        self._watch = watch
        self._serial = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._started = threading.Event()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._keeper = threading.Thread(target=self._keep, args=(theirs,), name=f"child:{Path(name).name}", daemon=True)
        self._keeper.start()

    def ask(self, order: Mapping[str, Any], kind: "type[Answer]", within: float, file: int | None = None) -> "Answer":
        """Send a request, with an open file or none, and give the answer."""
        self._serial += 1
        files = [] if file is None else [file]
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
        try:
            self._socket.settimeout(within)
            # ours to the child may be pickled, for it has no reason to doubt us; nothing that it sends is
            self._socket.sendmsg([pickle.dumps((self._serial, order))], rights)
            is_answered = self._watch.wait(self._is_readable, within)
            data = self._socket.recv(MOST_MESSAGE + 1) if is_answered else b""
        except OSError as error:
            is_answered, data, reason = True, b"", error.strerror or str(error)
        else:
            reason = "it closed the connection"
        if not is_answered:
            self.end(is_killed=True)
            why = self._watch.missed(f"did not answer within {within:g} s: its process hung, and was ended")
            raise HungError(f"{self.name} {why}")
        if not data:
            raise self._ended(reason)
        try:
            return read_answer(data, self._serial, kind)
        except ValueError as error:
            raise self.nonsense(str(error)) from error

    def _is_readable(self, within: float) -> bool:
        waiting = select.poll()  # not select(2), which knows no file of a number above 1023
        waiting.register(self._socket, select.POLLIN)
        return bool(waiting.poll(within * 1e3))

    def nonsense(self, what: str) -> ModelError:
        """End the child over what it said, and give the error."""
        self.end(is_killed=True)
        return ModelError(f"{self.name}: its process answered nonsense, and was ended: {what}")

    def end(self, *, is_killed: bool = False) -> None:
        """End the process: a healthy one ends when its socket is closed."""
        self._socket.close()
        if is_killed or not self._has_ended():
            self._kill()
            if not self._has_ended():  # inside the kernel, where no signal reaches it
                self._watch.wedged.add(self._keeper)

    def _has_ended(self) -> bool:
        self._keeper.join(_ENDING)
        return not self._keeper.is_alive()

    def _kill(self) -> None:
        if self._started.wait(_ENDING) and self._process is not None:
            with contextlib.suppress(OSError):  # it has ended by itself
                self._process.kill()

    def _ended(self, reason: str) -> UnavailableError:
        """Tell how a child ended whose socket is closed."""
        self.end()
        status = self._process.returncode if self._process is not None else None
        its = f"{self.name}: its process"
        if status is None:
            return UnavailableError(f"{its} could not be started or does not answer: {reason}")
        if status >= 0:
            return UnavailableError(f"{its} ended with status {status}; the log may say why")
        known = {one.value: one.name for one in signal.Signals}
        told = f"{its} was ended by {known.get(-status, f'signal {-status}')}"
        return KilledError(f"{told}, most likely for its memory") if -status in _FOR_MEMORY else UnavailableError(told)

    def _keep(self, theirs: socket.socket) -> None:
        try:
            with theirs:
                self._process = _start(theirs)
        except OSError:
            return  # both ends of the socket are closed now, which is what the asker sees
        finally:
            self._started.set()
        # without a time limit: one that polls costs time all the time, and `end` kills what is waited for
        self._process.wait()


def child_environment(environment: Mapping[str, str], path: Sequence[str]) -> dict[str, str]:
    """Give the environment of a child: no more than it needs, and nothing of systemd's or with a secret in it.

    Args:
        environment: This process's own.
        path: Where this process finds modules.
    """
    kept = {name: value for name, value in environment.items() if name in KEPT or name.startswith(KEPT_BEGINNINGS)}
    return {**kept, "PYTHONPATH": os.pathsep.join(one or str(Path.cwd()) for one in path)}


def _start(theirs: socket.socket) -> "subprocess.Popen[bytes]":
    optimised = ["-" + "O" * sys.flags.optimize] if sys.flags.optimize else []
    # -P: nothing is imported from the folder in which we happen to be
    command = [sys.executable, *optimised, "-P", "-m", "appliance.inference.isolated_child", str(os.getpid())]
    environment = child_environment(os.environ, sys.path)
    return subprocess.Popen(  # noqa: S603 - our own module, in our own interpreter
        command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, env=environment
    )


def _view(arena: NDArray[np.uint8], place: Place, shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return arena[place.start : place.start + size].view(dtype).reshape(shape)
