import os
from pathlib import Path

import pytest

from appliance.config import SyntheticCameraSettings
from appliance.core.errors import ConfigError
from appliance.daemon.options import choose_camera, read_options


def test_options_override_the_file(tmp_path: Path) -> None:
    config = tmp_path / "edgecam.toml"
    config.write_text("[device]\nid = 'attic'\n[model]\nuse = 'a'\nthreads = 2\n[cameras.door]\nkind = 'v4l2'\n")
    options = read_options(
        ["--config", str(config), "--camera", "synthetic", "--model", "b", "--broker", "none", "--device-id", "hall"]
    )
    settings = options.settings
    assert list(settings.cameras) == ["camera"]
    assert isinstance(settings.cameras["camera"], SyntheticCameraSettings)
    assert (settings.model.use, settings.model.threads) == ("b", 2)
    assert (settings.messaging.broker, settings.device.id) == ("none", "hall")
    assert not options.once


def test_the_file_alone_is_enough(tmp_path: Path) -> None:
    config = tmp_path / "edgecam.toml"
    config.write_text("[cameras.door]\nkind = 'v4l2'\ndevice = '/dev/video7'\n")
    options = read_options(["--config", str(config), "--once"])
    assert list(options.settings.cameras) == ["door"]
    assert options.once
    assert options.chosen == ""


def test_a_configuration_without_cameras_is_refused_not_filled_with_a_drawn_street() -> None:
    with pytest.raises(ConfigError, match=r"no camera is configured; add a section \[cameras\.NAME\]"):
        read_options(["--config", os.devnull])


def test_without_configuration_and_camera_one_is_found_or_a_street_is_drawn_and_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("appliance.daemon.options.DEFAULT_PATH", tmp_path / "none.toml")
    spec, chosen = choose_camera()
    options = read_options([])
    assert options.chosen == chosen != ""
    if spec == "synthetic":
        assert "no camera found" in chosen


def test_options_are_checked_like_the_file() -> None:
    with pytest.raises(ConfigError, match=r"messaging\.broker"):
        read_options(["--config", os.devnull, "--broker", "ftp://somewhere"])


def test_a_missing_configuration_tells_how_to_get_one() -> None:
    with pytest.raises(ConfigError, match="edgecam config default"):
        read_options(["--config", "/nowhere/edgecam.toml"])


def test_another_model_takes_the_choice_among_the_files_of_the_first_with_it(tmp_path: Path) -> None:
    path = tmp_path / "edgecam.toml"
    path.write_text('[model]\nuse = "stairs"\nartifact = "int8"\n[cameras.door]\nkind = "synthetic"\n')
    said = ["--config", str(path)]
    assert read_options(said).settings.model.artifact == "int8"
    assert read_options([*said, "--artifact", "fp32"]).settings.model.artifact == "fp32"
    assert read_options([*said, "--model", "other"]).settings.model.artifact is None
    assert read_options([*said, "--model", "other", "--artifact", "fp16"]).settings.model.artifact == "fp16"
