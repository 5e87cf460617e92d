"""Devices as a broker hears them: `model`, `model/events` and `health`, made by the device's own builders."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from appliance.core.clock import ClockQuality
from appliance.core.message import Message
from appliance.messaging import payloads
from appliance.messaging.model_payloads import model_event_message, model_message
from appliance.messaging.payloads import Identity, Origin
from appliance.updates import stages
from appliance.updates.permits import FREE, Permit
from appliance.updates.refusals import Code
from appliance.updates.state import Compared, Held, Stage, State, Update
from appliance.updates.telling import facts_of

Sent = tuple[str, bytes, bool]
"""Topic, payload, and whether it is retained."""


@dataclass
class Reporter:
    """One device.

    Attributes:
        name: Its id.
        now: UTC that it sends at; a test turns it.
        quality: How far its clock can be trusted.
        state: Of its updates.
        frames: That it has seen.
        objects: That it has reported.
        uptime: Seconds.
        boot: The kernel's id of its boot.
        sent: All messages, in order.
    """

    name: str
    now: datetime = datetime(2026, 11, 23, 12, tzinfo=UTC)
    quality: ClockQuality = ClockQuality.SYNCED
    state: State = field(default_factory=State)
    permit: Permit = FREE
    frames: int = 0
    objects: int = 0
    uptime: float = 0.0
    boot: str = "b0"
    sent: list[Sent] = field(default_factory=list)

    def begin(self, sha256: str, rollout: str, stage: Stage = Stage.SHADOW, counter: int = 1) -> None:
        """Have an update under way."""
        held = Held(sha256=sha256, name="mine", version=str(counter), counter=counter)
        self.state = stages.begin(self.state, Update(release=held, rollout=rollout))
        while self.state.stage is not stage:
            following = next(one for one in Stage if one in stages.NEXT[self.state.stage] and _is_on(one, self.state))
            self.state = stages.advance(self.state, following, self._text())
        self.tell()

    def end(self, code: Code | None = None, compared: Compared | None = None) -> None:
        """Commit what is under way, or roll it back."""
        if compared is not None:
            self.state = stages.compared(self.state, compared)
        if code is None:
            if self.state.stage is Stage.SHADOW:
                self.state = stages.advance(self.state, Stage.TRIAL, self._text())
            self.state = stages.commit(self.state, self._text())
        else:
            self.state = stages.roll_back(self.state, code, "it failed", self._text())
        self.tell()
        self._send(model_event_message(self.state.past[-1].model_dump(mode="json")))

    def give_up(self, code: Code) -> None:
        """Give up the active release, long after it was committed."""
        self.state = stages.give_up_active(self.state, code, "it keeps the daemon from starting", self._text())
        self.tell()
        self._send(model_event_message(self.state.past[-1].model_dump(mode="json")))

    def tell(self) -> None:
        """Send `model`."""
        self._send(model_message(facts_of(self.state, None, "", None, self.permit)))

    def health(self, p50: float = 20.0, p95: float = 30.0, temperature: float | None = 60.0) -> None:
        """Send `health` of its two cameras; figures are of the slower one."""
        times = {"p50": p50, "p95": p95}
        half, rest = self.frames // 2, self.frames - self.frames // 2
        cameras = {
            "door": {"frames_processed": half, "objects_begun": self.objects, "inference_ms": times, "fps": 5.0},
            "yard": {"frames_processed": rest, "objects_begun": 0, "inference_ms": {"p50": 1.0, "p95": 2.0}},
        }
        body = {"uptime_s": self.uptime, "cameras": cameras, "machine": {"temperature_c": temperature}}
        self._send(Message("health", body, retain=True, qos=1))

    def work(self, seconds: float, frames: int, objects: int) -> None:
        """Let time pass."""
        self.uptime += seconds
        self.now = datetime.fromtimestamp(self.now.timestamp() + seconds, UTC)
        self.frames += frames
        self.objects += objects

    def restart(self) -> None:
        self.frames = self.objects = 0
        self.uptime = 0.0

    def _send(self, message: Message) -> None:
        origin = Origin(int(self.now.timestamp() * 1e9), int(self.now.timestamp() * 1e9), self.quality, self.boot)
        identity = Identity("0123456789abcdef", len(self.sent) + 1) if message.durable else None
        payload = payloads.render(self.name, message, origin, identity)
        assert json.loads(payload)
        self.sent.append((f"edgecam/{self.name}/{message.topic}", payload, message.retain))

    def _text(self) -> str:
        return self.now.strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_on(stage: Stage, state: State) -> bool:
    order = list(Stage)
    return order.index(stage) == order.index(state.stage) + 1


def spread(at: int, count: int, middle: float, width: float) -> float:
    """Give figures of many devices that differ evenly, without chance."""
    return middle + width * (2 * at / max(1, count - 1) - 1)


def as_dict(payload: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(payload)
    return found
