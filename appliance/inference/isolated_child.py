"""The process that runs one model for `appliance.inference.isolated`: its only peer is the socket on standard input.

It loads no more than the model's runtime needs.
"""

import array
import ctypes
import json
import mmap
import os
import pickle
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from appliance.core.errors import EdgecamError, ModelError
from appliance.core.registry import load

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from appliance.inference.runtimes import OpenedSession

MOST_ORDER: Final = 64 << 10  # bytes
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4  # <linux/prctl.h>
_M_ARENA_MAX = -8  # <malloc.h>


def main(arguments: Sequence[str]) -> int:
    """Serve the parent whose process id is the argument until it closes the socket, and give an exit status."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(_PR_SET_DUMPABLE, 0)  # a core file would hold a picture
    libc.mallopt(_M_ARENA_MAX, 1)
    if os.getppid() != int(arguments[0]):
        return 0  # the parent had gone before the kernel was told
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they go to all processes of a service; the parent ends in its own time
    peer = socket.socket(fileno=os.dup(0))
    with Path(os.devnull).open("rb") as nothing:  # no library shall read our orders
        os.dup2(nothing.fileno(), 0)
    Server(peer).run()
    return 0


class Server:
    """Does what the parent orders: first to open a file, then to take the shared memory, then to run.

    Args:
        peer: The socket to the parent.
    """

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._session: OpenedSession | None = None
        self._inputs: dict[str, int] = {}
        self._outputs: list[tuple[int, int]] = []
        self._arena: NDArray[np.uint8] = np.zeros(0, np.uint8)

    def run(self) -> None:
        """Serve until the parent has closed the socket; it waits for orders without end, as the parent is watched."""
        while True:
            data, rights, _, _ = self._peer.recvmsg(MOST_ORDER, socket.CMSG_LEN(array.array("i").itemsize))
            if not data:
                return
            serial, order = pickle.loads(data)  # noqa: S301 - from the parent, which gives us all that we run
            try:
                answer = self._do(order, [number for _, _, raw in rights for number in array.array("i", raw)])
            except EdgecamError as error:
                from appliance.inference.wire import word_of  # noqa: PLC0415 - only where something fails

                answer = {"failed": word_of(error), "why": str(error)[:1000]}
            self._peer.send(json.dumps({"serial": serial, "answer": answer}).encode())

    def _do(self, order: Mapping[str, Any], files: Sequence[int]) -> dict[str, Any]:
        if "kind" in order:
            return self._open(order, *files)
        if "size" in order:
            return self._share(order, *files)
        return self._run(order["inputs"])

    def _open(self, order: Mapping[str, Any], file: int) -> dict[str, Any]:
        with os.fdopen(file, "rb") as weights:
            weights.seek(0)
            model = weights.read()
        runtime = load(order["runtimes"], order["kind"], "the model's format")()
        session: OpenedSession = runtime.open(model, name=order["name"], threads=order["threads"], plan=order["plan"])
        self._session = session
        return {
            "inputs": [one.model_dump() for one in session.inputs],
            "outputs": [one.model_dump() for one in session.outputs],
            "placements": [{"provider": one.provider, "nodes": one.nodes} for one in session.placements],
            "shortfalls": [one[:1000] for one in session.shortfalls],
        }

    def _share(self, order: Mapping[str, Any], file: int) -> dict[str, Any]:
        self._inputs = {name: place["start"] for name, place in order["inputs"].items()}
        self._outputs = [(place["start"], place["room"]) for place in order["outputs"]]
        self._arena = np.frombuffer(mmap.mmap(file, order["size"]), np.uint8)
        os.close(file)
        return {}

    def _run(self, given: Mapping[str, tuple[Sequence[int], str]]) -> dict[str, Any]:
        if self._session is None:
            raise ModelError("nothing was opened")
        inputs = {name: self._view(self._inputs[name], shape, dtype) for name, (shape, dtype) in given.items()}
        outputs = self._session.run(inputs)
        for output, (start, room) in zip(outputs, self._outputs, strict=False):  # how many there are the parent checks
            if output.nbytes > room:
                raise ModelError(f"an output {output.dtype}{list(output.shape)} is larger than was promised")
            self._view(start, output.shape, str(output.dtype))[...] = output
        return {"outputs": [{"shape": one.shape, "dtype": str(one.dtype)} for one in outputs]}

    def _view(self, start: int, shape: Sequence[int], dtype: str) -> "NDArray[Any]":
        kind = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        return self._arena[start : start + size].view(kind).reshape(shape)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
