"""Every setting: unit, default, limits and description; edgecam.toml becomes typed settings."""

import os
import re
import socket
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from appliance.core.errors import ConfigError

DEFAULT_PATH = Path("/etc/edgecam/edgecam.toml")
MOST_CONFIG_BYTES = 1 << 20  # bounded before it is parsed: a configuration is some kilobytes
_BROKER = (
    r"^(embedded|none|mqtts?://[^/\s:]+(:[0-9]{1,5})?/?"
    r"|mqtts?://\[[0-9a-fA-F:.]+\](:[0-9]{1,5})?/?)$"
)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def setting(default: Any, description: str, *, unit: str = "", **limits: Any) -> Any:
    """Declare a setting with the words and the unit that the documentation shows."""
    return Field(default, description=description, json_schema_extra={"unit": unit} if unit else None, **limits)


def _without_credentials(url: str) -> str:
    try:
        parts = urlsplit(url)
        inline = parts.username is not None or parts.password is not None
    except ValueError as error:
        raise ValueError(f"is no valid address ({error})") from error
    if inline:
        raise ValueError(
            "carries a user name or password; use `username` and `password = { file = … }` or `{ credential = … }`"
        )
    return url


def _topic_level(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("names are 1 to 32 of a-z, 0-9, - and _, and start with a letter or digit")
    return name


Name = Annotated[str, AfterValidator(_topic_level)]
Url = Annotated[str, AfterValidator(_without_credentials)]
Unit = Annotated[float, Field(ge=0.0, le=1.0)]
Point = tuple[Unit, Unit]


class Section(BaseModel):
    """A table of the configuration: unknown keys are errors, values are frozen once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Secret(Section):
    """Where a secret is kept: a systemd credential or a file that only its owner can read. Never the secret itself."""

    credential: str | None = setting(
        None, "Name of a systemd credential (LoadCredential= in the unit).", max_length=255
    )
    file: Path | None = setting(None, "Path of a file with mode 0600 or stricter; its first line is the secret.")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.credential is None) == (self.file is None):
            raise ValueError("give either `credential` or `file`")
        if self.credential is not None and "/" in self.credential:
            raise ValueError("a credential is a plain name, without '/'")
        return self

    def read(self, where: str) -> str:
        """Read the secret's first line; blocks on the disk only.

        Args:
            where: The setting's key path, for messages.

        Raises:
            ConfigError: It is not there, or others can read the file.
        """
        path = self.file or Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent"), self.credential or "")
        try:
            if self.file is not None and stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise ConfigError(f"{where}: others can read {path}; do: chmod 600 {path}")
            with path.open(encoding="utf-8") as file:
                return file.readline(4096).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where}: cannot read the secret {path}: {error}") from error


class Zone(Section):
    """A named area of a camera's picture."""

    points: Annotated[tuple[Point, ...], Field(min_length=3, max_length=64)] = setting(
        ..., "Corners of the polygon as [x, y], 0..1 of the picture's width and height."
    )
    labels: tuple[str, ...] = setting((), "Only these labels count; empty: all.", max_length=100)
    inertia: int = setting(
        3, "Frames in a row inside before an object counts as entered, or outside as left.", unit="frames", ge=1, le=100
    )
    dwell: float = setting(
        0.0, "Send an update once an object has stayed this long; 0: never.", unit="seconds", ge=0.0, le=86400.0
    )


class Line(Section):
    """A named line; objects that cross it are reported with their direction."""

    points: tuple[Point, Point] = setting(
        ..., "First and last point as [x, y], 0..1 of the picture's width and height."
    )
    labels: tuple[str, ...] = setting((), "Only these labels count; empty: all.", max_length=100)


class CameraSettings(Section):
    """What all cameras have in common."""

    enabled: bool = setting(True, "Off: the camera is not opened and says `disabled`.")
    zones: dict[Name, Zone] = setting({}, "Named areas.", max_length=32)
    lines: dict[Name, Line] = setting({}, "Named lines.", max_length=32)


class FileCameraSettings(CameraSettings):
    """A video file, or a folder of pictures in the order of their names."""

    kind: Literal["file"] = setting(..., "The kind of camera.")
    path: Path = setting(..., "The video or folder.")
    pace: Literal["real-time", "fastest"] = setting("real-time", "As recorded, or as fast as frames are taken.")
    loop: bool = setting(False, "Start again at the end.")
    fps: float = setting(
        0.0,
        "Frames a second for a folder, or to override the video's own; 0: the video's own, 10 for a folder.",
        unit="1/s",
        ge=0.0,
        le=240.0,
    )


class V4l2CameraSettings(CameraSettings):
    """A USB or other Video4Linux camera."""

    kind: Literal["v4l2"] = setting(..., "The kind of camera.")
    device: str = setting(
        "/dev/video0", "The device node, or a stable link below /dev/v4l/by-id/.", pattern=r"^/dev/[A-Za-z0-9_./:+-]+$"
    )
    width: int = setting(1280, "Width asked for.", unit="pixels", ge=16, le=8192)
    height: int = setting(720, "Height asked for.", unit="pixels", ge=16, le=8192)
    fps: float = setting(30.0, "Frame rate asked for.", unit="1/s", gt=0.0, le=240.0)


class RtspCameraSettings(CameraSettings):
    """A network camera."""

    kind: Literal["rtsp"] = setting(..., "The kind of camera.")
    url: Url = setting(
        ..., "Address, without user name and password.", pattern=r"^rtsps?://[^/\s]+.*$", max_length=2048
    )
    username: str | None = setting(None, "User name.", max_length=255)
    password: Secret | None = setting(None, "Password.")
    transport: Literal["tcp", "udp"] = setting("tcp", "How the pictures travel.")
    open_timeout: float = setting(5.0, "Longest wait for the server to answer.", unit="seconds", ge=0.5, le=30.0)
    read_timeout: float = setting(
        2.0, "Longest wait for a frame before the stream counts as dead.", unit="seconds", ge=0.5, le=30.0
    )


class SyntheticCameraSettings(CameraSettings):
    """A drawn street with people and vehicles, the same for the same seed."""

    kind: Literal["synthetic"] = setting(..., "The kind of camera.")
    width: int = setting(1280, "Width.", unit="pixels", ge=160, le=3840)
    height: int = setting(720, "Height.", unit="pixels", ge=120, le=2160)
    fps: float = setting(10.0, "Frame rate.", unit="1/s", gt=0.0, le=120.0)
    seed: int = setting(1, "Which street.", ge=0, le=2**31 - 1)
    pace: Literal["real-time", "fastest"] = setting(
        "real-time", "Paced by the frame rate, or as fast as frames are taken."
    )
    frames: int = setting(0, "End after so many frames; 0: never.", unit="frames", ge=0)


class Picamera2CameraSettings(CameraSettings):
    """A Raspberry Pi camera module through picamera2: the ISP scales the picture for the detector."""

    kind: Literal["picamera2"] = setting(..., "The kind of camera.")
    index: int = setting(0, "Which camera, as `rpicam-hello --list-cameras` counts them.", ge=0, le=7)
    width: int = setting(1280, "Width of the main stream, in which boxes are reported.", unit="pixels", ge=64, le=8192)
    height: int = setting(720, "Height of the main stream.", unit="pixels", ge=64, le=8192)
    lores_width: int = setting(
        640, "Width of the small stream that the detector sees.", unit="pixels", ge=64, le=1920, multiple_of=2
    )
    lores_height: int = setting(360, "Height of the small stream.", unit="pixels", ge=64, le=1920, multiple_of=2)
    fps: float = setting(30.0, "Frame rate.", unit="1/s", gt=0.0, le=240.0)
    timeout: float = setting(
        2.0, "Longest wait for a frame before the camera counts as wedged.", unit="seconds", ge=0.2, le=30.0
    )


AnyCamera = Annotated[
    FileCameraSettings | V4l2CameraSettings | RtspCameraSettings | SyntheticCameraSettings | Picamera2CameraSettings,
    Field(discriminator="kind"),
]


class DeviceSettings(Section):
    """Who and where this device is."""

    id: str = setting(
        "", "Name of this device in topics; empty: the host's name.", max_length=64, pattern=r"^[A-Za-z0-9_-]*$"
    )
    state_dir: Path = setting(Path("/var/lib/edgecam"), "Where the outbox and other state are kept.")
    socket: Path | None = setting(None, "The daemon's Unix socket; none: `edgecam.sock` in the runtime directory.")

    def resolved_id(self) -> str:
        """Give the device's id, made from the host's name when none is set."""
        return self.id or re.sub(r"[^A-Za-z0-9_-]+", "-", socket.gethostname())[:64].strip("-") or "edgecam"


class ModelSettings(Section):
    """Which detector runs, and what counts as a detection."""

    use: str = setting(
        "edgecam-nano",
        "Name of a model, path of an .onnx file, or NAME=FILE to say which manifest a file belongs to.",
        min_length=1,
        max_length=4096,
    )
    directories: tuple[Path, ...] = setting((), "Folders with models, searched before Edgecam's own.", max_length=16)
    min_score: float | None = setting(None, "Lowest score of a detection; none: the manifest's own.", ge=0.01, le=1.0)
    labels: tuple[str, ...] = setting(
        (), "Only these labels are looked for; empty: all the model knows.", max_length=1000
    )
    threads: int = setting(1, "CPU threads of one inference.", ge=1, le=64)


class TrackingSettings(Section):
    """How detections become objects. Defaults follow ByteTrack (Zhang et al., 2022), section 4."""

    high_score: float | None = setting(
        None,
        "Detections from this score on are matched first and may start an object; none: the model's lowest.",
        ge=0.05,
        le=1.0,
    )
    low_score: float = setting(0.1, "Detections down to this score keep an object alive.", ge=0.01, le=1.0)
    match_iou: float = setting(
        0.2, "Least overlap (IoU) of a detection with where an object is expected.", ge=0.01, le=0.95
    )
    confirm_frames: int = setting(
        3, "Frames in which an object must be seen before it is reported.", unit="frames", ge=1, le=100
    )
    lost_after: float = setting(
        2.0, "How long an object may be unseen before it ends.", unit="seconds", ge=0.1, le=600.0
    )
    stationary_after: float = setting(
        10.0, "How long an object must stay in place to count as stationary.", unit="seconds", ge=1.0, le=3600.0
    )
    update_interval: float = setting(
        10.0, "Least time between two updates that only bring a better score.", unit="seconds", ge=0.5, le=3600.0
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high_score is not None and self.low_score > self.high_score:
            raise ValueError("low_score must not exceed high_score")
        return self


class OutboxSettings(Section):
    """Bounds and commits of the store that keeps messages until the broker has them."""

    max_rows: int = setting(1_000_000, "Most messages kept.", unit="messages", ge=100, le=100_000_000)
    max_bytes: int = setting(512 << 20, "Largest size of the file.", unit="bytes", ge=1 << 20, le=1 << 40)
    max_age: float = setting(
        30 * 86400.0, "Longest time a message is kept.", unit="seconds", ge=60.0, le=3650 * 86400.0
    )
    commit_rows: int = setting(32, "Most messages in one commit.", unit="messages", ge=1, le=1000)
    commit_interval: float = setting(0.25, "Longest wait before a commit.", unit="seconds", ge=0.01, le=5.0)


class TlsSettings(Section):
    """Encryption to the broker; used with mqtts://."""

    ca_file: Path | None = setting(None, "Certificate authorities; none: the system's own.")
    cert_file: Path | None = setting(None, "This device's certificate.")
    key_file: Path | None = setting(None, "This device's private key, mode 0600 or stricter.")

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        return self


class MessagingSettings(Section):
    """Where messages go."""

    broker: Url = setting(
        "mqtt://127.0.0.1:1883",
        "mqtt://HOST[:PORT], mqtts://HOST[:PORT], `embedded` (a demonstration on loopback) or `none`.",
        pattern=_BROKER,
        max_length=512,
    )
    username: str | None = setting(None, "User name.", max_length=255)
    password: Secret | None = setting(None, "Password.")
    tls: TlsSettings = setting(TlsSettings(), "Encryption.")
    keepalive: int = setting(
        30, "A silent link is found dead after about one and a half times this.", unit="seconds", ge=5, le=3600
    )
    inflight: int = setting(64, "Most messages sent and not yet acknowledged.", unit="messages", ge=1, le=1000)
    detections_interval: float = setting(
        1.0,
        "Least time between two `detections` messages of a camera; 0: every frame.",
        unit="seconds",
        ge=0.0,
        le=3600.0,
    )
    health_interval: float = setting(60.0, "Time between two `health` messages.", unit="seconds", ge=1.0, le=3600.0)
    outbox: OutboxSettings = setting(OutboxSettings(), "The store.")


class Settings(Section):
    """The whole configuration."""

    device: DeviceSettings = setting(DeviceSettings(), "The device.")
    cameras: dict[Name, AnyCamera] = setting({}, "The cameras by name; at least one is needed to run.", max_length=16)
    model: ModelSettings = setting(ModelSettings(), "The detector.")
    tracking: TrackingSettings = setting(TrackingSettings(), "The tracker.")
    messaging: MessagingSettings = setting(MessagingSettings(), "The messages.")


def load_settings(path: Path) -> Settings:
    """Read and check a configuration file.

    Raises:
        ConfigError: The file is missing, no TOML, or has settings that are not accepted: all of them in one
            message, a line each with its key path.
    """
    return parse_settings(read_toml(path), str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of bounded size.

    Raises:
        ConfigError: It is missing, too large, or no TOML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_CONFIG_BYTES + 1)
        if len(content) > MOST_CONFIG_BYTES:
            raise ConfigError(f"{path} is larger than {MOST_CONFIG_BYTES} bytes; is it a configuration?")
        return tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read the configuration {path}: {error.strerror}; `edgecam config default` prints one to start from"
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is no valid TOML: {error}") from error


def parse_settings(values: Mapping[str, Any], where: str) -> Settings:
    """Check values that were read from `where`.

    Raises:
        ConfigError: As for `load_settings`.
    """
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        lines = [_explain(detail) for detail in error.errors(include_url=False)]
        count = f"{len(lines)} setting{'s are' if len(lines) > 1 else ' is'} not accepted"
        raise ConfigError("\n  ".join([f"{where}: {count}:", *lines])) from error


def _explain(detail: Any) -> str:
    """Give one error as ``cameras.door.kind: what is accepted (got …)``."""
    kinds = {"file", "v4l2", "rtsp", "synthetic", "picamera2"}
    steps = [str(step) for step in detail["loc"]]
    # pydantic names the chosen member of a union as a step of the path; it is no key of the file
    steps = [step for at, step in enumerate(steps) if not (at == 2 and steps[0] == "cameras" and step in kinds)]  # noqa: PLR2004
    path = ".".join(step for step in steps if step != "[key]") or "(top level)"
    if detail["type"] == "extra_forbidden":
        return f"{path}: unknown setting; `edgecam config default` lists all"
    if detail["type"] == "missing":
        return f"{path}: is required"
    if detail["type"] == "union_tag_not_found":
        return f"{path}.kind: is required; known: {', '.join(sorted(kinds))}"
    if detail["type"] == "union_tag_invalid":
        return f"{path}.kind: is {detail['ctx']['tag']!r}; known: {', '.join(sorted(kinds))}"
    message = detail["msg"].removeprefix("Value error, ")
    given = detail["input"]
    is_telling = isinstance(given, str | int | float | bool) and "password" not in path and "carries" not in message
    return f"{path}: {message}" + (f" (got {given!r})" if is_telling else "")


def runtime_socket(settings: DeviceSettings | None = None) -> Path:
    """Give the path of the daemon's Unix socket, by the same rule for the daemon and for those who look for it."""
    if settings is not None and settings.socket is not None:
        return settings.socket
    if chosen := os.environ.get("EDGECAM_SOCKET"):
        return Path(chosen)
    directory = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if not directory and os.geteuid() == 0:
        directory = "/run/edgecam"
    if not directory and (user_runtime := os.environ.get("XDG_RUNTIME_DIR")):
        directory = f"{user_runtime}/edgecam"
    return Path(directory or f"/tmp/edgecam-{os.geteuid()}", "edgecam.sock")  # noqa: S108 - made 0700 by the daemon
