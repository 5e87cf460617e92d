"""Those of a model's artifacts that can be run on this machine; of the others it is told why not."""

import platform
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click

from appliance.core.errors import UnsupportedError
from appliance.core.manifest import Artifact, ModelManifest
from appliance.inference.artifacts import LocatedModel, read_artifact
from appliance.inference.folders import artifacts_present


@dataclass(frozen=True, slots=True)
class Runnable:
    """The artifacts of a model whose files are there, best choice first.

    Attributes:
        found: With what was read, those that can be run here.
        skipped: Why each of the others cannot, by the name of its file.
    """

    found: tuple[tuple[Artifact, LocatedModel], ...]
    skipped: dict[str, str]


def read_runnable(folder: Path, manifest: ModelManifest) -> Runnable:
    """Read all artifacts that are there, and tell on standard error which of them cannot be run on this machine.

    Each is loaded for a moment: whether its runtime and what is to run it are here is not known before.

    Raises:
        ModelError: One is broken, or not the file that the manifest names.
        UnsupportedError: There are some, and none can be run here.
    """
    found, skipped = [], {}
    for artifact in artifacts_present(folder, manifest):
        located = read_artifact(folder, manifest, artifact)
        try:
            _try(located, artifact)
        except UnsupportedError as error:
            skipped[artifact.file] = " ".join(str(error).split())
            continue
        found.append((artifact, located))
    if skipped and not found:
        lines = "\n  ".join(f"{file}: {why}" for file, why in skipped.items())
        raise UnsupportedError(f"no artifact of model {manifest.name!r} can be run here:\n  {lines}")
    for file, why in skipped.items():
        click.echo(f"{file} is skipped: {why}", err=True)
    return Runnable(tuple(found), skipped)


def _try(located: LocatedModel, artifact: Artifact) -> None:
    if unmet := artifact.needs.unmet(platform.machine()):
        raise UnsupportedError(f"it {unmet}")
    with closing(located.open(1)):
        pass
