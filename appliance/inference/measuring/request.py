"""What a measuring process is asked, and what it answers; both are JSON."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from appliance.core.manifest import Sha256
from appliance.core.part import Part
from appliance.core.providers import ProviderName, Threads
from appliance.inference.golden import GoldenObject
from appliance.inference.ways import Way

MOST_ANSWER_BYTES = 8 << 20
MOST_PICTURES = 64
MOST_PICTURE_BYTES = 32 << 20
MOST_PICTURE_PIXELS = 50_000_000
Name = Annotated[str, Field(max_length=4096)]


class Request(Part):
    """What to measure.

    Attributes:
        use: Of ``[model]``: a model's folder, a file, or NAME=FILE.
        artifact: Which of the folder's files; None: `use` is a file.
        directories: Of ``[model]``.
        providers: See `Way`.
        is_plain: See `Way`.
        threads: See `Way`.
        cache: Folder for what a provider compiles.
        pictures: Files of the pictures to run it on.
        outputs: File for what it tells, see `Subject` (.npz); None: neither that nor objects are wanted.
        answer: File for the answer.
        least_frames: To time at the least.
        seconds: To time at the least.
        most_seconds: After which no further frame is begun.
    """

    use: Name
    artifact: Name | None = None
    directories: Annotated[tuple[Name, ...], Field(max_length=16)] = ()
    providers: Annotated[tuple[ProviderName, ...], Field(max_length=8)] = ()
    is_plain: bool = False
    threads: Threads = 1
    cache: Name | None = None
    pictures: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MOST_PICTURES)]
    outputs: Name | None = None
    answer: Name
    least_frames: Annotated[int, Field(ge=1, le=10_000)] = 10
    seconds: Annotated[float, Field(ge=0.0, le=600.0)] = 0.5
    most_seconds: Annotated[float, Field(ge=0.0, le=600.0)] = 10.0

    @property
    def way(self) -> Way:
        """How to run it."""
        return Way(self.providers, self.is_plain, self.threads)


class Answer(Part):
    """What came of it.

    Attributes:
        error: Why it cannot be run, one line; empty: it can.
        kind: Name of the error's class.
        model: Name of the manifest; empty: no decoder is known for the file.
        task: What the model gives; of a file without a decoder a guess with a question mark.
        sha256: Of the file.
        is_quantized: The file holds 8-bit arithmetic.
        input: Width and height, pixels; of a file without a decoder zero.
        min_score: Lowest score of a detection or a label.
        placements: What has taken how many nodes.
        wall_ms: From the picture to the result, milliseconds, each frame.
        waited_ms: How much of it the process was ready to run, and the processor busy with others; empty where the
            system does not tell.
        inference_ms: The session's part of it.
        cpu_ms: CPU time of all threads, a frame.
        load_s: Until the first result.
        peak_mb: Peak memory of the process in MB (10^6 bytes); None where the system does not tell.
        objects: For each picture what was found; empty where nothing was wanted or no decoder is known.
    """

    error: Annotated[str, Field(max_length=4000)] = ""
    kind: Annotated[str, Field(max_length=100)] = ""
    model: Annotated[str, Field(max_length=64)] = ""
    task: Annotated[str, Field(max_length=64)] = ""
    sha256: Sha256 | None = None
    is_quantized: bool = False
    input: tuple[int, int] = (0, 0)
    min_score: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    placements: Annotated[tuple[tuple[str, int | None], ...], Field(max_length=16)] = ()
    wall_ms: Annotated[tuple[float, ...], Field(max_length=10_000)] = ()
    waited_ms: Annotated[tuple[float, ...], Field(max_length=10_000)] = ()
    inference_ms: Annotated[tuple[float, ...], Field(max_length=10_000)] = ()
    cpu_ms: float = 0.0
    load_s: float = 0.0
    peak_mb: float | None = None
    objects: Annotated[tuple[tuple[GoldenObject, ...], ...], Field(max_length=MOST_PICTURES)] = ()

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not self.error and not self.wall_ms:
            raise ValueError("wall_ms: no frame was timed, and no error is told")
        if len(self.waited_ms) not in {0, len(self.wall_ms)}:
            raise ValueError("waited_ms: is for each frame, or for none")
        return self


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file and a way to run it.

    Attributes:
        model: What the table calls the model.
        use: Of ``[model]``, for the measuring process.
        artifact: Which of the folder's files; None: `use` is a file.
        file: The file.
        way: How it is run.
        pictures: To run it on.
        directories: Of ``[model]``.
        folder: Of the model; None for a bare file.
        is_meant: ``[model] artifact`` does not leave it out.
    """

    model: str
    use: str
    artifact: str | None
    file: Path
    way: Way
    pictures: tuple[Path, ...]
    directories: tuple[Path, ...] = ()
    folder: Path | None = None
    is_meant: bool = True

    @property
    def format(self) -> str:
        """The runtime's name."""
        return self.file.suffix.removeprefix(".")

    @property
    def by(self) -> str:
        """What runs it: ``cpu``, ``openvino + cpu``, ``xnnpack``."""
        if self.format == "tflite":
            return "plain" if self.way.is_plain else "xnnpack"
        return " + ".join(self.way.providers) or "as the manifest says"

    def facts(self) -> dict[str, Any]:
        """Give it as JSON types."""
        told = {"model": self.model, "file": str(self.file), "format": self.format, "by": self.by}
        return told | asdict(self.way)
