"""How long a runtime may take, and which of its calls have not come back."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

SLICE: Final = 0.5  # seconds between two looks at whether who waits is to end
MOST_WEDGED: Final = 3  # threads that hang in a vendor's library; each holds a model, and perhaps a processor
Isolate = Literal["auto", "always", "never"]


class Wedged:
    """The threads that hang in a runtime on behalf of one who opens models. Safe to use from any thread."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def add(self, thread: threading.Thread) -> None:
        """Note a thread that did not come back in time; it counts until it ends."""
        with self._lock:
            self._threads.append(thread)

    @property
    def count(self) -> int:
        """How many hang now."""
        with self._lock:
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            return len(self._threads)

    @property
    def is_full(self) -> bool:
        """So many hang that nothing more may be begun that could."""
        return self.count >= MOST_WEDGED


@dataclass(frozen=True, slots=True)
class Watch:
    """That nothing is waited for without end.

    Attributes:
        timeout: Seconds for one inference.
        open_timeout: Seconds for loading, and for the first inference; None: as long as what is opened needs.
        isolate: Whether it is to run in a process of its own.
        wedged: Where calls that do not come back are counted.
        on_open: Called before a file is opened, with the seconds that it may take until it has answered.
        is_ending: Tells whether nothing is to be waited for any longer. Both are called from any thread.
    """

    timeout: float
    open_timeout: float | None
    isolate: Isolate
    wedged: Wedged
    on_open: Callable[[float], None] = lambda _: None
    is_ending: Callable[[], bool] = lambda: False

    def wait(self, ask: Callable[[float], bool], within: float) -> bool:
        """Wait for something that takes up to `within` seconds; tell whether it came.

        Args:
            ask: Waits for it for so many seconds, and tells whether it came.
            within: Seconds.
        """
        deadline = time.monotonic() + within
        while not ask(max(0.0, min(SLICE, deadline - time.monotonic()))):
            if self.is_ending() or time.monotonic() >= deadline:
                return False
        return True

    def missed(self, what: str) -> str:
        """Give `what` is to be said where nothing came in time, or that it was not waited for."""
        return "was not waited for: Edgecam is ending" if self.is_ending() else what
