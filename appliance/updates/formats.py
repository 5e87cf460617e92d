"""What the fleet signs about models and rollouts. Pure: types that are read from signed metadata and checked.

Canonical JSON, which signatures are made over, knows no floats: figures are integers in ten thousandths (``_e4``),
millionths (``_ppm``), per cent, seconds, MB.
"""

from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from appliance.core.manifest import MODEL_NAME, MOST_MODEL_BYTES
from appliance.core.part import Part
from appliance.core.sealing import RECIPIENT, SUFFIX

SCHEMA: Final = 1
"""Of these formats. A device leaves alone what has a higher one, and reports it."""

MILLION: Final = 1_000_000

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=MODEL_NAME)]
Version = Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$")]
ReleasedName = Annotated[str, Field(pattern=r"^(?:golden/)?[0-9A-Za-z_][0-9A-Za-z._-]{0,127}$")]
"""A file of a model's folder: beside the manifest, or among the golden frames."""
TargetPath = Annotated[
    str, Field(pattern=r"^(?:[0-9A-Za-z_][0-9A-Za-z._+-]{0,127}/){1,5}[0-9A-Za-z_][0-9A-Za-z._+-]{0,127}$")
]
Word = Annotated[str, Field(pattern=r"^[0-9A-Za-z._+-]{1,64}$")]
Line = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]*$")]


def _is_in_the_calendar(text: str) -> str:
    datetime.fromisoformat(text)  # else whoever compares it with the present meets a ValueError
    return text


Moment = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$"), AfterValidator(_is_in_the_calendar)]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$"), AfterValidator(_is_in_the_calendar)]
Recipient = Annotated[str, Field(pattern=RECIPIENT)]
Clock = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Parts = Annotated[int, Field(ge=0, le=MILLION)]
Seconds = Annotated[int, Field(ge=0, le=30 * 86_400)]
Megabytes = Annotated[int, Field(ge=0, le=65_536)]
E4 = Annotated[int, Field(ge=0, le=10_000)]
Hidden = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
"""The first 16 digits of the SHA-256 of a device's id: who is meant is told to nobody else."""


class Requirements(Part):
    """What a device must have.

    Attributes:
        edgecam: Lowest version of Edgecam that can run it.
        machines: Kinds of processor, as ``uname -m`` says; empty: any.
        boards: Words that the board's name begins with; empty: any.
        runtimes: Lowest version by the name of the Python package.
        accelerators: Names of providers of which one must be there; empty: none is needed.
        memory_mb: That the whole daemon takes with it.
        disk_mb: That must be free beside what it needs itself.
    """

    edgecam: Word = "0.1.0"
    machines: Annotated[tuple[Word, ...], Field(max_length=8)] = ()
    boards: Annotated[tuple[Line, ...], Field(max_length=16)] = ()
    runtimes: dict[Word, Word] = Field(default_factory=dict, max_length=8)
    accelerators: Annotated[tuple[Word, ...], Field(max_length=8)] = ()
    memory_mb: Megabytes = 0
    disk_mb: Megabytes = 0


class Metrics(Part):
    """How good it is, and on what; one figure at least.

    Attributes:
        dataset: On which it was measured.
        pictures: How many it has.
        figures: By name: ``ap``, ``ap50``, ``top1``, ``miou``, in ten thousandths.
    """

    dataset: Line
    pictures: Annotated[int, Field(ge=1, le=10_000_000)]
    figures: Annotated[dict[Literal["ap", "ap50", "top1", "top5", "miou"], E4], Field(min_length=1)]


class Licence(Part):
    """What may be done with it.

    Attributes:
        spdx: Expression for the weights.
        notice: What must be shown with it; empty: nothing.
        uses: What it may be used for; empty: anything.
        expires: Last day of use; None: none.
    """

    spdx: Annotated[str, Field(pattern=r"^[A-Za-z0-9.+() -]{1,200}$")]
    notice: Annotated[str, Field(max_length=2000)] = ""
    uses: Annotated[tuple[Word, ...], Field(max_length=16)] = ()
    expires: Day | None = None


class Delta(Part):
    """A way from one file to another in fewer bytes.

    Attributes:
        base: SHA-256 of the file that it begins with.
        path: The delta, in the repository.
    """

    base: Sha256
    path: TargetPath


class Plain(Part):
    """What an encrypted file holds.

    Attributes:
        sha256: Of it.
        size: Bytes of it.
    """

    sha256: Sha256
    size: Annotated[int, Field(ge=0, le=MOST_MODEL_BYTES)]


class ReleaseFile(Part):
    """A file of a model's folder; its size and digest are signed where it lies.

    Attributes:
        path: In the repository.
        deltas: Ways to it from what devices may have; an encrypted file has none.
        plain: What it holds, where it is encrypted; None: it is not.
    """

    path: TargetPath
    deltas: Annotated[tuple[Delta, ...], Field(max_length=8)] = ()
    plain: Plain | None = None


class Release(Part):
    """A version of a model, signed offline: what may ever run. It stands with the model's manifest.toml.

    Attributes:
        schema_version: Of this format; `schema` in the file.
        name: Of the model.
        version: Of the model.
        counter: Rises with every release of the model; a device never goes back behind it on its own.
        task: What it does.
        requires: What a device must have.
        metrics: How good it is.
        licence: What may be done with it.
        provenance: Where it comes from, for people.
        files: The folder's other files by name, golden frames among them (``golden/golden.json``); the manifest says
            which are weights.
        security_floor: No release below this counter may run once this one was seen.
        may_downgrade_to: SHA-256 of manifests of older releases that a rollout may return to.
        recipients: Public keys of age that its encrypted files are for: a device needs the private key of one; empty:
            nothing is encrypted.
    """

    schema_version: Literal[1] = Field(alias="schema")
    name: Name
    version: Version
    counter: Annotated[int, Field(ge=1, le=1 << 31)]
    task: Literal["detect", "classify", "segment"]
    requires: Requirements = Requirements()
    metrics: Metrics
    licence: Licence
    provenance: Line
    files: Annotated[dict[ReleasedName, ReleaseFile], Field(min_length=1, max_length=64)]
    security_floor: Annotated[int, Field(ge=0, le=1 << 31)] = 0
    may_downgrade_to: Annotated[tuple[Sha256, ...], Field(max_length=16)] = ()
    recipients: Annotated[tuple[Recipient, ...], Field(max_length=32)] = ()

    @model_validator(mode="after")
    def _encrypted_is_what_is_called_so(self) -> Self:
        for name, file in self.files.items():
            if (file.plain is not None) != name.endswith(SUFFIX) or (file.plain is not None and file.deltas):
                raise ValueError(
                    f"files.{name}: encrypted files end in {SUFFIX}, say what they hold, and have no deltas"
                )
        if bool(self.recipients) != any(file.plain is not None for file in self.files.values()):
            raise ValueError("recipients: of encrypted files, which there must be then")
        return self


class Trial(Part):
    """What a candidate must stand before it is committed.

    Attributes:
        shadow_frames: Live frames that it sees beside the model in service.
        shadow_seconds: Longest time for them.
        active_seconds: In service on trial.
        latency_percent: Of the model before it, at most.
        agreement_percent: Of what both see, at least.
        rate_percent: How much it sees of what the model before it sees, least and most.
        memory_percent: Of the model before it, at most.
        crashes: So many are forgiven.
    """

    shadow_frames: Annotated[int, Field(ge=0, le=1_000_000)] = 500
    shadow_seconds: Seconds = 900
    active_seconds: Seconds = 3600
    latency_percent: Annotated[int, Field(ge=50, le=1000)] = 125
    agreement_percent: Annotated[int, Field(ge=0, le=100)] = 80
    rate_percent: tuple[Annotated[int, Field(ge=0, le=100)], Annotated[int, Field(ge=100, le=10_000)]] = (60, 170)
    memory_percent: Annotated[int, Field(ge=100, le=1000)] = 120
    crashes: Annotated[int, Field(ge=0, le=10)] = 0


class Selection(Part):
    """A release that a rollout names.

    Attributes:
        path: Of its manifest, in the repository.
        sha256: Of its manifest.
        cohorts: Only devices of these are given it; empty: any. Two releases for two cohorts can be compared.
    """

    path: TargetPath
    sha256: Sha256
    cohorts: Annotated[tuple[Word, ...], Field(max_length=64)] = ()


class Rollout(Part):
    """Who runs which of the releases, and when; signed online, and bounded by what was signed offline.

    Attributes:
        schema_version: Of this format; `schema` in the file.
        id: Of this rollout, for reports.
        name: Of the model.
        choose: The releases; a device takes the first that it has what is required for.
        salt: Makes this rollout's order of devices its own.
        share_ppm: How many of the devices, in millionths. Widening leaves none out that was in.
        cohorts: Only devices of these; empty: of any.
        allow: Devices that are in whatever the share.
        deny: Devices that are out whatever else says.
        state: ``paused``: nobody starts. ``halted``: who has not committed gives up, too. ``rollback``: who has
            committed returns to `rollback_to`.
        not_before: Nobody starts earlier.
        window: Local times between which devices start; None: any. It may go over midnight.
        jitter_seconds: Over which starts are spread.
        metered: What is brought over a connection that costs: nothing, deltas only, or all.
        trial: What a candidate must stand.
        rollback_to: The release to return to.
    """

    schema_version: Literal[1] = Field(alias="schema")
    id: Word
    name: Name
    choose: Annotated[tuple[Selection, ...], Field(min_length=1, max_length=16)]
    salt: Word
    share_ppm: Parts
    cohorts: Annotated[tuple[Word, ...], Field(max_length=64)] = ()
    allow: Annotated[tuple[Hidden, ...], Field(max_length=1000)] = ()
    deny: Annotated[tuple[Hidden, ...], Field(max_length=1000)] = ()
    state: Literal["active", "paused", "halted", "rollback"] = "active"
    not_before: Moment | None = None
    window: tuple[Clock, Clock] | None = None
    jitter_seconds: Seconds = 6 * 3600
    metered: Literal["none", "deltas", "all"] = "deltas"
    trial: Trial = Trial()
    rollback_to: Selection | None = None
