"""The configuration: edgecam.toml becomes typed settings; every setting has unit, default, limits and description."""

from appliance.config.cameras import (
    AnyCamera,
    CameraSettings,
    FileCameraSettings,
    Line,
    Picamera2CameraSettings,
    RtspCameraSettings,
    SyntheticCameraSettings,
    V4l2CameraSettings,
    Zone,
)
from appliance.config.declare import Name, Point, Secret, Section, Unit, Url, setting
from appliance.config.loading import MOST_CONFIG_BYTES, load_settings, parse_settings, read_toml
from appliance.config.settings import (
    DEFAULT_PATH,
    DeviceSettings,
    MessagingSettings,
    ModelSettings,
    OutboxSettings,
    Settings,
    TlsSettings,
    TrackingSettings,
    runtime_socket,
)

__all__ = [
    "DEFAULT_PATH",
    "MOST_CONFIG_BYTES",
    "AnyCamera",
    "CameraSettings",
    "DeviceSettings",
    "FileCameraSettings",
    "Line",
    "MessagingSettings",
    "ModelSettings",
    "Name",
    "OutboxSettings",
    "Picamera2CameraSettings",
    "Point",
    "RtspCameraSettings",
    "Secret",
    "Section",
    "Settings",
    "SyntheticCameraSettings",
    "TlsSettings",
    "TrackingSettings",
    "Unit",
    "Url",
    "V4l2CameraSettings",
    "Zone",
    "load_settings",
    "parse_settings",
    "read_toml",
    "runtime_socket",
    "setting",
]
