"""A fleet whose owner publishes bad releases, and a daemon that must not keep one: what tests at length share."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.bad_models import released
from tests.simulators.broker import Mosquitto, find_mosquitto
from tests.simulators.fleet import Web, served
from tests.simulators.fleet_owner import Owner
from tests.simulators.subscriber import Subscriber
from tests.system.fleet_witness import (
    FACTORY,
    GOOD,
    TRIAL,
    UPDATED_WITHIN,
    WITHIN,
    Systemd,
    Witness,
    device,
    edgecam_command,
    hint,
)
from tests.system.process import EdgecamProcess, wait_for

IDS = [f"cam-{number}" for number in range(200)]
MADE = "2"
"""Version of the release that was committed, and serves while others are tried."""


@dataclass(frozen=True, slots=True)
class Bad:
    """A bad release.

    Attributes:
        kind: What is bad about it.
        code: Why it is refused.
        make: Writes its folder, given where to and its version.
        caught: Where: at a gate, beside the model in service, or in its place.
        trial: What its rollout asks for besides.
    """

    kind: str
    code: str
    make: Callable[[Path, str], Path]
    caught: str = "gate"
    trial: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind}, {self.caught}"


@dataclass
class Site:
    """All of it.

    Attributes:
        folder: For what tests make.
        owner: Publishes.
        web: Serves what was published.
        edgecam: The daemon.
        systemd: Starts it again.
        witness: Of what it does.
        rows: What came of bad releases: kind, where it was caught, code, seconds.
    """

    folder: Path
    owner: Owner
    web: Web
    edgecam: EdgecamProcess
    systemd: Systemd
    witness: Witness
    rows: list[tuple[str, str, str, float]] = field(default_factory=list)
    _tried: int = 0

    def publish(self, make: Callable[[Path, str], Path], trial: dict[str, Any]) -> str:
        """Publish a release and roll it out to all; give its version."""
        self._tried += 1
        version = f"3.{self._tried}"
        self.owner.release(make(self.folder / version, version))
        self.owner.roll_out(version, trial={**TRIAL, **trial})
        hint(self.edgecam)
        return version

    def refuses(self, bad: Bad) -> dict[str, Any]:
        """Publish a bad release, and see that it never stays; give the report of it."""
        version = self.publish(bad.make, bad.trial)
        return self.ends(version, bad)

    def ends(self, version: str, bad: Bad) -> dict[str, Any]:
        """See that a release that was rolled out ends as it must; give the report of it."""
        told = self.witness.end_of(version)
        assert (told["outcome"], told["code"]) == ("rolled_back", bad.code), told["why"]
        assert told["why"]
        seconds = self.witness.seconds_until(MADE, after=version)
        self.rows.append((bad.kind, bad.caught, bad.code, seconds))
        assert self.witness.sees(version) is (bad.caught == "in service")
        self._is_left_alone(version, bad.code)
        assert seconds < WITHIN
        self.owner.withdraw(version)
        return told

    def takes_nothing(self, kind: str, code: str, words: str) -> None:
        """See that the device says why it does not even begin, goes on with what it has, and asks for no file."""
        asked = len(self.web.asked)
        hint(self.edgecam)
        told = self.witness.wait_until_told(words)
        assert told["code"] == code
        at = next(at for at, version in reversed(self.witness.look().served) if version == MADE)
        self.rows.append((kind, "before it is brought", code, max(0.0, (at - told["mono_ns"]) / 1e9)))
        assert told["stage"] == "idle"
        assert not any(path.endswith((".onnx", ".bsdiff4")) for path in self.web.asked[asked:])
        shown = edgecam_command(self.edgecam, "model", "history")
        assert f"({code})" in shown.splitlines()[1]

    def _is_left_alone(self, version: str, code: str) -> None:
        if code != "E_HALTED":  # of that one the fleet says itself that it is halted
            hint(self.edgecam)
            self.witness.wait_until_told(f"edgecam-nano {version} was refused here before ({code})")
        brought = [path for path in self.web.asked if f"/{version}/" in path and path.endswith("manifest.toml")]
        assert len(brought) == 1
        status = self.edgecam.wait_for_status(lambda now: now["cameras"]["street"], 30, "an answer")
        assert status["model"]["version"] == MADE


@contextmanager
def site(folder: Path, share: float = 100.0, module: str = "") -> Iterator[Site]:
    """Give a site whose daemon has committed release 2; prints what came of bad ones at the end.

    Args:
        folder: For all that is made.
        share: Per cent of the devices that release 2 is for.
        module: What is run in the place of `edgecam run`.
    """
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    broker = Mosquitto(folder)
    broker.start()
    owner = Owner(folder / "owner")
    older = released(folder / "1", "1")
    owner.release(older)
    owner.release(released(folder / MADE, MADE))
    with ExitStack() as stack:
        stack.callback(broker.stop)
        web = stack.enter_context(served(owner.www))
        witness = Witness(stack.enter_context(Subscriber(broker.port)))
        chosen = meant(owner.roll_out(MADE, share, GOOD))
        assert chosen
        edgecam = device(folder / "device", owner.root, web, broker, device_id=chosen[0], module=module)
        systemd = stack.enter_context(Systemd(edgecam))
        made = Site(folder, owner, web, edgecam, systemd, witness)
        wait_for(lambda: witness.sees(FACTORY), UPDATED_WITHIN, "the factory model")
        committed = witness.end_of(MADE)
        assert (committed["outcome"], committed["code"]) == ("committed", None), committed
        yield made
        table = [f"| {kind} | {caught} | {code} | {seconds:.1f} |" for kind, caught, code, seconds in made.rows]
        sys.stdout.write("\n".join(["", "| kind | caught | code | seconds |", "|---|---|---|---|", *table, ""]))


def meant(rollout: dict[str, Any]) -> list[str]:
    """Give the ids that a rollout means, worked out from docs/fleet.md and with none of Edgecam's code."""
    return [one for one in IDS if _place(rollout["salt"], one) < rollout["share_ppm"]]


def _place(salt: str, device_id: str) -> int:
    digest = sha256(b"edgecam-rollout-v1\0" + salt.encode() + b"\0" + device_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") * 1_000_000 >> 64
