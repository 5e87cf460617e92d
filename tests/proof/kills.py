"""`make kills KILLS=200`: kill -9 of the daemon and of the broker, in random order, while events flow.

`edgecam run` watches squares that come and go; `edgecam-workbench audit` listens with a session of its own, loses its
connection with every broker, and says at the end whether anything is missing; with --replay it asks for that meanwhile.
Exit status 0: nothing is, but what gap records name; events are in the order in which they happened.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from appliance.workbench.accounts import Accounts, count
from tests.simulators.broker import REPOSITORY, Mosquitto
from tests.simulators.busy_street import write_busy_street
from tests.system.process import EdgecamProcess, wait_for

WORKBENCH: Final = "from appliance.workbench.main import main; main()"
SETTLED: Final = 300  # rows: of the last seconds
RESEND_WITHIN: Final = 90.0  # seconds in which what the audit asks for comes again
LEAST_FLOW, MOST_FLOW = 0.0, 2.0  # seconds between two kills, after what was killed runs again: into starts, too


class Rampage:
    """Daemon, broker and audit, and kills among them.

    Args:
        directory: For all their files.
        seed: Of the order and of the pauses.
        keeps_sessions: The broker writes down each change, so that sessions outlive it; else it forgets all.
        is_end_to_end: The audit tells the daemon what arrived, and the daemon waits for that.
        asks: The audit asks for what is missing.
    """

    def __init__(
        self,
        directory: Path,
        seed: int,
        *,
        keeps_sessions: bool = False,
        is_end_to_end: bool = False,
        asks: bool = False,
    ) -> None:
        self.kills = {"daemon": 0, "broker": 0}
        self._chance = random.Random(seed)
        self.broker = Mosquitto(directory, ("max_queued_messages 0",))
        if keeps_sessions:
            store = ("persistence true", f"persistence_location {directory}/", "max_queued_messages 0")
            self.broker.configure(*store, "autosave_on_changes true", "autosave_interval 1")
        self._options = ["--acknowledge"] * is_end_to_end + ["--replay"] * asks
        config = write_busy_street(directory / "camera", 'ack = "end-to-end"' if is_end_to_end else "commands = true")
        self.edgecam = EdgecamProcess(directory, "--broker", self.broker.url, config=config)
        self._saved, self._ordered = directory / "saved.jsonl", directory / "ordered.jsonl"
        self._audit: subprocess.Popen[str] | None = None

    def run(self, kills: int) -> dict[str, Any]:
        """Kill so many times, let everything settle, and give the verdict."""
        begin = time.monotonic()
        self.broker.start()
        self._audit = self._listen()
        self.edgecam.start()
        try:
            wait_for(self._events, 60, "events flow")
            for number in range(kills):
                self._kill(self._chance.choice(("daemon", "broker")))
                if sys.stderr.isatty():
                    print(f"\r{number + 1} of {kills} kills, {self._events()} events came", end="", file=sys.stderr)
            flow = self._events()
            wait_for(lambda: self._events() > flow + 20, 120, "events flow again")
            self._settle()
            return self._verdict() | {"kills": self.kills, "seconds": round(time.monotonic() - begin, 1)}
        finally:
            self._audit.kill()
            self._audit.wait()
            if self.edgecam.is_running():
                self.edgecam.kill()
            self.broker.stop()

    def _kill(self, victim: str) -> None:
        time.sleep(self._chance.uniform(LEAST_FLOW, MOST_FLOW))
        self.kills[victim] += 1
        if victim == "broker":
            self.broker.stop(signal.SIGKILL)
            time.sleep(self._chance.uniform(0.0, 1.0))
            self.broker.start()
        else:
            self.edgecam.kill()
            self.edgecam.start()
            if self._chance.random() < 0.8:  # else the next kill may hit it while it starts
                self.edgecam.wait_for_status(lambda now: now["messaging"]["last_seq"], 60, "the daemon runs")

    def _settle(self) -> None:
        """Wait until the broker has all, and the audit has all of it; then end the daemon as systemd would."""
        self.edgecam.wait_for_status(lambda now: now["messaging"]["connected"], 90, "connected")
        self.edgecam.wait_for_status(lambda now: now["messaging"]["rows"] < SETTLED, 300, "the backlog is gone")
        deadline = time.monotonic() + RESEND_WITHIN
        while self._missing() and time.monotonic() < deadline:
            time.sleep(1.0)
        assert self.edgecam.stop(within=30.0) == 0
        last = -1
        while last != (last := self._saved.stat().st_size):
            time.sleep(2.0)

    def _listen(self) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", WORKBENCH, "audit", "--broker", self.broker.url, "--name", "audit", "--whole"]
        command += ["--save", str(self._saved), "--ordered", str(self._ordered), "--json", *self._options]
        audit = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        wait_for(lambda: "SUBACK to audit" in self.broker.log.read_text(), 20, "the audit is subscribed")
        return audit

    def _missing(self) -> int:
        accounts = Accounts()
        for line in self._saved.read_text().splitlines():
            with suppress(ValueError):  # the last line may be half written
                saved = json.loads(line)
                accounts.take(saved["topic"], saved["payload"].encode())
        return sum(count(account.missing(is_whole=True)) for account in accounts)

    def _events(self) -> int:
        return self._saved.read_text().count('/events"') if self._saved.exists() else 0

    def _verdict(self) -> dict[str, Any]:
        assert self._audit is not None
        self._audit.send_signal(signal.SIGINT)
        out, _ = self._audit.communicate(timeout=60)
        told: dict[str, Any] = json.loads(out)
        messages = [json.loads(line) for line in self._ordered.read_text().splitlines()]
        events = [body for body in messages if "object_id" in body]
        starts = [(body["gen"], body["mono_ns"]) for body in events if body["type"] == "start"]
        lives: dict[str, list[str]] = {}
        for body in events:
            lives.setdefault(body["object_id"], []).append(body["type"])
        return told | {
            "status": self._audit.returncode,
            "events": len(events),
            "disorder": sum(one > other for one, other in pairwise(starts)),
            "muddled": sum("start" in life[1:] or "end" in life[:-1] for life in lives.values()),
        }


def main() -> int:
    """Read the arguments, do it, print what came of it, and give the exit status."""
    parser = argparse.ArgumentParser(prog="kills", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep-sessions", action="store_true", help="a broker that writes down each change")
    parser.add_argument("--end-to-end", action="store_true", help="the audit acknowledges, and the daemon waits for it")
    parser.add_argument("--replay", action="store_true", help="the audit asks for what is missing")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kills-") as directory:
        rampage = Rampage(
            Path(directory),
            options.seed,
            keeps_sessions=options.keep_sessions,
            is_end_to_end=options.end_to_end,
            asks=options.replay,
        )
        told = rampage.run(options.kills)
    is_well = told["status"] == 0 and not (told["disorder"] or told["muddled"])
    again = sum(one["again"] for one in told["accounts"])
    missing = sum(one["missing_count"] for one in told["accounts"])
    asked = "" if told["status"] else f" ({told['asked']} replays were asked for)" if told["asked"] else ""
    print(
        f"{told['kills']['daemon']} kills of the daemon and {told['kills']['broker']} of the broker in "
        f"{told['seconds']} s: {told['events']} events came, {again} messages came again, {missing} numbers are "
        f"missing{asked}, {sum(one['ends'] for one in told['accounts'])} gap records own up to an end, "
        f"{told['disorder']} events out of order, {told['muddled']} objects whose events are muddled"
    )
    if options.json:
        print(json.dumps(told))
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
