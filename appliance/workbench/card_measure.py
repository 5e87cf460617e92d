"""Measures all that a model card tells. What was measured once, of the same bytes, is not measured again."""

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

import appliance
from appliance.core.errors import ConfigError, ModelError
from appliance.core.manifest import Artifact, ModelManifest, read_manifest
from appliance.inference.artifacts import LocatedModel
from appliance.inference.golden import GOLDEN_FOLDER, GOLDEN_NAME, read_golden
from appliance.workbench.card_text import ArtifactFigures, Measured
from appliance.workbench.costs import processor_name
from appliance.workbench.evaluate import Dataset
from appliance.workbench.judgement import Judgement, judge
from appliance.workbench.ledger import Ledger
from appliance.workbench.runnable import Runnable, read_runnable

_COMPUTES: Final = ("numpy", "onnxruntime", "opencv-python-headless", "pycocotools")


def measure_card(
    folder: Path, datasets: Mapping[str, Dataset], ledger_file: Path, command: str, *, limit: int | None, threads: int
) -> Measured:
    """Judge each artifact of a model on each dataset.

    Args:
        folder: The model's.
        datasets: By name.
        ledger_file: Keeps what was measured.
        command: How to ask for the same again.
        limit: Only the first so many pictures of each.
        threads: CPU threads.

    Raises:
        ConfigError: There are no weights, or a picture cannot be read.
        ModelError: An artifact is not what its manifest says, or cannot be run; or the golden frames are not for it.
        StorageError: The ledger cannot be written.
        UnsupportedError: There are weights, and none can be run here.
    """
    manifest = read_manifest(folder)
    runnable = read_all(folder, manifest)
    located = runnable.found
    versions = {name: version(name) for name in _COMPUTES}
    about = {"code": _code(), "machine": f"{platform.machine()} {processor_name()}", **versions}
    ledger = Ledger(ledger_file, about)
    digests = {name: digest_dataset(dataset, limit) for name, dataset in datasets.items()}
    return Measured(
        manifest=manifest,
        datasets=digests,
        artifacts=[
            _figures(artifact, one, datasets, digests, ledger, limit=limit, threads=threads)
            for artifact, one in located
        ],
        golden=_golden_frames(folder, [one for _, one in located]),
        versions={"edgecam": appliance.__version__, **versions, "Python": platform.python_version()},
        command=command,
        skipped=runnable.skipped,
    )


def read_all(folder: Path, manifest: ModelManifest) -> Runnable:
    """Read all artifacts that are there; one that cannot be run here is told.

    Raises:
        ConfigError: There are none.
        ModelError: One is broken, or not the file that the manifest names.
        UnsupportedError: There are some, and none can be run here.
    """
    runnable = read_runnable(folder, manifest)
    if not runnable.found:
        raise ConfigError(f"{folder} has no weights of {manifest.name!r}: there is nothing to measure")
    return runnable


def digest_dataset(dataset: Dataset, limit: int | None = None) -> str:
    """Give the SHA-256 of a dataset's truth and of its first so many pictures.

    Raises:
        ConfigError: A picture cannot be read.
    """
    whole = hashlib.sha256()
    try:
        whole.update(hashlib.sha256((dataset.folder / "instances.json").read_bytes()).digest())
        for _, path in dataset.pictures(limit):
            whole.update(hashlib.sha256(path.read_bytes()).digest())
    except OSError as error:
        raise ConfigError(f"cannot read {error.filename}: {error.strerror}") from error
    return whole.hexdigest()


def _figures(
    artifact: Artifact,
    located: LocatedModel,
    datasets: Mapping[str, Dataset],
    digests: Mapping[str, str],
    ledger: Ledger,
    *,
    limit: int | None,
    threads: int,
) -> ArtifactFigures:
    judgements = {}
    for name, dataset in datasets.items():
        # the manifest says how pictures go in and what counts: another one is another measurement
        manifest = hashlib.sha256(located.candidates[0].model_dump_json(exclude={"artifacts", "source"}).encode())
        key = f"{located.sha256} {manifest.hexdigest()[:16]} on {name} {digests[name]}"
        values = ledger.get(key)
        if values is None:
            found = judge(located, dataset, limit, threads=threads, title=f"{artifact.file} on {name}")
            values = json.loads(json.dumps(found.as_values()))
            ledger.put(key, values)
        judgements[name] = Judgement.from_values(values)
    size = _count(located)
    return ArtifactFigures(
        file=artifact.file,
        precision=artifact.precision,
        sha256=located.sha256,
        size=len(located.content),
        parameters=size[0],
        multiply_adds=size[1],
        judgements=judgements,
    )


def _count(located: LocatedModel) -> tuple[int | None, int | None]:
    if located.format != "onnx":
        return None, None
    try:
        from appliance.workbench.graph import count_graph
    except ImportError:
        return None, None  # without the onnx library it is not known; the card says so
    found = count_graph(located.content)
    return (None, None) if found is None else (found.parameters, found.multiply_adds)


def _golden_frames(folder: Path, located: list[LocatedModel]) -> int:
    if not (folder / GOLDEN_FOLDER / GOLDEN_NAME).exists():
        return 0
    golden = read_golden(folder)
    for one in located:
        try:
            golden.of(one.sha256)
        except ModelError as error:
            raise ModelError(f"{one.path}: {error}") from error
    return len(golden.frames)


def _code() -> str:
    """Give the SHA-256 of the code that figures depend on."""
    package = Path(appliance.__file__).resolve().parent
    whole = hashlib.sha256()
    for path in _sources(package):
        whole.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()


def _sources(package: Path) -> Iterator[Path]:
    for room in ("core", "inference"):
        yield from sorted((package / room).rglob("*.py"))
    yield package / "cameras" / "pictures.py"
    for name in ("confusion", "evaluate", "judgement"):
        yield package / "workbench" / f"{name}.py"
