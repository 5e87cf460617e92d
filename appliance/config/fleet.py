"""The settings of models from a fleet."""

import re
from pathlib import Path
from typing import Self

from pydantic import model_validator

from appliance.config.declare import Section, setting


class FleetSettings(Section):
    """Models from a fleet: signed, gated, tried, committed or rolled back. Off unless `url` is set."""

    url: str = setting(
        "",
        "Where the fleet's files lie: an address, or a folder that was carried here; empty: there is no fleet.",
        accepts="https://HOST/PATH, http://HOST/PATH or a folder's path, in quotes",
        max_length=1024,
        pattern=r"^((https?://[^/\s@]+(/\S*)?)|/.*)?$",
    )
    root: Path | None = setting(
        None, "The fleet's root of trust, which its owner gives to each device.", example="/etc/edgecam/fleet-root.json"
    )
    channel: str = setting("stable", "Whose rollouts are followed.", pattern=r"^[0-9A-Za-z._+-]{1,64}$")
    model: str | None = setting(
        None,
        "Name of the model whose rollouts are followed; none: of the one that [model] use names.",
        example="edgecam-nano",
        pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$",
    )
    cohorts: tuple[str, ...] = setting((), "What this device counts to, for rollouts.", max_length=16)
    use: str = setting(
        "", "What models are used for here, where a licence allows some uses only.", max_length=64, example="commercial"
    )
    accelerators: tuple[str, ...] = setting((), "Accelerators that are here, for releases that need one.", max_length=8)
    interval: float = setting(
        6 * 3600.0, "Time between two looks at the fleet.", unit="seconds", ge=1.0, le=30 * 86400.0
    )
    first: float | None = setting(
        None,
        "Time to the first look after a start; none: 2 to 20 minutes, so that a whole site does not ask at once.",
        unit="seconds",
        ge=0.0,
        le=86400.0,
        example=10.0,
    )
    hint: str | None = setting(
        None,
        "Topic at which the fleet says that it has signed something new; none: it is only asked every `interval`.",
        accepts="levels of letters, digits, ., - and _, with / between them",
        pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$",
        max_length=128,
        example="fleet/stable/hint",
    )
    hint_spread: float = setting(
        60.0,
        "Time within which a device looks because of a hint, at a moment of its own; a hint can name more, not less.",
        unit="seconds",
        ge=0.0,
        le=86400.0,
    )
    window: tuple[str, str] | None = setting(
        None,
        "Local times between which an update may begin; it may go over midnight.",
        accepts='["HH:MM", "HH:MM"]',
        example=["01:00", "05:00"],
    )
    metered: bool | None = setting(
        None,
        "The connection costs: only what a rollout allows for that is brought; none: as NetworkManager says.",
        accepts="true or false",
        example=True,
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.url and self.root is None:
            raise ValueError("url needs root: the root.json that the fleet's owner gives to each device")
        if self.window is not None and not all(re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", one) for one in self.window):
            raise ValueError('window is ["HH:MM", "HH:MM"]')
        return self
