"""A device as far as messaging goes: the real workers in threads."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from appliance.config import MessagingSettings
from appliance.core.clock import Clock, SystemClock, read_boot_id
from appliance.core.health import Finding, HealthBoard
from appliance.core.message import Message
from appliance.messaging.worker import Messaging


def wait_until(is_so: Callable[[], Any], what: str, seconds: float = 20.0) -> None:
    """Wait for a condition; say what did not come true when it did not."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        pause.wait(0.02)


class Device:
    """Runs messaging until the block ends."""

    def __init__(
        self, state_dir: Path, broker: str, *, clock: Clock | None = None, boot_id: str = "", **settings: Any
    ) -> None:
        self.board = HealthBoard()
        self.messaging = Messaging(
            device_id="dev",
            settings=MessagingSettings.model_validate({"broker": broker, **settings}),
            state_dir=state_dir,
            clock=clock or SystemClock(),
            boot_id=boot_id or read_boot_id(),
            board=self.board,
        )
        self.stop = threading.Event()
        self.failures: list[BaseException] = []
        self.threads = [
            threading.Thread(target=self._run, args=(worker.run,), name=worker.name)
            for worker in self.messaging.workers
        ]

    def _run(self, run: Callable[[threading.Event], None]) -> None:
        try:
            run(self.stop)
        except BaseException as error:
            self.failures.append(error)
            raise

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> float:
        """Stop; give the seconds it took."""
        begin = time.monotonic()
        self.stop.set()
        for thread in self.threads:
            thread.join(15.0)
            assert not thread.is_alive(), f"{thread.name} did not stop"
        assert not self.failures
        return time.monotonic() - begin

    def send(self, count: int, topic: str = "door/events", **body: Any) -> None:
        for number in range(count):
            self.messaging.publish(Message(topic, {"n": number, **body}, durable=True, qos=1, camera="door"))

    def figure(self, name: str) -> Any:
        return self.messaging.figures()[name]

    def finding(self, component: str) -> Finding | None:
        return next((finding for finding in self.board.findings() if finding.component == component), None)

    def wait_drained(self, seconds: float = 20.0) -> None:
        wait_until(lambda: self.figure("connected") and self.messaging.is_drained(), "drained", seconds)
