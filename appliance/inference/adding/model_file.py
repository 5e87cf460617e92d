"""A file of weights that is to become a model: opened, looked at, tried, and written with its manifest."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.core.errors import ConfigError, ModelError, UnsupportedError
from appliance.core.frame import Frame
from appliance.core.manifest import MANIFEST_NAME, ModelManifest, Precision
from appliance.core.tasks import TABLES
from appliance.inference.adding import deciding, onnx_about, trial
from appliance.inference.adding.about import About
from appliance.inference.adding.deciding import Draft, Wishes
from appliance.inference.adding.families import recognise
from appliance.inference.adding.look import look
from appliance.inference.adding.reading import Reading, Seen
from appliance.inference.adding.writing import manifest_text
from appliance.inference.artifacts import LocatedModel, locate_file
from appliance.inference.runtimes import OpenedSession

_CALLED = {
    "detect": "a detector",
    "classify": "a classifier",
    "segment": "a segmentation network",
    "pose": "a pose network",
}
_TASKS = {
    "detect": "detect",
    "object-detection": "detect",
    "classify": "classify",
    "segment": "segment",
    "pose": "pose",
}


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file that is open.

    Attributes:
        located: Its content.
        session: The same in its runtime.
        about: What it says of itself.
        seen: What it gave for the frames.
        reading: What it is.
        known: Manifests of families.
        frames: The sample frames, BGR.
    """

    located: LocatedModel
    session: OpenedSession
    about: About
    seen: Seen
    reading: Reading
    known: tuple[ModelManifest, ...]
    frames: tuple[Frame, ...]

    @property
    def coco(self) -> tuple[str, ...]:
        """COCO's 80 labels, as Edgecam's families have them."""
        return next((one.labels for one in self.known if len(one.labels) == 80), ())  # noqa: PLR2004

    def draft(self, wishes: Wishes) -> Draft:
        """Put together what is known without a trial.

        Raises:
            ModelError: What the owner or the file says cannot be.
        """
        return deciding.draft(self.reading, self.seen.picture, self.about, wishes, self.coco)

    def inputs_to_try(self, draft: Draft) -> list[Any]:
        """Give the ways to prepare the input that nobody has ruled out; one or none: there is nothing to try.

        Only a detector is tried: of others a mirror image tells nothing.
        """
        if self.reading.task != "detect":
            return []
        colours, scales = deciding.to_try(draft)
        return trial.variants(draft.input, colours, scales, [])

    def try_inputs(self, draft: Draft, inputs: Sequence[Any]) -> Iterator[trial.Outcome]:
        """Run the file on the sample frames, prepared in each way."""
        manifest = deciding.stand_in(draft, self.coco)
        return trial.try_inputs(self.located, self.session, manifest, inputs, self.frames)

    def weigh(self, draft: Draft, outcomes: Sequence[trial.Outcome]) -> Draft:
        """Take what the trial says where nobody said anything."""
        colour = trial.judge(outcomes, lambda one: one.colour)
        return deciding.weigh(draft, colour, trial.judge(outcomes, trial.scale_of))

    def folder_files(
        self, draft: Draft, wishes: Wishes, *, precision: Precision | None = None, **facts: Any
    ) -> dict[str, bytes]:
        """Give the files of the model's folder.

        Args:
            draft: What the network is; its labels are known.
            wishes: What the owner says.
            precision: Of the weights; None: as the file's are.
            facts: The manifest's name, title, licence and source.

        Raises:
            ModelError: The labels do not fit.
        """
        name = f"{facts['name']}.{self.located.format}"
        artifact = {
            "file": name,
            "format": self.located.format,
            "precision": precision or self.about.precision,
            "sha256": self.located.sha256,
            "size": len(self.located.content),
        }
        values = deciding.manifest_values(draft, wishes, **facts, artifacts=[artifact])
        # a file may be called anything, and a comment ends with its line
        source = "".join(one for one in self.located.path.name if one.isprintable())
        head = f"Written by `edgecam model` from {source}."
        return {name: self.located.content, MANIFEST_NAME: manifest_text(values, head).encode()}


@contextmanager
def open_model_file(
    path: Path, known: Sequence[ModelManifest], frames: Sequence[Frame], *, size: tuple[int, int] | None, threads: int
) -> Iterator[ModelFile]:
    """Open a file and find out what it is.

    Args:
        path: The file.
        known: Manifests of families.
        frames: Sample frames, BGR; at least one.
        size: Width and height of the input in pixels, where the file leaves them open; None: what it says, else 640.
        threads: CPU threads of one inference.

    Raises:
        ConfigError: It cannot be read, or its ending is of no known format.
        ModelError: It is broken, or of no known kind.
        UnsupportedError: Its runtime is not installed here, or it is of a kind that Edgecam does not run.
    """
    try:
        located = locate_file(path)
    except ConfigError as error:
        raise ConfigError(str(error).removeprefix("[model] use: ")) from error
    session = located.open(threads)
    try:
        about = _about(located)
        try:
            seen = look(session, frames, size or about.size)
        except UnsupportedError as error:
            raise UnsupportedError(f"{path} {error}") from error
        reading = _the_one(path, seen, recognise(seen, known), about)
        yield ModelFile(located, session, about, seen, reading, tuple(known), tuple(frames))
    finally:
        session.close()


def _about(located: LocatedModel) -> About:
    if located.format == "onnx":
        return onnx_about.read_about(located.content)
    from appliance.inference.adding import tflite_about  # noqa: PLC0415 - flatbuffers, only where it is used

    return tflite_about.read_about(located.content)


def _the_one(path: Path, seen: Seen, readings: Sequence[Reading], about: About) -> Reading:
    outputs = ", ".join(map(str, seen.outputs))
    task = _TASKS.get(about.task, about.task)
    if not readings:
        raise ModelError(
            f"{path} gives {outputs}, which no family does that Edgecam knows; docs/models.md lists them and says how "
            "a manifest of one's own is written"
        )
    reading = readings[0]
    if about.task and task != reading.task:
        raise UnsupportedError(f"{path} says that its task is {about.task}; its outputs, {outputs}, are not read yet")
    if reading.task not in TABLES:
        raise UnsupportedError(
            f"{path} is {_CALLED[reading.task]}"
            + (f" of {reading.classes} classes" if reading.classes else f" ({reading.family})")
            + f": it gives {outputs}; Edgecam has no such task"
        )
    return reading
