"""Every setting of the device: unit, default, limits and description."""

import os
import re
import socket
from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import model_validator

from appliance.config.cameras import AnyCamera
from appliance.config.declare import SECRET_FORMS, CameraName, Secret, Section, Url, setting
from appliance.config.fleet import FleetSettings
from appliance.config.outputs import FrigateSettings, HomeAssistantSettings, OnvifSettings
from appliance.core.providers import ProviderName

DEFAULT_PATH = Path("/etc/edgecam/edgecam.toml")
SYSTEM_RUNTIME = Path("/run/edgecam")  # RuntimeDirectory= of the unit
_BROKER = (
    r"^(embedded|none|mqtts?://[^/\s:?#]+(:[0-9]{1,5})?/?"
    r"|mqtts?://\[[0-9a-fA-F:.]+\](:[0-9]{1,5})?/?)$"
)


class DeviceSettings(Section):
    """Who and where this device is."""

    id: str = setting(
        "",
        "Name of this device in topics; empty: the host's name.",
        accepts="up to 64 letters, digits, - and _",
        max_length=64,
        pattern=r"^[A-Za-z0-9_-]*$",
    )
    state_dir: Path = setting(Path("/var/lib/edgecam"), "Where the outbox and other state are kept.")
    socket: Path | None = setting(
        None,
        "The daemon's Unix socket; none: `edgecam.sock` in the runtime directory.",
        example="/run/edgecam/edgecam.sock",
    )

    def resolved_id(self) -> str:
        """Give the device's id, made from the host's name when none is set."""
        return self.id or re.sub(r"[^A-Za-z0-9_-]+", "-", socket.gethostname())[:64].strip("-") or "edgecam"


class ModelSettings(Section):
    """Which model runs, and what counts as found."""

    use: str = setting(
        "edgecam-nano",
        "Name or folder of a model, path of an .onnx, .tflite or .hef file, or NAME=FILE to say what model a file is.",
        min_length=1,
        max_length=4096,
    )
    artifact: str | None = setting(
        None,
        "Which of a model's files: its name, precision or format; none: the first that runs here.",
        accepts="a file's name, a precision such as int8, or a format such as tflite, in quotes",
        example="int8",
        min_length=1,
        max_length=255,
    )
    directories: tuple[Path, ...] = setting((), "Folders with models, searched before Edgecam's own.", max_length=16)
    min_score: float | None = setting(
        None, "Lowest score of a detection or label; none: the manifest's own.", example=0.35, ge=0.01, le=1.0
    )
    smoothing: float | None = setting(
        None,
        "Time over which a classifier's scores are calmed; 0: not at all; none: the manifest's own.",
        unit="seconds",
        example=2.0,
        ge=0.0,
        le=3600.0,
    )
    labels: tuple[str, ...] = setting(
        (),
        "Only these labels, or groups of labels such as `vehicle`, are looked for; empty: all the model knows.",
        max_length=1000,
    )
    threads: int = setting(1, "CPU threads of one inference.", ge=1, le=64)
    tune: Literal["auto", "off"] = setting(
        "auto",
        "Use what `edgecam tune` measured, and measure again when machine or runtimes change; off: neither.",
    )
    providers: tuple[ProviderName, ...] = setting(
        (),
        "What may run an .onnx file, best first, in place of what the model says; without cpu not the CPU alone.",
        accepts=f"a list of some of {', '.join(get_args(ProviderName))}, in quotes",
        max_length=len(get_args(ProviderName)),
    )
    delegate: str | None = setting(
        None,
        "Library of a LiteRT delegate that is to run a .tflite file, in place of what the model says.",
        accepts="a library's name or path in quotes",
        example="libedgetpu.so.1",
        min_length=1,
        max_length=4096,
    )
    key: Secret | None = setting(
        None,
        "Private keys of age, a line each, that open models which are encrypted at rest.",
        accepts=SECRET_FORMS,
        example={"credential": "model-key"},
    )
    isolate: Literal["auto", "always", "never"] = setting(
        "auto",
        "Whether a model runs in a process of its own; auto: by a vendor's library, or once it has hung or crashed.",
    )
    timeout: float = setting(
        3.0,
        "How long one inference may take; one that takes longer has failed, and the model's next file takes its place.",
        unit="seconds",
        ge=0.1,
        le=10.0,  # below the pulse of a pipeline: a deadline is to be over before the watchdog is told
    )
    open_timeout: float | None = setting(
        None,
        "How long loading a file and its first inference may take; none: 60, or 600 where TensorRT builds an engine.",
        example=120.0,
        unit="seconds",
        ge=1.0,
        le=3600.0,
    )
    retry: float = setting(
        60.0,
        "Longest wait before a file that failed is tried again; it doubles with each failure in a row, up to an hour.",
        unit="seconds",
        ge=0.1,
        le=3600.0,
    )


_FAINT = 0.1  # no model's half of its lowest score is lower


class TrackingSettings(Section):
    """How detections become objects. Defaults follow ByteTrack (Zhang et al., 2022), section 4."""

    high_score: float | None = setting(
        None,
        "Detections from this score on are matched first and may start an object; none: the model's lowest.",
        example=0.5,
        ge=0.05,
        le=1.0,
    )
    low_score: float | None = setting(
        None,
        "Detections down to this score keep an object alive, the weaker the shorter; none: half of high_score.",
        example=0.25,
        ge=0.01,
        le=1.0,
    )
    match_iou: float = setting(
        0.2, "Least overlap (IoU) of a detection with where an object is expected.", ge=0.01, le=0.95
    )
    confirm_frames: int = setting(
        3, "Frames in which an object must be seen before it is reported.", unit="frames", ge=1, le=100
    )
    lost_after: float = setting(
        2.0,
        "How long an object may be unseen before it ends; where frames are far apart, at least 3.5 frames' time.",
        unit="seconds",
        ge=0.1,
        le=600.0,
    )
    stationary_after: float = setting(
        10.0, "How long an object must stay in place to count as stationary.", unit="seconds", ge=1.0, le=3600.0
    )
    update_interval: float = setting(
        10.0, "Least time between two updates that only bring a better score.", unit="seconds", ge=0.5, le=3600.0
    )

    @property
    def least_score(self) -> float:
        """Lowest score that a detector must give for the tracker, whatever the model's own lowest is."""
        return _FAINT if self.low_score is None else self.low_score

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high_score is not None and self.low_score is not None and self.low_score > self.high_score:
            raise ValueError("low_score must not exceed high_score")
        return self


class OutboxSettings(Section):
    """Bounds and commits of the store that keeps messages until the broker has them."""

    max_rows: int = setting(1_000_000, "Most messages kept.", unit="messages", ge=100, le=100_000_000)
    max_bytes: int = setting(512 << 20, "Largest size of the file.", unit="bytes", ge=1 << 20, le=1 << 40)
    max_age: float = setting(
        30 * 86400.0, "Longest time a message is kept.", unit="seconds", ge=60.0, le=3650 * 86400.0
    )
    mode: Literal["strict", "grouped", "economy"] = setting(
        "grouped",
        "How much a power cut may take: what came in within the last commit. `strict`: every message has its own; "
        "`grouped`: 250 ms or 32 messages; `economy`: 5 s or 128 messages, for the least wear.",
    )
    commit_rows: int | None = setting(
        None, "Most messages in one commit; none: as the mode says.", unit="messages", example=32, ge=1, le=1000
    )
    commit_interval: float | None = setting(
        None, "Longest wait before a commit; none: as the mode says.", unit="seconds", example=0.25, ge=0.01, le=5.0
    )
    replay_window: float = setting(
        86400.0,
        "Time for which a message that the broker has is kept, so that it can be sent again; 0: not at all.",
        unit="seconds",
        ge=0.0,
        le=3650 * 86400.0,
    )
    resend_window: float = setting(
        10.0,
        "What the broker acknowledged within this time before a connection was lost is sent again on the next one: a "
        "broker that was killed may not have passed it on. Not beyond `replay_window`; 0: not at all.",
        unit="seconds",
        ge=0.0,
        le=3600.0,
    )
    replay_share: float = setting(
        0.2,
        "Largest part of `max_rows` and `max_bytes` that those may take; they go before any that waits.",
        ge=0.0,
        le=1.0,
    )

    @property
    def rows_per_commit(self) -> int:
        """Most messages in one commit."""
        return self.commit_rows or {"strict": 1, "grouped": 32, "economy": 128}[self.mode]

    @property
    def seconds_per_commit(self) -> float:
        """Longest wait before a commit, in seconds."""
        return self.commit_interval or {"strict": 0.01, "grouped": 0.25, "economy": 5.0}[self.mode]


class TlsSettings(Section):
    """Encryption to the broker; used with mqtts://."""

    ca_file: Path | None = setting(
        None, "Certificate authorities; none: the system's own.", example="/etc/edgecam/tls/ca.pem"
    )
    cert_file: Path | None = setting(None, "This device's certificate.", example="/etc/edgecam/tls/device.pem")
    key_file: Path | None = setting(
        None, "This device's private key, mode 0600 or stricter.", example="/etc/edgecam/tls/device.key"
    )
    verify: bool = setting(
        True,
        "Check the broker's certificate and name; false: anybody can pose as the broker, and the device is degraded.",
    )

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        return self


class MessagingSettings(Section):
    """Where messages go, and how often."""

    broker: Url = setting(
        "mqtt://127.0.0.1:1883",
        "mqtt://HOST[:PORT], mqtts://HOST[:PORT], `embedded` (a demonstration on loopback) or `none`.",
        accepts="mqtt://HOST[:PORT], mqtts://HOST[:PORT], embedded or none",
        pattern=_BROKER,
        max_length=512,
    )
    username: str | None = setting(None, "User name.", max_length=255, example="edgecam")
    username_from: Secret | None = setting(
        None,
        "Where the user name is kept, in place of `username`.",
        accepts=SECRET_FORMS,
        example={"credential": "broker-user"},
    )
    password: Secret | None = setting(
        None, "Password.", accepts=SECRET_FORMS, example={"file": "/etc/edgecam/password"}
    )
    tls: TlsSettings = setting(TlsSettings())
    keepalive: int = setting(
        30, "A silent link is found dead after about one and a half times this.", unit="seconds", ge=5, le=3600
    )
    ack_timeout: float = setting(
        20.0,
        "A connection on which no message is acknowledged for so long is dropped and made anew.",
        unit="seconds",
        ge=1.0,
        le=3600.0,
    )
    reconnect_spread: float = setting(
        50.0,
        "After the broker has ended the connection, the next begins at random within this time, so that a fleet does "
        "not come back in one second; not with a broker on this machine. 0: at once, for a single device.",
        unit="seconds",
        ge=0.0,
        le=3600.0,
    )
    start_spread: float = setting(
        10.0,
        "After the machine has booted, the first connection begins within this time, at a moment of this device's own.",
        unit="seconds",
        ge=0.0,
        le=3600.0,
    )
    inflight: int = setting(64, "Most messages sent and not yet acknowledged.", unit="messages", ge=1, le=1000)
    replay_rate: float = setting(
        50.0,
        "How fast what waited is sent once the broker is back; what happens now goes first; 0: as fast as it goes.",
        unit="messages per second",
        ge=0.0,
        le=10_000.0,
    )
    replay_spread: float = setting(
        60.0,
        "After more than five minutes without a broker, what waited begins at random within this time.",
        unit="seconds",
        ge=0.0,
        le=3600.0,
    )
    detections_interval: float = setting(
        1.0,
        "Least time between two `detections`, `classification`, `segmentation` or `masks` messages of a camera; "
        "0: every frame.",
        unit="seconds",
        ge=0.0,
        le=3600.0,
    )
    share_step: float = setting(
        0.02,
        "Of a segmentation network: a label's share of the picture or of a zone that has changed by so much is told.",
        accepts="a number from 0 to 1",
        ge=0.0,
        le=1.0,
    )
    masks: bool = setting(False, "Of a segmentation network: publish `masks` too, outlines of what is seen.")
    commands: bool = setting(
        False,
        "Obey commands below `cmd`. Whoever may publish there can blind a camera: give the broker access rights first.",
    )
    pictures: bool = setting(False, "Let the command `snapshot` send a picture of a camera through the broker.")
    health_interval: float = setting(60.0, "Time between two `health` messages.", unit="seconds", ge=1.0, le=3600.0)
    ack: Literal["puback", "end-to-end"] = setting(
        "puback",
        "When a durable message counts as delivered: when the broker has it, or only when a subscriber says on the "
        "topic `ack` that it is there; until then it is sent again with each connection.",
    )
    outbox: OutboxSettings = setting(OutboxSettings())
    homeassistant: HomeAssistantSettings = setting(HomeAssistantSettings())
    frigate: FrigateSettings = setting(FrigateSettings())
    onvif: OnvifSettings = setting(OnvifSettings())

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if self.username is not None and self.username_from is not None:
            raise ValueError("give either `username` or `username_from`")
        return self


class Settings(Section):
    """The whole configuration."""

    device: DeviceSettings = setting(DeviceSettings())
    cameras: dict[CameraName, AnyCamera] = setting(
        {}, "The cameras by name; at least one is needed to run.", max_length=16
    )
    model: ModelSettings = setting(ModelSettings())
    tracking: TrackingSettings = setting(TrackingSettings())
    messaging: MessagingSettings = setting(MessagingSettings())
    fleet: FleetSettings = setting(FleetSettings())


def runtime_socket(settings: DeviceSettings | None = None) -> Path:
    """Give where a daemon that is started here puts its Unix socket."""
    if settings is not None and settings.socket is not None:
        return settings.socket
    if chosen := os.environ.get("EDGECAM_SOCKET"):
        return Path(chosen)
    directory = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if not directory and os.geteuid() == 0:
        directory = str(SYSTEM_RUNTIME)
    if not directory and (user_runtime := os.environ.get("XDG_RUNTIME_DIR")):
        directory = f"{user_runtime}/edgecam"
    return Path(directory or f"/tmp/edgecam-{os.geteuid()}", "edgecam.sock")  # noqa: S108 - made 0700 by the daemon


def reachable_socket(settings: DeviceSettings | None = None, system: Path = SYSTEM_RUNTIME) -> Path:
    """Give the Unix socket to ask: of one's own daemon, or of the system's when there is none of one's own.

    Args:
        settings: The configuration in place, if any.
        system: The runtime directory of the system's daemon.
    """
    own = runtime_socket(settings)
    is_asked_for = (settings is not None and settings.socket is not None) or "EDGECAM_SOCKET" in os.environ
    # the directory is what others may see; whether they may look into it is told when they ask
    return own if is_asked_for or os.access(own, os.F_OK) or not system.is_dir() else system / own.name
