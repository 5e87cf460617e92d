"""What a detector runs on: its file, what has taken how much of the network, and what fell short of the plan."""

from dataclasses import asdict, dataclass
from typing import Any

from appliance.inference.runtimes import Placement


@dataclass(frozen=True, slots=True)
class Refusal:
    """An artifact that would have been better and was not taken.

    Attributes:
        file: Its name.
        why: One line.
        is_expected: It is not for this machine, or not here, and nothing is wrong with that.
    """

    file: str
    why: str
    is_expected: bool


@dataclass(frozen=True, slots=True)
class Running:
    """A model in a runtime, as `edgecam status` and the `info` message tell it.

    Attributes:
        file: Name of the file of weights.
        format: Which runtime runs it.
        placements: What has taken how many of the network's nodes.
        shortfalls: What was asked for and is not so, and why: a line each.
        refused: The artifacts that were to be tried before it.
    """

    file: str
    format: str
    placements: tuple[Placement, ...]
    shortfalls: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()

    def troubles(self) -> tuple[str, ...]:
        """Tell what the owner should know of; empty when it runs as it was meant to."""
        refused = (
            f"{one.file} was refused, {self.file} runs: {one.why}" for one in self.refused if not one.is_expected
        )
        return (*refused, *self.shortfalls)

    def facts(self) -> dict[str, Any]:
        """Give it as JSON types."""
        return {
            "file": self.file,
            "format": self.format,
            "providers": [{"name": one.provider, "nodes": one.nodes} for one in self.placements],
            "shortfalls": list(self.shortfalls),
            "refused": [asdict(one) for one in self.refused],
        }

    def __str__(self) -> str:
        return f"{self.file}: {', '.join(map(_told, self.placements))}"


def _told(placement: Placement) -> str:
    nodes = "an unknown number of nodes" if placement.nodes is None else f"{placement.nodes} nodes"
    return f"{nodes} on {placement.provider}"
