"""Asks one thing of `edgecam setup` until the answer is accepted."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.core.errors import ConfigError

if TYPE_CHECKING:
    from appliance.provisioning import Places

NONE = "-"
"""Answers that there is to be none, where Enter would keep what is there."""

Said = Callable[[str], dict[str, Any]]
"""Gives what a setup file would say, of an answer."""


def answers_path(places: "Places") -> Path:
    """Give where the answers stand, as a setup file would: beside the certificates that are on the device already."""
    from appliance.provisioning.configuration import CA

    return places.at(CA).with_name("the answers")


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks.

    Attributes:
        places: The machine that it is for.
        is_kept: Whether the secret or file of a key path is on the device already.
    """

    places: "Places"
    is_kept: Callable[[str], bool]

    def mistakes(self, values: dict[str, Any], setting: str) -> list[str]:
        """Give what is not accepted of a setting and of those below it; what else is wrong no answer to it mends."""
        from appliance.provisioning import check_setup

        try:
            check_setup(values, "", answers_path(self.places), self.places, lambda _: True)
        except ConfigError as error:
            return [line.strip() for line in str(error).splitlines() if line.strip().startswith(setting)]
        return []

    def answer(
        self, question: str, setting: str, said: Said, default: str | None = "", *, is_hidden: bool = False
    ) -> str:
        """Ask until the setting accepts the answer; an empty one and the default are taken as they are.

        Args:
            question: What is asked.
            setting: Its key path, with which a mistake of its own begins.
            said: What a setup file would say; may raise `click.BadParameter` itself.
            default: What Enter answers; None: it asks again.
            is_hidden: It is not shown while it is typed.
        """

        def check(text: str) -> str:
            if text not in ("", default) and (own := self.mistakes(said(text), setting)):
                raise click.BadParameter(own[0])
            return text

        answer: str = click.prompt(
            question, default=default, value_proc=check, hide_input=is_hidden, show_default=bool(default), err=True
        )
        return answer

    def optional(self, question: str, setting: str, said: Said, there: str = "") -> str:
        """Ask for what can be left out, and say how; empty: it is left out."""
        if not there:
            return self.answer(f"{question} (empty: none)", setting, said)
        text = self.answer(f'{question} ("{NONE}": none)', setting, said, there)
        return "" if text == NONE else text


def whoever_asks() -> str:
    """Give the account that sudo was called from; empty: it is not known, or root's own."""
    name = os.environ.get("SUDO_USER", "")
    return "" if name == "root" else name
