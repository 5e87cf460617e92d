"""What `--camera SPEC` means: a path, an address, a device or a name becomes a camera's settings."""

import re
from pathlib import Path

from pydantic import ValidationError

from appliance.config import (
    AnyCamera,
    FileCameraSettings,
    Picamera2CameraSettings,
    RtspCameraSettings,
    SyntheticCameraSettings,
    V4l2CameraSettings,
    public_address,
)
from appliance.core.errors import ConfigError

ACCEPTED = (
    "a video file, a picture or a folder of pictures, rtsp://HOST/PATH, /dev/videoN or N, picamera2[:N], or synthetic"
)
_PICAMERA2 = re.compile(r"picamera2(?::([0-7]))?")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def parse_camera(spec: str) -> AnyCamera:
    """Give the settings that `spec` stands for; touches the disk only to see whether a path is there.

    Args:
        spec: Path of a video, picture or folder; ``rtsp://…`` or ``rtsps://…``; ``/dev/video0``, a link below
            ``/dev/v4l/`` or a bare number; ``synthetic``; ``picamera2`` or ``picamera2:1``.

    Raises:
        ConfigError: It is none of these, there is nothing at that path, or the address carries a password.
    """
    try:
        return _parse(spec.strip())
    except ValidationError as error:
        reason = error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"--camera {public_address(spec)}: {reason}; accepted: {ACCEPTED}") from error


def _parse(spec: str) -> AnyCamera:
    if not spec:
        raise ConfigError(f"--camera is empty; accepted: {ACCEPTED}")
    if spec == "synthetic":
        return SyntheticCameraSettings(kind="synthetic")
    if chosen := _PICAMERA2.fullmatch(spec):
        return Picamera2CameraSettings(kind="picamera2", index=int(chosen[1] or 0))
    if re.fullmatch(r"[0-9]{1,3}", spec):
        return V4l2CameraSettings(kind="v4l2", device=f"/dev/video{int(spec)}")
    if spec.startswith(("/dev/video", "/dev/v4l/")):
        return V4l2CameraSettings(kind="v4l2", device=spec)
    if scheme := _SCHEME.match(spec):
        return _parse_address(spec, scheme[1].lower())
    return _parse_path(spec)


def _parse_address(spec: str, scheme: str) -> RtspCameraSettings:
    if "@" in spec:  # the message must not repeat what the process list already shows
        raise ConfigError(
            f"--camera {scheme}://…: a user name or password in the address shows in the process list; write "
            '`username = "…"` and `password = { file = "…" }` into the camera\'s section of the configuration, '
            "and %40 for an @ of the path"
        )
    if scheme not in {"rtsp", "rtsps"} or not re.match(r"[^/?#:]", spec[len(scheme) + 3 :]):
        raise ConfigError(f"--camera {public_address(spec)}: no such kind of address; accepted: {ACCEPTED}")
    return RtspCameraSettings(kind="rtsp", url=f"{scheme}{spec[len(scheme) :]}")


def _parse_path(spec: str) -> FileCameraSettings:
    path = Path(spec).expanduser()
    try:
        if path.is_file() or path.is_dir():
            return FileCameraSettings(kind="file", path=path)
        found = path.exists()
    except (OSError, ValueError) as error:
        raise ConfigError(f"--camera {spec!r}: {error}; accepted: {ACCEPTED}") from error
    what = "is neither a file nor a folder" if found else "there is no such file or folder"
    raise ConfigError(f"--camera {spec}: {what}; accepted: {ACCEPTED}")
