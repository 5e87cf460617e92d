"""The command line: options override the configuration file."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import __version__
from appliance.cameras.discover import find_cameras
from appliance.cameras.spec import parse_camera
from appliance.config import DEFAULT_PATH, AnyCamera, Settings, parse_settings, read_toml
from appliance.core.errors import ConfigError

CAMERA = "camera"  # the name of the one camera that --camera or the automatic choice brings


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for besides settings."""

    settings: Settings
    once: bool
    chosen: str
    """How the camera came about when nobody named one; empty otherwise."""


def read_options(arguments: Sequence[str] | None) -> Options:
    """Read the command line and the configuration it names.

    Raises:
        ConfigError: A setting is not accepted; see `config.load_settings`.
    """
    asked = _parser().parse_args(arguments)
    path = asked.config or (DEFAULT_PATH if os.access(DEFAULT_PATH, os.F_OK) else None)
    values = read_toml(path) if path is not None else {}
    where = str(path) if path is not None else "command line"
    settings = parse_settings(_override(values, asked), where)
    chosen = ""
    if asked.camera is not None:
        settings = _with_camera(settings, parse_camera(asked.camera))
    elif not settings.cameras:
        if path is not None:
            # a device in service must not quietly watch something else than its owner wrote down
            raise ConfigError(f"{path}: no camera is configured; add a section [cameras.NAME], or give --camera")
        spec, chosen = choose_camera()
        settings = _with_camera(settings, parse_camera(spec))
    return Options(settings, asked.once, chosen)


def choose_camera() -> tuple[str, str]:
    """Give the first attached camera that can be opened, else the synthetic street, and a line that says so."""
    for found in find_cameras():
        if found.is_usable and found.kind != "synthetic":
            return found.address, f"using {found.title} ({found.address})"
    return "synthetic", "no camera found: showing a drawn street"


def _with_camera(settings: Settings, camera: AnyCamera) -> Settings:
    return settings.model_copy(update={"cameras": {CAMERA: camera}})


def _override(values: dict[str, Any], asked: argparse.Namespace) -> dict[str, Any]:
    """Put options over the file's values, before they are checked together."""
    if asked.model is not None and isinstance(model := values.get("model"), dict):
        model.pop("artifact", None)  # that was one of the configured model's
    overrides = [
        ("device", "id", asked.device_id),
        ("device", "state_dir", asked.state_dir and str(asked.state_dir)),
        ("model", "use", asked.model),
        ("model", "artifact", asked.artifact),
        ("messaging", "broker", asked.broker),
    ]
    for section, key, value in overrides:
        if value is not None and isinstance(values.setdefault(section, {}), dict):
            values[section][key] = value
    return values


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edgecam run",
        description="Run the daemon: frames in, accounted MQTT messages out. Options override the configuration file.",
    )
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help=f"configuration file (default: {DEFAULT_PATH} where it exists)")
    add("--camera", metavar="SPEC", help="video, folder, rtsp:// address, /dev/videoN, picamera2 or synthetic")
    add("--model", metavar="NAME|FILE", help="name of a model, an .onnx, .tflite or .hef file, or NAME=FILE")
    add("--artifact", metavar="FILE|PRECISION", help="which of the model's files; else the first that runs here")
    add("--broker", metavar="URL", help="mqtt://HOST[:PORT], mqtts://HOST[:PORT], embedded or none")
    add("--state-dir", type=Path, metavar="DIR", help="where the outbox and other state are kept")
    add("--device-id", metavar="ID", help="name of this device in topics")
    add("--once", action="store_true", help="end when a file source is done and all messages are delivered")
    add("--version", action="version", version=f"edgecam {__version__}")
    return parser
