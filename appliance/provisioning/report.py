"""What is told to the owner: beside the setup file, as text and as JSON, without any secret."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from appliance.core.errors import StorageError
from appliance.core.files import write_atomically
from appliance.provisioning.plan import Outcome, Plan
from appliance.provisioning.system import Places

TEXT, JSON = "edgecam-setup-report.txt", "edgecam-setup-report.json"
Verdict = Literal["done", "not done", "refused"]
_MARKS = {"done": "ok", "left out": "LEFT OUT", "failed": "FAILED", "to do": "to do"}
_HEADS: dict[Verdict, str] = {
    "done": "This device is set up.",
    "not done": "This device is NOT wholly set up yet: what FAILED is tried again at the next boot.",
    "refused": "Nothing was changed: edgecam-setup.toml is not accepted. Correct it, and start the device again.",
}
_CHANGED = (
    "Nothing of the changed edgecam-setup.toml was carried out: it is not accepted. "
    "Correct it, and start the device again."
)
_ACCEPTED = "What was accepted before, and how far it is:"


@dataclass(frozen=True, slots=True)
class Report:
    """How setting up went.

    Attributes:
        verdict: ``refused``: nothing of the setup file as it is now was carried out.
        device_id: The device's id; empty: it has none yet.
        hostname: The machine's name.
        user: Who may log in over SSH; empty: nobody was named.
        steps: Name, outcome; of a file that is refused: of what was accepted before.
        mistakes: Why the setup file is not accepted, a line each.
        notes: What the owner should know besides.
    """

    verdict: Verdict
    device_id: str = ""
    hostname: str = ""
    user: str = ""
    steps: Sequence[tuple[str, Outcome]] = ()
    mistakes: Sequence[str] = ()
    notes: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """Give it for programs."""
        return {
            "v": 1,
            "verdict": self.verdict,
            "device": self.device_id,
            "hostname": self.hostname,
            "user": self.user,
            "steps": [{"step": name, "state": one.state, "said": one.said} for name, one in self.steps],
            "mistakes": list(self.mistakes),
            "notes": list(self.notes),
        }

    def as_text(self) -> str:
        """Give it for people."""
        return "\n".join([*self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        yield _CHANGED if self.mistakes and self.steps else _HEADS[self.verdict]
        yield ""
        yield from (f"  {line}" for line in self.mistakes)
        if self.mistakes and self.steps:
            yield from ("", _ACCEPTED, "")
        for name, one in self.steps:
            yield f"  {name:<14} {_MARKS[one.state]:<9} {one.said}".rstrip()
        if self.steps and self.user and self.hostname:
            yield ""
            yield f"  Look inside:   ssh {self.user}@{self.hostname}.local   then: edgecam status"
        if self.steps and self.device_id:
            yield f"  Subscribe to:  edgecam/{self.device_id}/#"
        if self.notes:
            yield ""
        yield from (f"  Note: {note}" for note in self.notes)


def report_of(plan: Plan, device_id: str, hostname: str, notes: Sequence[str]) -> Report:
    """Give the report of a plan as far as it is done."""
    left = [name for name, one in plan.steps.items() if one.state == "left out"]
    more = [f"{', '.join(left)}: left out, for the reason above; do it by hand or change the file"] if left else []
    return Report(
        "done" if plan.is_done else "not done",
        device_id,
        hostname,
        plan.setup.ssh.user if plan.setup.ssh and plan.setup.ssh.keys else "",
        tuple(plan.steps.items()),
        notes=[*more, *notes],
    )


def write_report(places: Places, report: Report) -> bool:
    """Write the report beside the setup file, where it says anything new; give whether it could be.

    A boot partition that cannot be written to stops nothing: the journal has the same.
    """
    texts = {TEXT: report.as_text(), JSON: json.dumps(report.as_json(), indent=1) + "\n"}
    # each for itself, and that for people first: there may be room for one of them
    written = [_write(places.boot / name, content.encode()) for name, content in texts.items()]
    return all(written)


def _write(path: Path, content: bytes) -> bool:
    try:
        if not _is_there(path, content):
            _replace(path, content)
    except (StorageError, OSError):
        return False
    return True


def _replace(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except StorageError:
        # what the one before says is not so any more, and on a full card this one gets its room
        path.unlink(missing_ok=True)
        write_atomically(path, content)


def _is_there(path: Path, content: bytes) -> bool:
    if not path.exists():
        return False
    with path.open("rb") as file:
        return file.read(len(content) + 1) == content
