"""Finds models: manifests in folders. Reads no weights."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import appliance
from appliance.core.errors import ConfigError, ModelError
from appliance.core.manifest import MANIFEST_NAME, Artifact, ModelManifest, read_manifest
from appliance.inference.weights import find_weights

MOST_MODELS = 256  # in one folder


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A manifest in a folder.

    Attributes:
        manifest: What it says.
        folder: Where it lies.
        artifact: The first of its artifacts whose file is there; None for a family known without weights.
    """

    manifest: ModelManifest
    folder: Path
    artifact: Artifact | None

    @property
    def weights(self) -> Path | None:
        """The artifact's file, or the encrypted one in its place."""
        return find_weights(self.folder, self.artifact.file) if self.artifact is not None else None


@dataclass(frozen=True, slots=True)
class BrokenModel:
    """A folder whose manifest is not accepted.

    Attributes:
        folder: Where it lies.
        why: What is wrong with it, and where.
    """

    folder: Path
    why: str


def bundled_models() -> Path:
    """Give Edgecam's own folder of models, in an installed package or in a checkout."""
    package = Path(appliance.__file__).resolve().parent
    installed = package / "models"
    return installed if installed.is_dir() else package.parent / "models"


def find_models(directories: Iterable[Path] = ()) -> list[FoundModel]:
    """Give the models in `directories` and Edgecam's own; of two of one name the first found counts.

    Raises:
        ConfigError: A directory cannot be read.
        ModelError: A manifest is not accepted.
    """
    found, broken = look_for_models(directories)
    if broken:
        raise ModelError(broken[0].why)
    return found


def look_for_models(directories: Iterable[Path] = ()) -> tuple[list[FoundModel], list[BrokenModel]]:
    """Give the models as `find_models` does, and the folders of those that are none because their manifest is broken.

    Raises:
        ConfigError: A directory cannot be read.
    """
    found: dict[str, FoundModel] = {}
    broken = []
    for directory in _all_folders(directories):
        for folder in _model_folders(directory):
            try:
                model = _read_model(folder)
            except ModelError as error:
                broken.append(BrokenModel(folder, str(error)))
            else:
                found.setdefault(model.manifest.name, model)
    return list(found.values()), broken


def model_named(name: str, directories: Iterable[Path]) -> FoundModel:
    """Give the model of that name; only its manifest is read: a broken one beside it is no reason to refuse this one.

    Args:
        name: What ``[model] use`` says.
        directories: Where to look before Edgecam's own.

    Raises:
        ConfigError: There is no such model; the message names those that there are.
        ModelError: Its manifest is not accepted.
    """
    for directory in _all_folders(directories):
        if (directory / name / MANIFEST_NAME).is_file() and Path(name).name == name:
            return _read_model(directory / name)
    models, _ = look_for_models(directories)
    known = ", ".join(f"{m.manifest.name} ({'ready' if m.artifact else 'no weights'})" for m in models)
    raise ConfigError(f"[model] use is {name!r}; known: {known}; or give a file: FILE.onnx")


def artifacts_present(folder: Path, manifest: ModelManifest) -> list[Artifact]:
    """Give those of a manifest's artifacts whose files are there, best choice first."""
    return [artifact for artifact in manifest.artifacts if find_weights(folder, artifact.file).is_file()]


def _all_folders(directories: Iterable[Path]) -> list[Path]:
    return [*(directory.expanduser() for directory in directories), bundled_models()]


def _model_folders(directory: Path) -> list[Path]:
    try:
        entries = sorted(entry for entry in directory.iterdir() if (entry / MANIFEST_NAME).is_file())
    except OSError as error:
        raise ConfigError(f"[model] directories: cannot read {directory}: {error.strerror}") from error
    if len(entries) > MOST_MODELS:
        raise ConfigError(f"[model] directories: {directory} has {len(entries)} models; at most {MOST_MODELS}")
    return entries


def _read_model(folder: Path) -> FoundModel:
    manifest = read_manifest(folder)
    if manifest.name != folder.name:
        raise ModelError(
            f"{folder / MANIFEST_NAME}: name is {manifest.name!r}; it must be the folder's, {folder.name!r}"
        )
    return FoundModel(manifest, folder, next(iter(artifacts_present(folder, manifest)), None))
