"""The configuration: edgecam.toml becomes typed settings; every setting has unit, default, limits and description."""

from appliance.config.cameras import (
    AnyCamera,
    CameraSettings,
    FileCameraSettings,
    Imx500CameraSettings,
    Line,
    Picamera2CameraSettings,
    RtspCameraSettings,
    SyntheticCameraSettings,
    V4l2CameraSettings,
    Zone,
)
from appliance.config.declare import CameraName, Name, Point, Secret, Section, Unit, Url, public_address, setting
from appliance.config.fleet import FleetSettings
from appliance.config.labels import check_labels, check_places
from appliance.config.loading import (
    MOST_CONFIG_BYTES,
    load_settings,
    not_accepted,
    parse_settings,
    parse_table,
    read_toml,
)
from appliance.config.mistakes import explain_toml
from appliance.config.outputs import FrigateSettings, HomeAssistantSettings, OnvifSettings
from appliance.config.settings import (
    DEFAULT_PATH,
    DeviceSettings,
    MessagingSettings,
    ModelSettings,
    OutboxSettings,
    Settings,
    TlsSettings,
    TrackingSettings,
    reachable_socket,
    runtime_socket,
)

__all__ = [
    "DEFAULT_PATH",
    "MOST_CONFIG_BYTES",
    "AnyCamera",
    "CameraName",
    "CameraSettings",
    "DeviceSettings",
    "FileCameraSettings",
    "FleetSettings",
    "FrigateSettings",
    "HomeAssistantSettings",
    "Imx500CameraSettings",
    "Line",
    "MessagingSettings",
    "ModelSettings",
    "Name",
    "OnvifSettings",
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
    "check_labels",
    "check_places",
    "explain_toml",
    "load_settings",
    "not_accepted",
    "parse_settings",
    "parse_table",
    "public_address",
    "reachable_socket",
    "read_toml",
    "runtime_socket",
    "setting",
]
