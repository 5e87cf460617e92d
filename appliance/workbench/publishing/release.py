"""What a release says of a model's folder; refused where something is missing that devices or people need."""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from appliance.core.errors import ConfigError, ModelError, StorageError
from appliance.core.manifest import MANIFEST_NAME, MOST_MODEL_BYTES, ModelManifest, read_manifest
from appliance.core.mistakes import explain, parse_toml
from appliance.core.part import Part
from appliance.inference.golden import GOLDEN_FOLDER, GOLDEN_NAME, read_content, read_golden_frame
from appliance.inference.golden_task import golden_task
from appliance.updates.formats import Day, Line, Metrics, ReleasedName, Requirements, Word

TERMS_NAME: Final = "release.toml"
"""File in a model's folder with what a release says beside the manifest; it is not published itself."""

_NOBODY_SAID: Final = frozenset(
    {"NOASSERTION", "NONE", "UNKNOWN"}
)  # SPDX; what `edgecam model add` writes is the first
_MOST_METRICS = 16 << 20
_E4 = 10_000
_Figure = Literal["ap", "ap50", "top1", "top5", "miou"]
_FIGURES: Final[Mapping[str, Mapping[_Figure, tuple[str, ...]]]] = {
    "detect": {"ap": ("figures", "ap"), "ap50": ("figures", "ap50")},
    "classify": {"top1": ("whole", "top1"), "top5": ("whole", "top5")},
    "segment": {"miou": ("mean_iou",)},
}
"""Where what ``evaluate --json`` prints of a task has which figure."""


class Terms(Part):
    """The content of release.toml; all of it may be left out.

    Attributes:
        requires: What a device must have.
        notice: What must be shown with the model.
        uses: What it may be used for; empty: anything.
        expires: Last day of use.
        provenance: Where it comes from; empty: what the manifest says of its source.
    """

    requires: Requirements = Requirements()
    notice: Annotated[str, Field(max_length=2000)] = ""
    uses: Annotated[tuple[Word, ...], Field(max_length=16)] = ()
    expires: Day | None = None
    provenance: Line | Literal[""] = ""


@dataclass(frozen=True, slots=True)
class Contents:
    """A model's folder, read and found fit for a release.

    Attributes:
        manifest: What it says.
        text: Of manifest.toml.
        files: The other files' contents, by name (``golden/golden.json``).
        terms: What release.toml says.
        metrics: How good it is.
    """

    manifest: ModelManifest
    text: bytes
    files: Mapping[str, bytes]
    terms: Terms
    metrics: Metrics

    @property
    def provenance(self) -> str:
        """Where it comes from, for people."""
        source = self.manifest.source
        told = self.terms.provenance or "; ".join(filter(None, (source.url, source.paper, source.notes)))
        return " ".join(told.split())[:500]


def read_contents(folder: Path, metrics: Path | None) -> Contents:
    """Read a model's folder.

    Args:
        folder: With manifest, weights, label file and golden frames.
        metrics: What ``evaluate --json`` printed; None: refused, with what to do.

    Raises:
        ConfigError: Its licence, metrics or golden frames are missing, or it is not whole in itself.
        ModelError: Something in it is not what it says.
        StorageError: It cannot be read.
    """
    manifest = read_manifest(folder)
    text = _read(folder / MANIFEST_NAME, MOST_MODEL_BYTES)
    if manifest.licence in _NOBODY_SAID:
        raise ConfigError(
            f"{folder / MANIFEST_NAME}: licence is {manifest.licence!r}: nobody may use such a model; ask its maker, "
            'and write the SPDX expression: licence = "Apache-2.0"'
        )
    files = _weights(folder, manifest)
    labels = tomllib.loads(text.decode())["labels"]
    if isinstance(labels, str):
        if Path(labels).name != labels:
            raise ConfigError(
                f"{folder / MANIFEST_NAME}: labels are in {labels}, outside of the folder; copy the file beside the "
                f'manifest, and write: labels = "{Path(labels).name}"'
            )
        files[labels] = _read(folder / labels, MOST_MODEL_BYTES)
    files |= _golden(folder, manifest)
    _check_names(files)
    contents = Contents(manifest, text, files, _terms(folder), _metrics(folder, manifest, metrics))
    if not contents.provenance:
        raise ConfigError(f'{folder} does not say where the model comes from; write provenance = "…" in {TERMS_NAME}')
    return contents


def _weights(folder: Path, manifest: ModelManifest) -> dict[str, bytes]:
    if not manifest.artifacts:
        raise ConfigError(f"{folder} has no weights: there is nothing to release")
    files = {}
    for artifact in manifest.artifacts:
        if not (folder / artifact.file).is_file():
            raise ConfigError(
                f"{folder / artifact.file} is missing; bring it, or take its [[artifacts]] out of {MANIFEST_NAME}"
            )
        content = _read(folder / artifact.file, MOST_MODEL_BYTES)
        if (len(content), hashlib.sha256(content).hexdigest()) != (artifact.size, artifact.sha256):
            raise ModelError(f"{folder / artifact.file} is not the file that {MANIFEST_NAME} names")
        files[artifact.file] = content
    return files


def _golden(folder: Path, manifest: ModelManifest) -> dict[str, bytes]:
    if not (folder / GOLDEN_FOLDER / GOLDEN_NAME).is_file():
        raise ConfigError(
            f"{folder} has no golden frames: devices could not tell whether the model works there; make them: "
            f"edgecam-workbench golden {folder}"
        )
    golden = read_content(folder, golden_task(manifest.task).content)
    for artifact in manifest.artifacts:
        if all(one.sha256 != artifact.sha256 for one in golden.artifacts):
            raise ConfigError(
                f"the golden frames know nothing of {artifact.file}; make them where it can be run: edgecam-workbench "
                f"golden {folder}"
            )
    for frame in golden.frames:
        read_golden_frame(folder, frame)
    names = (GOLDEN_NAME, *(frame.file for frame in golden.frames))
    return {f"{GOLDEN_FOLDER}/{name}": _read(folder / GOLDEN_FOLDER / name, MOST_MODEL_BYTES) for name in names}


def _terms(folder: Path) -> Terms:
    file = folder / TERMS_NAME
    if not file.exists():
        return Terms()
    return parse_toml(_read(file, 64 << 10), file, Terms, ConfigError)


def _metrics(folder: Path, manifest: ModelManifest, file: Path | None) -> Metrics:
    first = manifest.artifacts[0]
    do = f"edgecam-workbench evaluate {folder} DATASET --json > metrics.json, then --metrics metrics.json"
    if file is None:
        raise ConfigError(f"nobody has said how good {folder} is; measure it: {do}")
    try:
        told = json.loads(_read(file, _MOST_METRICS))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is no JSON: {error}; measure again: {do}") from error
    if not isinstance(told, dict) or told.get("digest") != first.sha256:
        raise ConfigError(f"{file} does not have the figures of {first.file}, which devices take first; do: {do}")
    places = _FIGURES[manifest.task]
    figures = {name: found for name, path in places.items() if (found := _figure(told, path)) is not None}
    if not figures:
        raise ConfigError(
            f"{file} does not say by which figures: a model for task {manifest.task!r} has {' or '.join(places)}\n"
            f"  measure again: {do}"
        )
    try:
        return Metrics(
            dataset=Path(str(told.get("dataset", ""))).name,
            pictures=told.get("pictures") or _within(told, ("whole", "pictures")),
            figures=figures,
        )
    except ValidationError as error:
        raise ConfigError(f"{explain(error, file)}\n  measure again: {do}") from error


def _figure(told: dict[str, Any], path: tuple[str, ...]) -> int | None:
    value = _within(told, path)
    return round(value * _E4) if isinstance(value, float | int) and 0 <= value <= 1 else None


def _within(told: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        told = told.get(step) if isinstance(told, dict) else None
    return told


def _check_names(files: Mapping[str, bytes]) -> None:
    for name in files:
        try:
            TypeAdapter(ReleasedName).validate_python(name)
        except ValidationError as error:
            raise ConfigError(
                f"{name!r} cannot be released; accepted in names: letters, digits, '.', '_', '-'"
            ) from error


def _read(file: Path, most: int) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(most + 1)
    except OSError as error:
        raise StorageError(f"cannot read {file}: {error.strerror or error}") from error
    if len(content) > most:
        raise ConfigError(f"{file} is larger than {most} bytes")
    return content
