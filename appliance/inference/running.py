"""What a detector runs on: its file, what has taken how much of the network, and what fell short of the plan."""

from dataclasses import dataclass
from typing import Any, Final

from appliance.inference.faults import Fault
from appliance.inference.runtimes import Placement

FIX: Final = "install what is missing (docs/hardware.md), or choose what is here: [model] artifact, providers, delegate"
"""What the owner can do where something fell short when a model was opened."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An artifact that would have been better and was not taken.

    Attributes:
        file: Its name.
        why: One line.
        is_expected: It is not for this machine, or not here, and nothing is wrong with that.
        while_running: It had been in service, and failed there.
        is_suspect: It hung or crashed.
        fault: What kind of fault it was; None: it was refused for something else.
    """

    file: str
    why: str
    is_expected: bool
    while_running: bool = False
    is_suspect: bool = False
    fault: Fault | None = None

    def told(self) -> str:
        """Give its name and what became of it."""
        return f"{self.file} {'failed while it ran' if self.while_running else 'was refused'}"


@dataclass(frozen=True, slots=True)
class Running:
    """A model in a runtime, as `edgecam status` and the `info` message tell it.

    Attributes:
        file: Name of the file of weights.
        format: Which runtime runs it.
        placements: What has taken how many of the network's nodes.
        shortfalls: What was asked for and is not so, and why: a line each.
        refused: The artifacts that were to be tried before it.
        is_isolated: In a process of its own.
        is_blind: It was the last that ran: now nothing of the model works, and `refused` tells why of each.
    """

    file: str
    format: str
    placements: tuple[Placement, ...]
    shortfalls: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()
    is_isolated: bool = False
    is_blind: bool = False

    def troubles(self) -> tuple[str, ...]:
        """Tell what the owner should know of; empty when it runs as it was meant to."""
        runs = "nothing runs" if self.is_blind else f"{self.file} runs"
        refused = (f"{one.told()}, {runs}: {one.why}" for one in self.refused if not one.is_expected)
        return (*refused, *(() if self.is_blind else self.shortfalls))

    def facts(self) -> dict[str, Any]:
        """Give it as JSON types."""
        return {
            "file": self.file,
            "format": self.format,
            "in_service": not self.is_blind,
            "isolated": self.is_isolated,
            "providers": [{"name": one.provider, "nodes": one.nodes} for one in self.placements],
            "shortfalls": list(self.shortfalls),
            "refused": [
                {"file": one.file, "why": one.why, "is_expected": one.is_expected, "while_running": one.while_running}
                for one in self.refused
            ],
        }

    def __str__(self) -> str:
        place = ", in a process of its own" if self.is_isolated else ""
        return f"{self.file}: {', '.join(map(_told, self.placements))}{place}"


def _told(placement: Placement) -> str:
    nodes = "an unknown number of nodes" if placement.nodes is None else f"{placement.nodes} nodes"
    return f"{nodes} on {placement.provider}"
