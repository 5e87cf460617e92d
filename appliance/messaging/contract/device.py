"""What messages of the device itself carry behind the envelope."""

from typing import Annotated, Literal, NotRequired, TypedDict

from appliance.messaging.contract.words import Count, Milliseconds, Model, Seconds, Share, Size, Time, open_words

# The functional form, because `from` is a word of Python's.
Gap = TypedDict(
    "Gap",
    {
        "from": Annotated[int, {"minimum": 1}, "The lowest number that will never arrive."],
        "to": Annotated[int, {"minimum": 1}, "The highest."],
        "count": Annotated[int, {"minimum": 0}, "How many; 0: nobody can say, see `uncounted_s`."],
        "reason": Annotated[
            str, open_words("rows", "bytes", "age", "inlet", "too_large", "invalid", "corrupt", "restart", "refused")
        ],
        "ranges": NotRequired[
            Annotated[
                list[Annotated[list[int], {"minItems": 2, "maxItems": 2}]],
                "Exactly which: first and last of each run; missing where there were too many.",
            ]
        ],
        "uncounted_s": NotRequired[
            Annotated[Seconds, "Messages without a number may be lost as well: what came in within so many seconds."]
        ],
    },
)
Gap.__doc__ = "Numbers of durable messages that will never arrive, and why."


class Provider(TypedDict):
    """What has taken how much of the network."""

    name: str
    nodes: Annotated[int | None, {"minimum": 0}, "null: the runtime cannot tell."]


class Refusal(TypedDict):
    """An artifact that was to be tried before the one in service, and why it is not in use."""

    file: str
    why: str
    is_expected: Annotated[bool, "It is for another machine, or not here: no trouble."]
    while_running: Annotated[bool, "It had been in service and failed there."]


class ModelFacts(Model):
    """The model in service, and on what it runs."""

    task: Annotated[str, open_words("detect", "classify", "segment")]
    file: str
    format: str
    in_service: Annotated[bool, "false: nothing of the model works."]
    isolated: Annotated[bool, "It runs in a process of its own."]
    providers: list[Provider]
    shortfalls: Annotated[list[str], "What was asked for and is not so."]
    refused: list[Refusal]


class Choice(TypedDict):
    """A file and how to run it."""

    file: str
    providers: list[str]
    is_plain: bool
    threads: Annotated[int, {"minimum": 1}]


class Figures(TypedDict):
    """What was measured of a choice."""

    latency_ms: Milliseconds
    cpu_ms: Milliseconds
    memory_mb: Annotated[float, {"minimum": 0}]
    agreement: Annotated[float | None, {"minimum": 0, "maximum": 1}]


class Tuning(TypedDict):
    """What became of the choice of `edgecam tune`."""

    state: Annotated[str, open_words("none", "used", "overridden", "stale", "renewed", "refused", "off")]
    why: str
    objective: NotRequired[str]
    made: NotRequired[str]
    choice: NotRequired[Choice]
    figures: NotRequired[Figures]


class Info(TypedDict):
    """What the device is."""

    hardware: str
    app: Annotated[str, "Version of Edgecam."]
    schema: Annotated[int, "`v` of its payloads."]
    model: ModelFacts
    tuning: Tuning
    cameras: list[str]
    capabilities: list[Annotated[str, open_words("detect", "track", "zones", "lines", "classify", "segment", "outbox")]]


class Finding(TypedDict):
    """What is known of one component."""

    component: str
    state: Annotated[str, open_words("ok", "degraded", "failed")]
    what: Annotated[str, "One line; empty when all is well."]
    fix: Annotated[str, "What the owner can do."]
    for_s: Annotated[Seconds, "Seconds for which it has been so."]


class Percentiles(TypedDict):
    """Of the last frames."""

    p50: Milliseconds
    p95: Milliseconds


class CameraFigures(Size):
    """How a camera and its pipeline do."""

    state: Annotated[str, open_words("online", "stalled", "offline", "disabled")]
    why: str
    fps: Annotated[float, {"minimum": 0}]
    frames: Count
    frames_processed: Count
    frames_unseen: Annotated[Count, "For which no model was there."]
    frames_unanswered: Annotated[Count, "Which came without their camera's network's answer."]
    frames_dropped: Annotated[Count, "Which a newer one pushed out."]
    looking: Annotated[bool, "false: somebody commanded that the model is not run."]
    objects: NotRequired[Annotated[Count, "A detector: how many are in view."]]
    objects_begun: NotRequired[Annotated[Count, "The same: how many were reported since the start."]]
    label: NotRequired[Annotated[str | None, "A classifier: what the picture shows."]]
    score: NotRequired[Share]
    shares: NotRequired[Annotated[dict[str, Share], "A segmentation network: by label."]]
    latency_ms: Annotated[Percentiles, "From the frame to its messages."]
    inference_ms: Percentiles


class Commands(TypedDict):
    """Commands since the start."""

    performed: Count
    refused: Count
    repeated: Annotated[Count, "Answered again, and not performed again."]
    over_rate: Annotated[Count, "Refused because there were too many."]
    unreadable: Annotated[Count, "Without a name or an id; not answered."]
    dropped: Annotated[Count, "For which there was no room."]


class Utc(TypedDict):
    """What is known of UTC."""

    time: Time
    quality: Annotated[str, open_words("synced", "holdover", "unsynced")]
    error_ms: Annotated[int | None, {"minimum": 0}, "By how much UTC may be off; null: not known."]
    steps: Annotated[Count, "How often it was set by a second or more, since the start."]


class Delivery(TypedDict):
    """How delivery goes."""

    connected: bool
    broker: str
    protocol: Annotated[str | None, open_words("5", "3.1.1")]
    connects: Count
    last_connect: Annotated[float | None, "Seconds since 1970."]
    dropped_offline: Annotated[Count, "Messages without a number for which there was no connection."]
    dropped_busy: Annotated[Count, "The same, for a slow connection."]
    refused_state: Annotated[Count, "Messages without a number that the broker refused."]
    rows: Annotated[Count, "Durable messages that wait on disk."]
    bytes: Count
    oldest_age_s: Seconds
    waiting: Annotated[Count, "Messages that wait in memory for the next commit."]
    dropped_inlet: Annotated[Count, "Messages that found the memory full."]
    appended: Count
    acknowledged: Count
    refused: Count
    resent: Count
    gen: str
    last_seq: Count
    evicted: Count
    declared_lost: Count
    commits: Count
    held_back: Annotated[Count, "Messages and topics that wait for another try."]
    takeovers: Annotated[Count, "Connections that another client with the same id took over."]
    received: Annotated[Count, "Messages from the broker that were asked for."]
    given_up: Annotated[Count, "Messages that the broker never takes; each is named in a gap."]
    kept: Annotated[Count, "Messages that the broker has and that can be sent again."]
    taken: Annotated[Count, "Of those, end to end: not yet confirmed by a subscriber."]
    saved: Annotated[Count, "Messages that were saved from a corrupt outbox."]
    written_bytes: Annotated[int | None, {"minimum": 0}, "To the disk by the outbox; null: the kernel does not count."]
    flushes: Annotated[Count, "Of the disk by the outbox."]
    commands: NotRequired[Commands]


class Machine(TypedDict):
    """Readings of the machine; null where it does not tell."""

    temperature_c: float | None
    throttled: Annotated[list[str] | None, "Why the processor is slowed down; empty: it is not."]
    memory_mb: Annotated[float | None, {"minimum": 0}, "Resident memory of the daemon."]
    disk_free_mb: Annotated[float | None, {"minimum": 0}]
    load: Annotated[float, {"minimum": 0}]


class Health(TypedDict):
    """How the device does."""

    uptime_s: Seconds
    state: Annotated[str, open_words("ok", "degraded", "failed")]
    findings: list[Finding]
    cameras: dict[str, CameraFigures]
    messaging: Delivery
    utc: Utc
    machine: Machine
    restarts: Annotated[dict[str, Count], "By worker, of those that were started again."]


class Audit(TypedDict):
    """A command that was well formed, and what became of it."""

    command: Annotated[str, "Its name."]
    command_id: Annotated[str, "Its sender's; `-`: none."]
    fields: Annotated[dict[str, str | float | bool], "As they came."]
    ok: bool
    why: Annotated[str, "Of a refusal; else empty."]


class Result(TypedDict):
    """What became of a command, for its sender."""

    command: Annotated[str, "Its name."]
    command_id: Annotated[str, "Its sender's; `-`: none."]
    ok: bool
    why: Annotated[str, "Of a refusal; else empty."]
    result: Annotated[dict[str, object], "What the command gives."]
    repeated: NotRequired[Annotated[Literal[True], "It was done before; this is the answer of then."]]


class Ack(TypedDict):
    """The word of a subscriber, from end to end: it has these messages."""

    gen: Annotated[str, {"pattern": "^[0-9a-f]{16}$"}, "The generation."]
    upto: Annotated[Count, "It has all numbers up to this one, but for those that are missing."]
    missing: NotRequired[
        Annotated[
            list[Annotated[list[Count], {"minItems": 2, "maxItems": 2}]],
            {"maxItems": 1000},
            "First and last of each run.",
        ]
    ]
