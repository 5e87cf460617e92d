"""The settings of cameras, their zones and lines."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from appliance.config.declare import SECRET_FORMS, Name, Point, Secret, Section, Url, setting


class Zone(Section):
    """A named area of a camera's picture."""

    points: Annotated[tuple[Point, ...], Field(min_length=3, max_length=64)] = setting(
        ...,
        "Corners of the polygon as [x, y], 0..1 of the picture's width and height.",
        accepts="a list of 3 to 64 corners [x, y], each number from 0 to 1",
        example=[[0.1, 0.5], [0.9, 0.5], [0.9, 1.0], [0.1, 1.0]],
    )
    labels: tuple[str, ...] = setting(
        (), "Only these labels, or groups of labels such as `vehicle`, count; empty: all.", max_length=100
    )
    inertia: int = setting(
        3, "Frames in a row inside before an object counts as entered, or outside as left.", unit="frames", ge=1, le=100
    )
    dwell: float = setting(
        0.0, "Send an update once an object has stayed this long; 0: never.", unit="seconds", ge=0.0, le=86400.0
    )


class Line(Section):
    """A named line; objects that cross it are reported with their direction."""

    points: tuple[Point, Point] = setting(
        ...,
        "First and last point as [x, y], 0..1 of the picture's width and height.",
        accepts="a list of two points [x, y], each number from 0 to 1",
        example=[[0.0, 0.6], [1.0, 0.6]],
    )
    labels: tuple[str, ...] = setting(
        (), "Only these labels, or groups of labels such as `vehicle`, count; empty: all.", max_length=100
    )


class CameraSettings(Section):
    """What all cameras have in common."""

    enabled: bool = setting(True, "Off: the camera is not opened and says `disabled`.")
    zones: dict[Name, Zone] = setting({}, "Named areas.", max_length=32)
    lines: dict[Name, Line] = setting({}, "Named lines.", max_length=32)


class FileCameraSettings(CameraSettings):
    """A video file, or a folder of pictures in the order of their names."""

    kind: Literal["file"] = setting(..., "The kind of camera.")
    path: Path = setting(..., "The video or folder.", example="/srv/edgecam/clip.mp4")
    pace: Literal["real-time", "fastest"] = setting("real-time", "As recorded, or as fast as frames are taken.")
    loop: bool = setting(False, "Start again at the end.")
    fps: float = setting(
        0.0,
        "Frames a second for a folder, or to override the video's own; 0: the video's own, 10 for a folder.",
        unit="frames per second",
        ge=0.0,
        le=240.0,
    )


class V4l2CameraSettings(CameraSettings):
    """A USB or other Video4Linux camera."""

    kind: Literal["v4l2"] = setting(..., "The kind of camera.")
    device: str = setting(
        "/dev/video0",
        "The device node, or a stable link below /dev/v4l/by-id/.",
        accepts="a path below /dev/, such as /dev/video0",
        pattern=r"^/dev/[A-Za-z0-9_./:+-]+$",
    )
    width: int = setting(1280, "Width asked for.", unit="pixels", ge=16, le=8192)
    height: int = setting(720, "Height asked for.", unit="pixels", ge=16, le=8192)
    fps: float = setting(30.0, "Frame rate asked for.", unit="frames per second", gt=0.0, le=240.0)


class RtspCameraSettings(CameraSettings):
    """A network camera."""

    kind: Literal["rtsp"] = setting(..., "The kind of camera.")
    url: Url = setting(
        ...,
        "Address, without user name and password.",
        accepts="rtsp://HOST[:PORT]/PATH or rtsps://…, up to 2048 characters",
        example="rtsp://192.0.2.10/stream1",
        pattern=r"^rtsps?://[^/\s]+.*$",
        max_length=2048,
    )
    username: str | None = setting(None, "User name.", max_length=255, example="edgecam")
    password: Secret | None = setting(
        None, "Password.", accepts=SECRET_FORMS, example={"file": "/etc/edgecam/password"}
    )
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
    fps: float = setting(10.0, "Frame rate.", unit="frames per second", gt=0.0, le=120.0)
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
    fps: float = setting(30.0, "Frame rate.", unit="frames per second", gt=0.0, le=240.0)
    timeout: float = setting(
        2.0, "Longest wait for a frame before the camera counts as wedged.", unit="seconds", ge=0.2, le=30.0
    )


class Imx500CameraSettings(CameraSettings):
    """A Raspberry Pi AI Camera: its sensor runs the network, and each picture comes with its answer."""

    kind: Literal["imx500"] = setting(..., "The kind of camera.")
    network: Path = setting(
        ..., "The model's .rpk file, which is loaded into the camera.", example="/etc/edgecam/models/ssd/ssd.rpk"
    )
    width: int = setting(1280, "Width of the main stream, in which boxes are reported.", unit="pixels", ge=64, le=8192)
    height: int = setting(720, "Height of the main stream.", unit="pixels", ge=64, le=8192)
    lores_width: int = setting(
        640, "Width of the small stream, which is kept for the live view.", unit="pixels", ge=64, le=1920, multiple_of=2
    )
    lores_height: int = setting(360, "Height of the small stream.", unit="pixels", ge=64, le=1920, multiple_of=2)
    fps: float = setting(30.0, "Frame rate.", unit="frames per second", gt=0.0, le=240.0)
    timeout: float = setting(2.0, "Longest wait for a picture with its answer.", unit="seconds", ge=0.2, le=30.0)


AnyCamera = Annotated[
    FileCameraSettings
    | V4l2CameraSettings
    | RtspCameraSettings
    | SyntheticCameraSettings
    | Picamera2CameraSettings
    | Imx500CameraSettings,
    Field(discriminator="kind"),
]
