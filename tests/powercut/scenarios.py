"""What is going on when the power goes: small programs on a recorded disk, and what their cuts are held against.

Each runs the courier, the outbox, the link and a real mosquitto, as the daemon does; `daemon` runs the daemon itself.
"""

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from appliance.config import OutboxSettings
from appliance.messaging import database
from tests.powercut.judge import Rules
from tests.powercut.stage import Stage
from tests.powercut.wear import WAYS, program
from tests.simulators.busy_street import write_busy_street
from tests.simulators.messaging_device import wait_until
from tests.system.process import EdgecamProcess


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing to be interrupted.

    Attributes:
        run: The program.
        rules: What its cuts are held against.
        prepare: Puts on the disk what is there before; it is not recorded.
        begins_after: It begins with the disk that a cut in the middle of this scenario has left.
        is_canary: Promises are broken on purpose: where nothing is found, the search is worth nothing.
    """

    run: Callable[[Stage], None]
    rules: Rules = field(default_factory=Rules)
    prepare: Callable[[Path], None] = lambda _: None
    begins_after: str = ""
    is_canary: bool = False


def append(stage: Stage) -> None:
    """No broker: messages come alone, in groups and in crowds, small and large."""
    with stage.life() as device:
        for burst in (1, 2, 5, 16, 32, 33, 64, 100, 200):
            stage.publish(device, burst)
        for size in (300, 2000, 5000, 20_000):
            stage.publish(device, 20, size)


def append_strict(stage: Stage) -> None:
    """Every message is a commit of its own."""
    with stage.life(outbox={"mode": "strict"}) as device:
        for _ in range(250):
            stage.publish(device, 1)


def acknowledge(stage: Stage) -> None:
    """A backlog and what comes meanwhile are delivered and forgotten."""
    with stage.life() as device:
        stage.publish(device, 300)
        with stage.listening():
            for _ in range(30):
                stage.publish(device, 20)
            device.wait_drained(60.0)


def evict(stage: Stage) -> None:
    """The outbox is full by count: the oldest go, and gap records say which; then all that is left is delivered."""
    with stage.life(outbox={"max_rows": 200}) as device:
        for _ in range(25):
            stage.publish(device, 40)
        with stage.listening():
            stage.publish(device, 100)
            device.wait_drained(60.0)


def evict_bytes(stage: Stage) -> None:
    """The outbox is full by size."""
    with stage.life(outbox={"max_bytes": 1 << 20}) as device:
        for _ in range(20):
            stage.publish(device, 30, 3000)
        with stage.listening():
            device.wait_drained(60.0)


def checkpoint(stage: Stage) -> None:
    """The write-ahead log is full again and again, and is worked into the file while messages come and go."""
    with stage.listening(), stage.life() as device:
        for _ in range(40):
            stage.publish(device, 16, 6000)
        device.wait_drained(60.0)


def restart(stage: Stage) -> None:
    """The device is stopped and started: the log is worked in and removed, and begun anew."""
    for number in range(12):
        with stage.life() as device:
            stage.publish(device, 25)
            if number % 3 == 2:
                with stage.listening():
                    device.wait_drained(60.0)
                stage.broker.stop()
                wait_until(lambda device=device: not device.figure("connected"), "the broker is gone")


def recover(stage: Stage) -> None:
    """The power comes back after a cut, and goes again while the outbox is opened, checked and written to."""
    stage.counted = 1_000_000  # beyond what the first life may have written without saying so
    with stage.life() as device:
        stage.publish(device, 40)
        with stage.listening():
            device.wait_drained(60.0)


OLD_ROWS: Final = 1600  # more than are carried over in one transaction
OLD_GEN: Final = "00ed789d1c776b0b"
OLD_SCHEMA: Final = """
    CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE boot(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
    CREATE TABLE outbox(seq INTEGER PRIMARY KEY AUTOINCREMENT, priority INTEGER NOT NULL, topic TEXT NOT NULL,
      retain INTEGER NOT NULL, expiry_s INTEGER, boot INTEGER NOT NULL, mono_ns INTEGER NOT NULL,
      time_ns INTEGER NOT NULL, payload BLOB NOT NULL);
    CREATE INDEX evicted_first ON outbox(priority DESC, seq) WHERE priority > 1;
    CREATE TABLE gap(seq INTEGER PRIMARY KEY, reason TEXT NOT NULL, runs TEXT NOT NULL, count INTEGER NOT NULL,
      sealed INTEGER NOT NULL);
"""  # schema 1, as its first release wrote it


def leave_old(disk: Path) -> None:
    """Leave an outbox of schema 1, full of messages that wait."""
    (disk / "state").mkdir()
    with closing(sqlite3.connect(disk / "state" / "outbox.db", isolation_level=None)) as file:
        for pragma in ("page_size=4096", "journal_mode=WAL", "synchronous=FULL"):
            file.execute(f"PRAGMA {pragma}")
        file.executescript(f"BEGIN IMMEDIATE; {OLD_SCHEMA} PRAGMA user_version=1; COMMIT")
        file.execute("BEGIN IMMEDIATE")
        file.execute("INSERT INTO meta VALUES('gen', ?)", (OLD_GEN,))
        file.execute("INSERT INTO boot(id) VALUES('long-ago')")
        for seq in range(1, OLD_ROWS + 1):
            body = {"v": 1, "id": f"dev/{OLD_GEN}/{seq}", "gen": OLD_GEN, "seq": seq, "n": seq, "pad": "x" * 200}
            row = (seq, 2 if seq % 5 == 0 else 1, json.dumps(body).encode())
            file.execute("INSERT INTO outbox VALUES(?,?,'door/events',0,NULL,1,0,0,?)", row)
        file.execute("COMMIT")


def migrate(stage: Stage) -> None:
    """An outbox of schema 1 becomes one of today; then its messages and new ones are delivered."""
    stage.mark(promised=(1, OLD_ROWS), gen=OLD_GEN)
    stage.counted = OLD_ROWS
    with stage.life() as device:
        stage.publish(device, 20)
        with stage.listening():
            device.wait_drained(60.0)


def daemon(stage: Stage) -> None:
    """`edgecam run` itself, with a camera, a model, and a broker that comes and goes."""
    config = write_busy_street(stage.aside)
    with EdgecamProcess(stage.disk, "--broker", stage.proxy.url, config=config) as edgecam:
        for number in range(2):
            _watch(stage, edgecam, 8.0)
            with stage.listening():
                _watch(stage, edgecam, 8.0)
            if not number:
                stage.broker.stop()
        edgecam.stop()


def _watch(stage: Stage, edgecam: EdgecamProcess, seconds: float) -> None:
    """Mark how many messages the daemon says it has on disk."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        now = edgecam.status().get("messaging", {})
        if now.get("gen"):
            stage.mark(appended=now["appended"], gen=now["gen"])
        time.sleep(0.02)


def careless(stage: Stage) -> None:
    """The canary: a database that tells the disk nothing, as SQLite's `synchronous=OFF` does."""
    with pytest.MonkeyPatch.context() as patch:
        kept = [pragma for pragma in database._PRAGMAS if not pragma.startswith("synchronous")]
        patch.setattr(database, "_PRAGMAS", (*kept, "synchronous=OFF"))
        append(stage)


SCENARIOS: Final[dict[str, Scenario]] = {
    "append": Scenario(append),
    "append-strict": Scenario(append_strict),
    "acknowledge": Scenario(acknowledge),
    "evict": Scenario(evict, Rules(OutboxSettings(max_rows=200), newest=150)),
    "evict-bytes": Scenario(evict_bytes, Rules(OutboxSettings(max_bytes=1 << 20), newest=60)),
    "checkpoint": Scenario(checkpoint),
    "restart": Scenario(restart),
    "recover": Scenario(recover, begins_after="acknowledge"),
    "migrate": Scenario(migrate, prepare=leave_old),
    "daemon": Scenario(daemon),
    "canary": Scenario(careless, is_canary=True),
    **{f"wear-{name}": Scenario(program(way)) for name, way in WAYS.items()},
}
POWER_CUTS: Final = [name for name in SCENARIOS if not name.startswith("wear-")]
