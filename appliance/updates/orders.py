"""What the daemon asks of the process that speaks to the fleet, and what that answers. Checked on both sides."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from appliance.core.manifest import MOST_MODEL_BYTES
from appliance.core.part import Part
from appliance.updates.formats import Moment, Name, Release, ReleasedName, Rollout, Sha256, TargetPath, Word
from appliance.updates.refusals import Code

MOST_ORDER: Final = 1 << 20  # bytes
MOST_ANSWER: Final = 4 << 20
MOST_LINE: Final = 64 << 10  # of progress; the answer is longer

Url = Annotated[str, Field(pattern=r"^(https?://[^\s/]+|file:///)\S*$", max_length=2048)]


class Repository(Part):
    """A fleet.

    Attributes:
        url: Where its files lie; ``file://`` for a folder.
        root: File with the root of trust, which came with the device.
        channel: Of rollouts.
        model: Whose rollout is followed.
    """

    url: Url
    root: Path
    channel: Word
    model: Name


class Known(Part):
    """A file that the fleet has signed.

    Attributes:
        url: Where it lies.
        sha256: Of its content.
        size: Bytes.
    """

    url: Url
    sha256: Sha256
    size: Annotated[int, Field(ge=0, le=MOST_MODEL_BYTES)]


class Offer(Part):
    """A release that a rollout names, as it was signed.

    Attributes:
        release: What was signed about it.
        manifest: Its manifest.
        files: Its other files, by name.
        deltas: Ways to some of them, by the delta's path.
    """

    release: Release
    manifest: Known
    files: Annotated[dict[ReleasedName, Known], Field(min_length=1, max_length=64)]
    deltas: Annotated[dict[TargetPath, Known], Field(max_length=512)]


class CheckOrder(Part):
    """Ask what the fleet wants of this device.

    Attributes:
        repository: The fleet.
        folder: Where verified metadata is kept.
        now: By what is judged whether something has expired.
        is_dated: The clock can be trusted: a server's certificate is held against it.
    """

    kind: Literal["check"] = "check"
    repository: Repository
    folder: Path
    now: Moment
    is_dated: bool = True


class CheckAnswer(Part):
    """What the fleet wants; all of it verified.

    Attributes:
        rollout: Who is to run what; None: there is no rollout for this model in this channel.
        offers: The releases that it names, as far as they are signed, by the SHA-256 of the manifest.
        unsigned: Why others are not, likewise.
        timestamp: Version of the fleet's timestamp.
        issued: When that was signed, as far as it says so.
        runtimes: Versions of the packages of runtimes that are installed here, by name.
    """

    rollout: Rollout | None = None
    offers: dict[Sha256, Offer]
    unsigned: dict[Sha256, str]
    timestamp: Annotated[int, Field(ge=1)]
    issued: Moment | None = None
    runtimes: dict[str, str] = Field(default_factory=dict)


class Piece(Part):
    """A file that is to be brought.

    Attributes:
        name: In the release's folder.
        known: The file.
        have: The same file, where it is here already.
        delta: A way to it from `base`.
        base: A file that is here.
        base_sha256: What it must be.
    """

    name: ReleasedName
    known: Known
    have: Path | None = None
    delta: Known | None = None
    base: Path | None = None
    base_sha256: Sha256 | None = None


class BringOrder(Part):
    """Bring the files of a release.

    Attributes:
        folder: Where to.
        pieces: The files.
        is_dated: As for a check.
    """

    kind: Literal["bring"] = "bring"
    folder: Path
    is_dated: bool = True
    pieces: Annotated[tuple[Piece, ...], Field(min_length=1, max_length=65)]


class BringAnswer(Part):
    """What came.

    Attributes:
        brought: Bytes that came over the network.
        refused_deltas: Why deltas were not used, by name of the file; it was brought whole.
    """

    brought: Annotated[int, Field(ge=0)]
    refused_deltas: dict[str, str]


class Failure(Part):
    """Why nothing came of an order.

    Attributes:
        kind: Which of the errors it is for the daemon.
        code: For reports.
        why: For people.
        retry_after: Seconds for which the server asked to be left alone.
    """

    kind: Literal["refused", "unavailable", "storage", "config"]
    code: Code | None = None
    why: Annotated[str, Field(max_length=4000)]
    retry_after: Annotated[float, Field(ge=0.0)] = 0.0


class Progress(Part):
    """How far the bringing is.

    Attributes:
        done: Bytes that are here.
        whole: Bytes that there will be.
    """

    done: Annotated[int, Field(ge=0)]
    whole: Annotated[int, Field(ge=0)]


class Line(Part):
    """A line of what the process writes; one field is there."""

    progress: Progress | None = None
    checked: CheckAnswer | None = None
    brought: BringAnswer | None = None
    failure: Failure | None = None
