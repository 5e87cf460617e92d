"""The owner of a fleet, who uses nothing but the commands: `edgecam-workbench publish` and `rollout`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from appliance.workbench.publish import publish
from appliance.workbench.publishing.keys import make_key, open_signer
from appliance.workbench.publishing.repository import Repository
from appliance.workbench.rollout import rollout
from tests.simulators.publishing import metrics_of

NAME = "edgecam-nano"
_SIGNING = ("root-1", "root-2", "targets-1", "targets-2", "models-1", "models-2")


class Owner:
    """A fleet in a folder, and `www`, from where devices get it.

    Args:
        folder: Gets keys, the publisher's folder and `www`.
        name: Of the model that is released.
    """

    def __init__(self, folder: Path, name: str = NAME) -> None:
        self.name = name
        self.folder, self.fleet, self.keys, self.www = folder, folder / "fleet", folder / "keys", folder / "www"
        folder.mkdir()
        self._run(publish, "init", self.fleet, "--make-keys", self.keys)
        self._run(publish, "sign", self.fleet, *self._with(*_SIGNING), "--yes")
        self._run(publish, "refresh", self.fleet)
        self.push()

    @property
    def root(self) -> Path:
        """The root of trust that devices are given."""
        return self.www / "metadata" / "1.root.json"

    def release(self, model: Path, metrics: Path | None = None) -> dict[str, Any]:
        """Publish a model's folder, with its metrics; give what the command tells of it."""
        measured = metrics or metrics_of(model)
        added = json.loads(self._run(publish, "add", self.fleet, model, "--metrics", measured, "--json"))
        self._run(publish, "sign", self.fleet, *self._with("models-1", "models-2"), "--yes")
        self._run(publish, "refresh", self.fleet)
        self.push()
        told: dict[str, Any] = added
        return told

    def roll_out(self, version: str, share: float = 100.0, trial: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Have devices take a release, in place of whatever was under way; give the rollout."""
        file = self.folder / "trial.toml"
        file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in (trial or {}).items()))
        words = (f"{self.name}@{version}", "--share", share, "--jitter", 0, "--trial", file, "--replace", "--json")
        told: dict[str, Any] = json.loads(self._run(rollout, "start", self.fleet, "stable", *words))["rollout"]
        self.push()
        return told

    def withdraw(self, version: str) -> None:
        """Take a release away that nobody is to run."""
        self._run(publish, "withdraw", self.fleet, f"{self.name}@{version}")
        self._run(publish, "sign", self.fleet, *self._with("models-1", "models-2"), "--yes")
        self._run(publish, "refresh", self.fleet)

    def halt(self) -> None:
        """Have whoever has not committed give up."""
        self._run(rollout, "halt", self.fleet, "stable", self.name)
        self.push()

    def push(self) -> None:
        self._run(publish, "push", self.fleet, self.www)

    def be_robbed(self) -> None:
        """Have a thief of the online key bring releases that another key has signed in place of the owner's."""
        repository = Repository(self.fleet)
        forged = repository.models()
        forged.signed.version += 1
        public = make_key(self.keys / "thief.pem", "")
        forged.sign(open_signer(f"file2:{self.keys / 'thief.pem'}", public))
        repository.publish("models", forged)
        self._run(publish, "refresh", self.fleet)
        self.push()

    def _with(self, *names: str) -> list[str]:
        return [word for name in names for word in ("--with", f"file2:{self.keys / name}.pem")]

    @staticmethod
    def _run(command: Any, *words: object) -> str:
        done = CliRunner().invoke(command, [str(one) for one in words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout
