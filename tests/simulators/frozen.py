"""A thread of another process that stands still, as one does that hangs in a driver: the other threads go on."""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207  # <sys/ptrace.h>
_WALL = 0x40000000  # <linux/wait.h>: wait for threads, too


def busiest_thread(process: int) -> int:
    """Give the thread that has used most of the processor; see proc(5), ``stat``."""

    def used(task: Path) -> int:
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    return int(max(Path(f"/proc/{process}/task").iterdir(), key=used).name)


@contextmanager
def frozen(thread: int) -> Iterator[None]:
    """Hold a thread of another process where it is. Only its process's end lets go of it before."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    held, done = threading.Event(), threading.Event()
    trouble: list[str] = []

    def hold() -> None:
        # whoever traces a thread is a thread itself: at its end all is let go
        requests = (PTRACE_SEIZE, PTRACE_INTERRUPT)
        if any(libc.ptrace(request, thread, None, None) < 0 for request in requests):
            trouble.append(os.strerror(ctypes.get_errno()))
        else:
            os.waitpid(thread, _WALL)
        held.set()
        while not trouble and not done.wait(0.1):
            # its process does not end before whoever traces it has heard of the thread's end
            if os.waitpid(thread, _WALL | os.WNOHANG)[0]:
                break

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(10), "the thread does not stop"
        assert not trouble, f"ptrace: {trouble}"
        yield
    finally:
        done.set()
        holder.join()
