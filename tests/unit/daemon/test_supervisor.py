import threading
import time
from collections.abc import Callable

import pytest

from appliance.core.errors import ConfigError, ModelError
from appliance.core.health import HealthBoard, HealthState
from appliance.core.worker import Pulse
from appliance.daemon.supervisor import RESTARTS, Supervisor
from appliance.daemon.systemd import Notifier


class Told(Notifier):
    """Keeps what systemd would be told."""

    def __init__(self) -> None:
        super().__init__(address="", watchdog_us="80000")
        self.states: list[str] = []

    def tell(self, *states: str) -> None:
        self.states += states


class Job:
    def __init__(self, name: str, work: Callable[[threading.Event, Pulse], None], limit: float = 60.0) -> None:
        self.name, self.pulse, self._work = name, Pulse(limit), work
        self.runs = 0

    def run(self, stop: threading.Event) -> None:
        self.runs += 1
        self._work(stop, self.pulse)


def until_told(stop: threading.Event, _pulse: Pulse) -> None:
    stop.wait(30)


def make(*groups: list[Job], board: HealthBoard | None = None) -> tuple[Supervisor, Told]:
    told = Told()
    supervisor = Supervisor(board or HealthBoard(), told, pause=0.0)
    for group in groups:
        supervisor.add(*group)
    supervisor.start()
    return supervisor, told


def test_groups_stop_in_the_reverse_of_their_starting_order() -> None:
    order: list[str] = []

    def job(name: str) -> Job:
        def work(stop: threading.Event, _pulse: Pulse) -> None:
            stop.wait(30)
            order.append(name)

        return Job(name, work)

    supervisor, _ = make([job("messaging")], [job("pipeline")], [job("camera")])
    assert supervisor.stop()
    assert order == ["camera", "pipeline", "messaging"]


def test_a_failed_worker_is_started_again_and_the_board_says_so() -> None:
    board = HealthBoard()
    done = threading.Event()

    def work(stop: threading.Event, _pulse: Pulse) -> None:
        if flaky.runs < 3:
            raise ModelError("nonsense came out")
        done.set()
        stop.wait(30)

    flaky = Job("pipeline:door", work)
    supervisor, _ = make([flaky], board=board)
    supervisor.watch(threading.Event(), done.is_set)
    supervisor.stop()
    assert flaky.runs == 3
    assert supervisor.restarts() == {"pipeline:door": 2}
    assert board.findings()[0].what == "failed and was restarted: nonsense came out"


def test_a_worker_over_its_budget_takes_the_daemon_down_with_its_own_error() -> None:
    def work(_stop: threading.Event, _pulse: Pulse) -> None:
        raise ModelError("nonsense came out")

    hopeless = Job("pipeline:door", work)
    supervisor, _ = make([hopeless])
    with pytest.raises(ModelError, match="nonsense"):
        supervisor.watch(threading.Event(), lambda: False)
    assert hopeless.runs == RESTARTS + 1


def test_a_configuration_that_cannot_work_is_not_tried_again() -> None:
    def work(_stop: threading.Event, _pulse: Pulse) -> None:
        raise ConfigError("no such thing")

    hopeless = Job("x", work)
    supervisor, _ = make([hopeless])
    with pytest.raises(ConfigError):
        supervisor.watch(threading.Event(), lambda: False)
    assert hopeless.runs == 1


def test_the_watchdog_is_fed_only_while_every_worker_makes_progress() -> None:
    board = HealthBoard()
    wedged = Job("camera:door", until_told, limit=0.05)
    supervisor, told = make([Job("http", until_told)], [wedged], board=board)
    started = time.monotonic()
    supervisor.watch(threading.Event(), lambda: board.state() is HealthState.FAILED)
    assert board.findings()[0].what == "makes no progress"
    before = len(told.states)
    supervisor.watch(threading.Event(), lambda: time.monotonic() - started > 0.3)
    assert told.states[before:].count("WATCHDOG=1") == 0
    wedged.pulse.limit = 60.0
    wedged.pulse.beat()
    supervisor.watch(threading.Event(), lambda: "WATCHDOG=1" in told.states[before:])
    assert supervisor.stop()


def test_a_wedged_worker_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.daemon.supervisor.STOP_WITHIN", 0.2)
    release = threading.Event()

    def work(_stop: threading.Event, _pulse: Pulse) -> None:
        release.wait(30)

    supervisor, _ = make([Job("camera:door", work)])
    assert not supervisor.stop()
    release.set()
