"""What is to be done and what is done, on disk before each act, so that it goes on where it was cut."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from appliance.config import parse_table
from appliance.core.errors import ConfigError, StorageError
from appliance.core.files import make_folder, write_atomically
from appliance.provisioning.asked import Setup
from appliance.provisioning.reading import Asked
from appliance.provisioning.repeated import Before, digest
from appliance.provisioning.secrets import at

State = Literal["to do", "done", "left out", "failed"]
_MOST = 4 << 20  # bytes: of five files at their bound, if JSON writes each byte of them as six, and of what is asked
_VERSION = 1
SECTIONS = {  # what of a setup file each step carries out; "secrets" those that have any, "service" none
    "hostname": ("hostname",),
    "time zone": ("time_zone",),
    "ssh": ("ssh",),
    "wifi": ("wifi",),
    "identity": ("device_id",),
    "configuration": ("broker", "cameras", "fleet"),
}
_Plan = TypeVar("_Plan", bound="Plan")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended.

    Attributes:
        state: ``left out``: it cannot be done here, and said why; ``failed``: it is tried again at the next boot.
        said: In words, for the owner.
    """

    state: State
    said: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked, and how far it is done.

    Attributes:
        setup: What is asked.
        original, redacted: Digests of the setup file with its secrets and without.
        steps: The steps in their order.
        secrets: Passwords by key path, until all is done.
        files: Contents of files by key path, likewise.
        redacted_text: What is to be left of the setup file; empty once it is.
        private_file: The secret file beside it, to be removed; empty once it is.
        said: The sections that were asked over SSH since the card's file has asked them.
        marks: By what the sections of the card's file are known again, and the files that it names.
    """

    setup: Setup
    original: str
    redacted: str
    steps: Mapping[str, Outcome]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    redacted_text: str = ""
    private_file: str = ""
    said: tuple[str, ...] = ()
    marks: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, asked: Asked, steps: Iterable[str], before: "Plan | None", *, is_said: bool = False) -> Self:
        """Give the plan for what is asked, and for what was asked before and is not done.

        A new file on the card takes the place of the one before, so that what was taken out of it is not tried for
        ever. What was asked over SSH stays, and so does the card's file where something is asked over SSH.

        Args:
            asked: It.
            steps: The names of the steps.
            before: The plan before, whose secrets may not be in their places yet.
            is_said: It is asked over SSH, and not by the card's file.
        """
        given = asked.setup.model_fields_set
        stay = before.undone(is_said=is_said) - given if before else set()
        setup = asked.setup.model_copy(update={name: getattr(before.setup, name) for name in stay} if before else {})
        said = set(before.said if before else ()) - given | (given if is_said else set())
        plan = cls(
            setup,
            digest(asked.text),
            digest(asked.redacted),
            {step: Outcome("to do") for step in steps},
            _named({**(before.secrets if before else {}), **asked.secrets}, setup),
            _named({**(before.files if before else {}), **asked.files}, setup),
            asked.redacted if asked.redacted != asked.text or asked.private_file else "",
            asked.private_file,
            tuple(sorted(said)),
            asked.marks,
        )
        # the file on the card, if it was carried out, is not to undo this at the next boot
        return plan._beside(before) if is_said else plan

    @property
    def is_done(self) -> bool:
        """Nothing is left to be tried."""
        return not self.redacted_text and all(one.state in ("done", "left out") for one in self.steps.values())

    def to_do(self) -> list[str]:
        """Give the steps that are not done."""
        return [name for name, one in self.steps.items() if one.state in ("to do", "failed")]

    def after(self, step: str, outcome: Outcome) -> Self:
        """Give the plan with a step's outcome; secrets go once all is done."""
        return _forgotten(replace(self, steps={**self.steps, step: outcome}))

    def card(self) -> Before:
        """Give what is known of the card's file."""
        return Before(self.marks, self.said)

    def undone(self, *, is_said: bool) -> set[str]:
        """Give the sections that go on beside what is asked anew, over SSH or by the card's file."""
        to_do = self.to_do()
        names = {name for step in to_do for name in SECTIONS.get(step, ())}
        if is_said:
            names.add("device_id")  # or it could not be told, once the card is copied, from one that is meant
        if "secrets" in to_do:
            names |= {path.partition(".")[0] for path in (*self.secrets, *self.files)}
        return names & self.setup.model_fields_set & (names if is_said else set(self.said))

    def _beside(self, before: "Plan | None") -> Self:
        """Give the plan as one of another file than the card's, of which the plan before tells how far it is."""
        if before is None:
            return replace(self, original="", redacted="", redacted_text="", private_file="", marks={})
        return replace(
            self,
            original=before.original,
            redacted=before.redacted,
            redacted_text=before.redacted_text,
            private_file=before.private_file,
            marks=before.marks,
        )

    def again(self, *steps: str) -> Self:
        """Give the plan with some steps to be done again."""
        return replace(self, steps={**self.steps, **{step: Outcome("to do") for step in steps}})

    def scrubbed(self) -> Self:
        """Give the plan once the setup file holds no secret any more."""
        return _forgotten(replace(self, redacted_text="", private_file=""))


def _named(contents: Mapping[str, str], setup: Setup) -> dict[str, str]:
    """Give those of the contents whose key paths a setup has: others are of what it takes the place of."""
    values = setup.model_dump(mode="json", exclude_none=True)
    return {path: content for path, content in contents.items() if at(values, path.split(".")) is not None}


def _forgotten(plan: _Plan) -> _Plan:
    """Give a plan without its secrets, if nothing is left to be done: they are in their places."""
    return replace(plan, secrets={}, files={}) if plan.is_done else plan


def load_plan(path: Path) -> Plan | None:
    """Give the plan that was stored; None: there is none.

    Raises:
        ConfigError: It is not what was stored.
        StorageError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            told = json.loads(file.read(_MOST))
        return _plan(told)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise ConfigError(f"{path} is not what was written there; remove it, and set the device up again") from error


def store_plan(path: Path, plan: Plan) -> None:
    """Store a plan so that it survives a power cut.

    Raises:
        StorageError: It cannot be written.
    """
    make_folder(path.parent)
    told = {
        "v": _VERSION,
        "setup": plan.setup.model_dump(mode="json", exclude_unset=True),
        "original": plan.original,
        "redacted": plan.redacted,
        "steps": {name: asdict(one) for name, one in plan.steps.items()},
        "secrets": dict(plan.secrets),
        "files": dict(plan.files),
        "redacted_text": plan.redacted_text,
        "private_file": plan.private_file,
        "said": list(plan.said),
        "marks": dict(plan.marks),
    }
    write_atomically(path, json.dumps(told).encode() + b"\n", 0o600)


def _plan(told: dict[str, Any]) -> Plan:
    if told["v"] != _VERSION:
        raise ValueError(told["v"])
    return Plan(
        parse_table(Setup, told["setup"], "the plan"),
        str(told["original"]),
        str(told["redacted"]),
        {str(name): Outcome(one["state"], str(one["said"])) for name, one in told["steps"].items()},
        {str(path): str(secret) for path, secret in told["secrets"].items()},
        {str(path): str(content) for path, content in told["files"].items()},
        str(told["redacted_text"]),
        str(told["private_file"]),
        # plans of before have none
        tuple(str(name) for name in told.get("said", ())),
        {str(name): str(mark) for name, mark in told.get("marks", {}).items()},
    )
