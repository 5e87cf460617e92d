"""From what was named to the candidates: each file of each model, in each way that may run it here."""

import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from appliance.config import ModelSettings
from appliance.core.errors import ConfigError, UnsupportedError
from appliance.core.manifest import MANIFEST_NAME, read_manifest
from appliance.inference.artifacts import find_rungs, manifest_named
from appliance.inference.folders import FoundModel, bundled_models
from appliance.inference.golden import GOLDEN_FOLDER, GOLDEN_NAME, read_content
from appliance.inference.golden_task import golden_task
from appliance.inference.measuring.request import MOST_PICTURES, Candidate
from appliance.inference.runtimes import RUNTIMES
from appliance.inference.ways import ways
from appliance.inference.weights import is_sealed

MOST_FILES = 256  # in a folder
_OWN = "edgecam-nano"  # whose golden frames are shown to models that have none


def expand(named: str) -> list[str]:
    """Give what a name stands for: each file of weights in a folder without a manifest, else itself.

    Raises:
        ConfigError: It is a folder in which there is none.
    """
    path = Path(named).expanduser()
    if not path.is_dir() or (path / MANIFEST_NAME).is_file():
        return [named]
    files = sorted(one for one in path.iterdir() if one.suffix.removeprefix(".") in RUNTIMES and one.is_file())
    if not 0 < len(files) <= MOST_FILES:
        kinds = ", ".join(f".{kind}" for kind in RUNTIMES)
        raise ConfigError(f"{path} has {len(files)} files of weights ({kinds}); accepted: 1 to {MOST_FILES}")
    return [str(one) for one in files]


def find_candidates(
    settings: ModelSettings,
    *,
    pictures: Sequence[Path],
    here: Sequence[str],
    threads: Sequence[int],
    machine: str = "",
) -> list[Candidate]:
    """Give the candidates of the model or file that ``[model] use`` names.

    A model's artifact whose file is not there, or that needs what this machine lacks, is left out.

    Args:
        settings: The ``[model]`` section.
        pictures: To run it on; empty: its golden frames, else those of Edgecam's own model.
        here: Providers that ONNX Runtime has here.
        threads: Numbers of threads to try, ascending.
        machine: Kind of processor; empty: this machine's.

    Raises:
        ConfigError: There is no such model or file, none of its weights are here, or it is of no known format.
        ModelError: The manifest is not accepted.
        UnsupportedError: It is encrypted.
    """
    named = Path(settings.use).expanduser()
    use = str(named) if "/" not in settings.use and named.is_dir() else settings.use
    if named.is_dir():  # so that a folder in the working directory is one, whatever it is called
        use = str(named.resolve())
    rungs = find_rungs(settings.model_copy(update={"use": use, "artifact": None}))
    if not rungs:
        return _of_file(settings, pictures or default_pictures(), here, threads)
    present = [one for one in rungs if one.weights is not None and one.weights.is_file()]
    if not present:
        name, folder = rungs[0].manifest.name, rungs[0].folder
        raise ConfigError(
            f"model {name!r} is known, but there are no weights for it in {folder}; give a file: {name}=FILE.onnx"
        )
    if any(one.weights is not None and is_sealed(one.weights) for one in present):
        raise UnsupportedError(f"model {rungs[0].manifest.name!r} is encrypted at rest; only others are measured")
    shown = tuple(pictures) or golden_pictures(present[0].folder) or default_pictures()
    kind = machine or platform.machine()
    meant = {one.artifact.file for one in find_rungs(settings.model_copy(update={"use": use})) if one.artifact}
    return [
        replace(candidate, is_meant=candidate.artifact in meant)
        for one in present
        for candidate in _of_rung(one, shown, here, threads, kind)
    ]


def golden_pictures(folder: Path) -> tuple[Path, ...]:
    """Give the files of a model's golden frames; none where it has none.

    Raises:
        ModelError: Its golden.json is not accepted.
    """
    if not (folder / GOLDEN_FOLDER / GOLDEN_NAME).is_file():
        return ()
    golden = read_content(folder, golden_task(read_manifest(folder).task).content)
    return tuple(folder / GOLDEN_FOLDER / frame.file for frame in golden.frames)


def default_pictures() -> tuple[Path, ...]:
    """Give the pictures for models without golden frames: drawn streets.

    Raises:
        ConfigError: They are not part of this installation.
    """
    found = golden_pictures(bundled_models() / _OWN)
    if not found:
        raise ConfigError(f"the frames of {_OWN} are not in {bundled_models()}; give pictures: --pictures FOLDER")
    return found


def _of_rung(
    rung: FoundModel, pictures: tuple[Path, ...], here: Sequence[str], threads: Sequence[int], machine: str
) -> list[Candidate]:
    artifact = rung.artifact
    if artifact is None or artifact.needs.unmet(machine):
        return []
    return [
        Candidate(
            model=rung.manifest.name,
            use=str(rung.folder.resolve()),
            artifact=artifact.file,
            file=rung.folder / artifact.file,
            way=way,
            pictures=pictures[:MOST_PICTURES],
            folder=rung.folder,
        )
        for way in ways(artifact.format, artifact, here, threads)
    ]


def _of_file(
    settings: ModelSettings, pictures: Sequence[Path], here: Sequence[str], threads: Sequence[int]
) -> list[Candidate]:
    # NAME=FILE names a manifest; without it '=' is part of the path
    path = Path(settings.use).expanduser()
    if not path.is_file():
        manifest_named(settings)  # whose name has to be one that is known
        path = Path(settings.use.partition("=")[2]).expanduser()
    if not path.is_file():
        known = manifest_named(settings)
        if known is not None and "=" not in settings.use:
            raise ConfigError(
                f"model {known.name!r} is known, but there are no weights for it; give a file: {known.name}=FILE.onnx"
            )
        raise ConfigError(f"there is no model or file {settings.use!r}; `edgecam model list` shows the models")
    if path.suffix.removeprefix(".") not in RUNTIMES:
        raise ConfigError(f"{path} is of no known format; known: {', '.join(f'.{kind}' for kind in RUNTIMES)}")
    return [
        Candidate(
            model=path.stem,
            use=settings.use if "=" in settings.use else str(path.resolve()),
            artifact=None,
            file=path,
            way=way,
            pictures=tuple(pictures)[:MOST_PICTURES],
            directories=settings.directories,
        )
        for way in ways(path.suffix.removeprefix("."), None, here, threads)
    ]
