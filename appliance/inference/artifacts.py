"""Finds what a setting names: weights beside a manifest, and the manifest that a bare file belongs to.

Loads neither numpy nor a runtime until a file has to be opened.
"""

import os
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.config import ModelSettings
from appliance.core.digest import sha256_hex
from appliance.core.errors import ConfigError, ModelError, UnsupportedError
from appliance.core.manifest import (
    MANIFEST_NAME,
    MODEL_NAME,
    MOST_MODEL_BYTES,
    Artifact,
    ModelManifest,
    Precision,
    TensorSpec,
    read_manifest,
)
from appliance.core.registry import load
from appliance.inference.folders import FoundModel, artifacts_present, find_models, model_named
from appliance.inference.runtimes import NO_PLAN, RUN_BY_CAMERA, RUNTIMES, Plan
from appliance.inference.signature import Binding, bind
from appliance.inference.weights import Unseal, find_weights, is_sealed, unsealing

if TYPE_CHECKING:
    from appliance.inference.runtimes import OpenedSession


@dataclass(frozen=True, slots=True)
class LocatedModel:
    """A file of weights, read and checked, and the manifests that it may belong to.

    Attributes:
        path: The file.
        format: Which runtime opens it.
        content: Its bytes.
        sha256: Of `content`, 64 hexadecimal digits.
        candidates: One when the manifest was named, else all that are known.
        artifact: What the manifest says of the file; None for a bare file.
        is_sealed: It is encrypted at rest: nothing that is made of it may be written to a disk.
    """

    path: Path
    format: str
    content: bytes
    sha256: str
    candidates: tuple[ModelManifest, ...]
    artifact: Artifact | None = None
    is_sealed: bool = False

    def open(self, threads: int, wanted: Plan = NO_PLAN) -> "OpenedSession":
        """Load it into its runtime.

        Args:
            threads: CPU threads of one inference, unless the plan says otherwise.
            wanted: What is to run it, in place of what the manifest says where it says anything.

        Raises:
            ModelError: It is broken.
            UnavailableError: It is watched, and was not loaded in time.
            UnsupportedError: The runtime is not installed here, or nothing that may run it does so here.
        """
        plan = wanted
        if self.artifact is not None:
            plan = replace(
                wanted,
                providers=wanted.providers or self.artifact.providers,
                delegate=wanted.delegate or self.artifact.delegate,
            )
        if self.is_sealed:
            plan = replace(plan, cache=None)  # what a provider compiles holds the weights
        name, threads = str(self.path), plan.threads or threads
        is_by_camera = self.format in RUN_BY_CAMERA  # which answers with the frame: nothing is waited for
        if is_by_camera and len(self.candidates) == 1:
            plan = replace(plan, signature=self.candidates[0].signature)
        if plan.watch is not None and not is_by_camera:
            from appliance.inference.watched import open_watched  # noqa: PLC0415 - loads numpy

            return open_watched(
                RUNTIMES, self.format, self.content, name=name, threads=threads, plan=plan, watch=plan.watch
            )
        runtime = load(RUNTIMES, self.format, "the model's format")()
        session: OpenedSession = runtime.open(self.content, name=name, threads=threads, plan=plan)
        return session


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A file of weights and what it is.

    Attributes:
        path: The file.
        format: Which runtime opens it.
        sha256: Of its content, 64 hexadecimal digits.
        binding: Its manifest, made to fit the file.
    """

    path: Path
    format: str
    sha256: str
    binding: Binding

    @property
    def manifest(self) -> ModelManifest:
        """What the model is, with the file's own input size."""
        return self.binding.manifest


def locate_model(settings: ModelSettings, precision: Precision | None = None) -> LocatedModel:
    """Find and read what ``[model] use`` names: a model, its folder, a file, or NAME=FILE.

    A file beside a manifest that names it is what that manifest says; another may be of any family that is known.

    Args:
        settings: The ``[model]`` section.
        precision: Which of a model's artifacts, in place of ``[model] artifact``; None for both: the first whose file
            is there. A file is what it is.

    Raises:
        ConfigError: There is no such model, artifact or file.
        ModelError: The file is too large or not the one that its manifest names, or the manifest beside it is broken.
    """
    try:
        return _located(settings, precision or settings.artifact)
    except OSError as error:  # from a look at what is there: a folder that is closed, a name that is too long
        raise ConfigError(f"[model] use: cannot read {error.filename}: {error.strerror}") from error


def _located(settings: ModelSettings, choice: str | None) -> LocatedModel:
    if (folder := _model_folder(settings)) is not None:
        return locate_artifact(folder, choice, unsealing(settings))
    if choice is not None:
        raise ConfigError(
            f"{settings.use} is a file, and one is of one precision; give the model's name or folder to choose"
        )
    name, equals, file = settings.use.partition("=")
    if equals and re.fullmatch(MODEL_NAME, name):  # else it is the path of a file, with '=' in it
        return locate_file(Path(file).expanduser(), (model_named(name, settings.directories).manifest,))
    path = Path(settings.use).expanduser()
    if own := _manifest_beside(path):
        named = next(artifact for artifact in own.artifacts if artifact.file == path.name)
        return read_artifact(path.parent, own, named, unsealing(settings))
    return locate_file(path, tuple(model.manifest for model in find_models(settings.directories)))


def manifest_named(settings: ModelSettings) -> ModelManifest | None:
    """Give the manifest that ``[model] use`` leads `locate_model` to, without a look at the weights.

    None: `use` is a file, and which manifest fits shows once it is loaded.

    Raises:
        ConfigError: There is no such model, or it cannot be read.
        ModelError: The manifest is not accepted.
    """
    name, equals, _ = settings.use.partition("=")
    path = Path(settings.use).expanduser()
    try:
        if equals and re.fullmatch(MODEL_NAME, name):
            return model_named(name, settings.directories).manifest
        folder = _model_folder(settings)
        return read_manifest(folder) if folder is not None else _manifest_beside(path)
    except OSError as error:  # a folder that we may not look into
        raise ConfigError(f"[model] use: cannot read {error.filename}: {error.strerror}") from error


def locate_artifact(folder: Path, choice: str | None = None, unseal: Unseal | None = None) -> LocatedModel:
    """Choose and read one of a model's artifacts; see `read_artifact`.

    Args:
        folder: The model's; its name does not count.
        choice: File's name, precision or format of the artifact; None: the first whose file is there.
        unseal: Opens encrypted files; None: there is no key.

    Raises:
        ConfigError: There is no such artifact, or it cannot be read.
        ModelError: The manifest is not accepted, or the file is another one than it names.
    """
    manifest = read_manifest(folder)
    there = artifacts_present(folder, manifest)
    chosen = next((one for one in there if _is_meant(one, choice)), None)
    if chosen is None:
        kind = f"{choice} weights" if choice else "weights"
        have = f"there are: {', '.join(one.precision for one in there)}"
        raise ConfigError(
            f"model {manifest.name!r} is known, but there are no {kind} for it in {folder}; "
            + (have if there else f"give a file: {manifest.name}=FILE.onnx")
        )
    return read_artifact(folder, manifest, chosen, unseal)


def find_rungs(settings: ModelSettings) -> tuple[FoundModel, ...]:
    """Give the artifacts of the model that ``[model] use`` names, best first; none where it names a file.

    Those that ``[model] artifact`` does not mean are left out; their files need not be there.

    Raises:
        ConfigError: There is no such model.
        ModelError: The manifest is not accepted.
    """
    folder = _model_folder(settings)
    if folder is None:
        return ()
    manifest = read_manifest(folder)
    return tuple(FoundModel(manifest, folder, one) for one in manifest.artifacts if _is_meant(one, settings.artifact))


def read_artifact(
    folder: Path, manifest: ModelManifest, artifact: Artifact, unseal: Unseal | None = None
) -> LocatedModel:
    """Read an artifact of a manifest and check that it is the file that the manifest names, once it is decrypted.

    Args:
        folder: The model's.
        manifest: What it says.
        artifact: Which.
        unseal: Opens encrypted files; None: there is no key.

    Raises:
        ConfigError: It cannot be read.
        ModelError: It is another file than the manifest names, or cannot be decrypted.
        UnsupportedError: It is encrypted, and cannot be run from memory, or pyrage is not installed.
    """
    path, there = folder / artifact.file, find_weights(folder, artifact.file)
    if is_sealed(there):
        content = _unsealed(there, artifact, unseal or unsealing(ModelSettings()))
        digest = sha256_hex(content)
    else:
        content, digest = _read_weights(path)
    if digest != artifact.sha256:
        raise ModelError(
            f"{path} is not the file that its manifest names: SHA-256 is {digest}, not {artifact.sha256}; copy it again"
        )
    own = (manifest.for_artifact(artifact),)
    return LocatedModel(path, artifact.format, content, digest, own, artifact, is_sealed=is_sealed(there))


def _unsealed(there: Path, artifact: Artifact, unseal: Unseal) -> bytes:
    if artifact.format in RUN_BY_CAMERA:
        raise UnsupportedError(
            f"{there} is encrypted, and a camera's own software reads its network from a file: publish it in the clear"
        )
    return unseal(there)


def identify(located: LocatedModel, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> ResolvedModel:
    """Find the one manifest that fits a file's inputs and outputs.

    Raises:
        ModelError: None fits, or more than one, or one whose labels these tensors do not tell and that was not named.
    """
    bindings = [binding for each in located.candidates if (binding := bind(each, inputs, outputs)) is not None]
    guessed = [each.manifest.name for each in bindings if not each.manifest.signature.tells_labels]
    if len(located.candidates) > 1:  # it was not named
        bindings = [each for each in bindings if each.manifest.signature.tells_labels]
    if len(bindings) == 1:
        return ResolvedModel(located.path, located.format, located.sha256, bindings[0])
    if not bindings and guessed:
        raise ModelError(
            f"{located.path} could be {' or '.join(guessed)}, or have other labels: its outputs do not tell; "
            f"say so if it is: --model {guessed[0]}={located.path}"
        )
    if bindings:
        names = [binding.manifest.name for binding in bindings]
        raise ModelError(
            f"{located.path} fits more than one model: {', '.join(names)}; say which: {names[0]}={located.path}"
        )
    known = "\n  ".join(f"{each.name}: {_describe(each)}" for each in located.candidates)
    raise ModelError(
        f"{located.path} fits no known model; it has {', '.join(map(str, inputs))} -> {', '.join(map(str, outputs))}; "
        f"known:\n  {known}\nA manifest of your own in one of [model] directories makes it known"
    )


def resolve_model(settings: ModelSettings) -> ResolvedModel:
    """Find what ``[model] use`` names and what it is; loads the file for a moment.

    Raises:
        ConfigError: There is no such model or file.
        ModelError: It is broken, or does not fit exactly one manifest.
        UnsupportedError: The runtime for its format is not installed here.
    """
    located = locate_model(settings)
    with closing(located.open(settings.threads)) as session:
        return identify(located, session.inputs, session.outputs)


def _manifest_beside(path: Path) -> ModelManifest | None:
    """Read the manifest in a file's folder, if it names the file among its artifacts."""
    if not (path.parent / MANIFEST_NAME).is_file():
        return None
    manifest = read_manifest(path.parent)
    return manifest if path.name in {artifact.file for artifact in manifest.artifacts} else None


def _model_folder(settings: ModelSettings) -> Path | None:
    """Give the folder of the model that is named, by its name or its folder; None where a file is named."""
    path = Path(settings.use).expanduser()
    if "/" in settings.use and path.is_dir():
        return path
    name, equals, _ = settings.use.partition("=")
    if (equals and re.fullmatch(MODEL_NAME, name)) or _is_file_name(settings.use):
        return None
    return model_named(settings.use, settings.directories).folder


def _is_meant(artifact: Artifact, choice: str | None) -> bool:
    return choice in {None, artifact.file, artifact.precision, artifact.format}


def _is_file_name(use: str) -> bool:
    return "/" in use or use.endswith(tuple(f".{kind}" for kind in RUNTIMES)) or Path(use).expanduser().is_file()


def locate_file(path: Path, candidates: tuple[ModelManifest, ...] = ()) -> LocatedModel:
    """Read a file of weights, whatever lies beside it.

    Args:
        path: The file; its ending is its format.
        candidates: Manifests that it may belong to.

    Raises:
        ConfigError: It cannot be read, or its ending is of no known format.
        ModelError: It is too large.
    """
    kind = path.suffix.removeprefix(".")
    if kind not in RUNTIMES:
        raise ConfigError(f"[model] use: {path} is of no known format; known: {', '.join(f'.{k}' for k in RUNTIMES)}")
    content, digest = _read_weights(path)
    return LocatedModel(path, kind, content, digest, candidates)


def _read_weights(path: Path) -> tuple[bytes, str]:
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"[model] use: {path} is no file")  # a pipe would keep us waiting
        with path.open("rb") as file:
            # the size first: a file that is refused is not read; at most one byte more, should it be growing
            is_bounded = os.fstat(file.fileno()).st_size <= MOST_MODEL_BYTES
            content = file.read(MOST_MODEL_BYTES + 1) if is_bounded else b""
    except OSError as error:
        raise ConfigError(f"[model] use: cannot read {path}: {error.strerror}") from error
    if not is_bounded or len(content) > MOST_MODEL_BYTES:
        raise ModelError(f"{path} is larger than {MOST_MODEL_BYTES >> 20} MiB; is it a model for a device?")
    return content, sha256_hex(content)


def _describe(manifest: ModelManifest) -> str:
    signature = manifest.signature
    inputs = ", ".join(map(str, (signature.input, *signature.constants)))
    return f"{inputs} -> {', '.join(map(str, signature.outputs))}"
