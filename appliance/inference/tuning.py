"""The way of running a model that was measured to be the best here: stored, found again, refused where it does not fit.

One JSON file for each model in ``tuning/`` in the state's folder (docs/tuning.md).
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError

from appliance.config import ModelSettings
from appliance.core.errors import ModelError, StorageError
from appliance.core.files import write_atomically
from appliance.core.manifest import MANIFEST_NAME, PlainFile
from appliance.core.part import Part
from appliance.core.providers import ProviderName, Threads
from appliance.inference.artifacts import find_rungs, locate_model
from appliance.inference.fingerprint import Fingerprint, read_fingerprint
from appliance.inference.ways import Preference, Way

FOLDER: Final = "tuning"
SCHEMA: Final = 1
MOST_BYTES: Final = 64 << 10
NEXT_STEP: Final = "edgecam tune"
Objective = Literal["latency", "cpu", "memory"]
State = Literal["none", "used", "overridden", "stale", "refused", "off", "renewed"]
Line = Annotated[str, Field(max_length=2000)]
Figure = Annotated[float, Field(ge=0.0, le=1e9)]


class Choice(Part):
    """A file and how to run it.

    Attributes:
        file: Its name.
        providers: See `Way`.
        is_plain: See `Way`.
        threads: See `Way`.
    """

    file: PlainFile
    providers: Annotated[tuple[ProviderName, ...], Field(max_length=8)] = ()
    is_plain: bool = False
    threads: Threads = 1


class Figures(Part):
    """What was measured of the choice.

    Attributes:
        latency_ms: From picture to result, milliseconds.
        cpu_ms: CPU time a frame, milliseconds.
        memory_mb: Peak memory of a process that does only this, MB.
        agreement: With the reference, 0..1; None: it is the reference.
    """

    latency_ms: Figure
    cpu_ms: Figure
    memory_mb: Figure
    agreement: Annotated[float, Field(ge=0.0, le=1.0)] | None = None


class Tuning(Part):
    """The content of a stored file.

    Attributes:
        schema_version: Of this format; `schema` in the file.
        model: Of which model it is; see `Subject`.
        objective: By what it was chosen.
        made: When, UTC, as the device's clock had it.
        choice: The best.
        figures: Of the choice.
        candidates: How many were measured.
        refused: Those that were not to be chosen, with the reason, a line each.
        fingerprint: Of machine, runtimes and model.
    """

    schema_version: Literal[1] = Field(alias="schema", default=1)
    model: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    objective: Objective
    made: Annotated[str, Field(max_length=40)]
    choice: Choice
    figures: Figures
    candidates: Annotated[int, Field(ge=1, le=10_000)] = 1
    refused: Annotated[tuple[Line, ...], Field(max_length=256)] = ()
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class Subject:
    """What a choice is stored for.

    Attributes:
        name: Of the model's manifest; of a bare file made from its name.
        files: SHA-256 of its manifest and files of weights by name.
    """

    name: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Tuned:
    """What became of the stored choice.

    Attributes:
        state: ``none``: nothing is stored; ``used``; ``overridden``: the configuration says otherwise, if in part;
            ``stale``: machine, runtimes or model are others now; ``renewed``: it was, and is measured again, for the
            next start; ``refused``: the file is damaged; ``off``: by the configuration.
        why: One line; empty where there is nothing to say.
        preference: What is to be tried first; None: the ladder as it is.
        tuning: What is stored; None where nothing is, or nothing that can be read.
    """

    state: State
    why: str = ""
    preference: Preference | None = None
    tuning: Tuning | None = None

    def facts(self) -> dict[str, Any]:
        """Give it as status and `info` tell it, JSON types only."""
        facts: dict[str, Any] = {"state": self.state, "why": self.why}
        if self.tuning is not None:
            facts |= {"objective": self.tuning.objective, "made": self.tuning.made}
            facts |= {"choice": self.tuning.choice.model_dump(mode="json")}
            facts |= {"figures": self.tuning.figures.model_dump(mode="json")}
        return facts


def subject_of(settings: ModelSettings) -> Subject:
    """Give what ``[model] use`` names, as choices are stored for it; reads a bare file whole.

    Raises:
        ConfigError: There is no such model or file.
        ModelError: The manifest or the file is not accepted.
    """
    rungs = find_rungs(settings.model_copy(update={"artifact": None}))
    if not rungs:
        located = locate_model(settings)
        stem = re.sub(r"[^a-z0-9._-]+", "-", located.path.stem.lower()).strip("-.")[:40] or "file"
        return Subject(f"file-{stem}-{located.sha256[:8]}", {located.path.name: located.sha256})
    folder = rungs[0].folder
    present = {
        one.artifact.file: one.artifact.sha256
        for one in rungs
        if one.artifact is not None and (folder / one.artifact.file).is_file()
    }
    manifest = hashlib.sha256((folder / MANIFEST_NAME).read_bytes()).hexdigest()
    return Subject(rungs[0].manifest.name, {MANIFEST_NAME: manifest} | present)


def read_tuning(state_dir: Path, name: str) -> Tuning | None:
    """Read what is stored for a model; None: nothing is.

    Raises:
        ModelError: It is too large, damaged, written by a newer Edgecam, of another model, or cannot be read.
    """
    path = _path(state_dir, name)
    try:
        if not path.is_file():  # a pipe would keep us waiting
            return None
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise ModelError(f"{path} is larger than {MOST_BYTES >> 10} KiB")
    return _parse(content, path, name)


def write_tuning(state_dir: Path, tuning: Tuning) -> Path:
    """Store a choice in place of the one before it, whole or not at all; give its file.

    Raises:
        StorageError: The state's folder cannot be written to.
    """
    path = _path(state_dir, tuning.model)
    try:
        path.parent.mkdir(exist_ok=True)
        if os.geteuid() == 0:  # the daemon, which is not root, is to renew it
            owner = state_dir.stat()
            os.chown(path.parent, owner.st_uid, owner.st_gid)
    except OSError as error:
        raise StorageError(f"cannot make {path.parent}: {error.strerror}; is the state's folder there?") from error
    write_atomically(path, (tuning.model_dump_json(by_alias=True, indent=1) + "\n").encode())
    return path


def look_up(settings: ModelSettings, state_dir: Path) -> Tuned:
    """Find the stored choice for the model that the settings name, and say whether it counts.

    What the configuration sets itself of `artifact`, `providers`, `delegate` and `threads` goes before it.

    Args:
        settings: The ``[model]`` section.
        state_dir: Where the state is kept.

    Raises:
        ConfigError: There is no such model or file.
        ModelError: The model's manifest or file is not accepted.
    """
    if (unread := _without_a_look(settings, state_dir)) is not None:
        return unread
    subject = subject_of(settings)
    try:
        tuning = read_tuning(state_dir, subject.name)
    except ModelError as error:
        return Tuned("refused", f"{error}; it is not used; measure again: {NEXT_STEP}")
    if tuning is None:
        return Tuned("none")
    changes = tuning.fingerprint.changes(read_fingerprint(subject.files))
    if changes:
        return Tuned("stale", f"measured on something else: {'; '.join(changes)[:500]}", tuning=tuning)
    meant = [one.artifact.file for one in find_rungs(settings) if one.artifact is not None]
    return _under(settings, tuning, meant or [tuning.choice.file])


def _without_a_look(settings: ModelSettings, state_dir: Path) -> Tuned | None:
    """Tell what can be told before anything is read; None: a choice may be stored."""
    if settings.tune == "off":
        return Tuned("off", "[model] tune is off")
    if state_dir.is_dir() and not os.access(state_dir, os.X_OK):
        why = f"what was measured is not used: {state_dir} is not open to you; ask as its owner, with sudo -u"
        return Tuned("refused", why)
    return None if (state_dir / FOLDER).is_dir() else Tuned("none")


def _under(settings: ModelSettings, tuning: Tuning, meant: Sequence[str]) -> Tuned:
    """Give what the owner's configuration leaves of a choice, where these files are meant. Pure."""
    choice, owners = tuning.choice, settings.model_fields_set
    kind = Path(choice.file).suffix.removeprefix(".")
    if choice.file not in meant:
        why = f"[model] artifact is {settings.artifact!r}, and {choice.file} was measured to be the best"
        return Tuned("overridden", why, tuning=tuning)
    way = Way(choice.providers, choice.is_plain, choice.threads)
    set_there = []
    if "threads" in owners and settings.threads != choice.threads:
        way = replace(way, threads=settings.threads)
        set_there.append(f"threads = {settings.threads}")
    if settings.providers and kind == "onnx" and settings.providers != choice.providers:
        way = replace(way, providers=())
        set_there.append(f"providers = {', '.join(settings.providers)}")
    if settings.delegate and kind == "tflite":
        way = replace(way, is_plain=False)
        set_there.append(f"delegate = {settings.delegate}")
    why = f"[model] {' and '.join(set_there)} goes before what was measured" if set_there else ""
    return Tuned("overridden" if set_there else "used", why, Preference(choice.file, way), tuning)


def _parse(content: bytes, path: Path, name: str) -> Tuning:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: it is no valid JSON") from error
    schema = values.get("schema") if isinstance(values, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise ModelError(f"{path} was written by a newer Edgecam (format {schema}; this one reads {SCHEMA})")
    try:
        tuning = Tuning.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ModelError(f"{path} is damaged: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if tuning.model != name or tuning.choice.file not in tuning.fingerprint.files:
        raise ModelError(f"{path} is damaged: it is of another model")
    return tuning


def _path(state_dir: Path, name: str) -> Path:
    return state_dir / FOLDER / f"{name}.json"
