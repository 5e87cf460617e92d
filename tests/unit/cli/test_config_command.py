"""`edgecam config` as an operator meets it."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli.config import config
from appliance.cli.reference import default_toml
from appliance.config import Settings, load_settings, parse_settings
from appliance.config.toml import format_document, format_value
from appliance.core.errors import ConfigError
from tests.simulators.models import write_folder

CAMERA = """
[cameras.door]
kind = "rtsp"
url = "rtsp://192.0.2.10/stream1"
username = "me"
password = { file = "/etc/edgecam/door" }
[cameras.door.zones.lawn]
points = [[0, 0], [1, 0], [0.5, 1]]
labels = ["person", "ca\\"t\\u007f"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "edgecam.toml"
    path.write_text(CAMERA)
    return path


def run(*arguments: str) -> str:
    """Run the command and give what it wrote on standard output."""
    return CliRunner().invoke(config, arguments, catch_exceptions=False).stdout


def test_check_sums_a_good_file_up(file: Path) -> None:
    file.write_text('[model]\nuse = "detector.onnx"\n' + CAMERA)  # whose labels are known once it runs
    said = run("check", str(file))
    assert said.splitlines()[0] == f"{file} is good"
    assert "door (rtsp)" in said
    assert "labels   not checked: those of a bare file are known once it runs" in said


@pytest.mark.parametrize("model", ["yolox", "yolox=detector.onnx"])
def test_check_knows_the_labels_of_a_model_that_is_named(file: Path, model: str) -> None:
    head = f'[model]\nuse = "{model}"\nlabels = ["vehicle", "lorry"]\n'
    file.write_text(head + CAMERA)
    with pytest.raises(ConfigError) as caught:
        run("check", str(file))
    first, second, accepted = str(caught.value).splitlines()
    assert first == "[model] labels: 'lorry' not known to the model"
    assert second.startswith("  [cameras.door.zones.lawn] labels: 'ca\"t")
    assert accepted.startswith("  accepted: labels person, bicycle, car")
    assert accepted.endswith("; groups vehicle (car, motorcycle, bus, truck)")
    file.write_text((head + CAMERA).replace(', "lorry"', "").replace(', "ca\\"t\\u007f"', ', "vehicle"'))
    said = run("check", str(file))
    assert said.startswith(f"{file} is good")
    assert "labels   known to yolox 1.0" in said


def test_check_knows_the_labels_of_a_folder(file: Path) -> None:
    folder = write_folder(file.parent / "candidate", {})
    file.write_text(f'[model]\nuse = "{folder}"\nlabels = ["lorry"]\n')
    with pytest.raises(ConfigError, match="'lorry' not known to the model"):
        run("check", str(file))


def test_check_is_of_the_model_in_use_whatever_is_broken_or_missing_beside_it(file: Path) -> None:
    broken = file.parent / "models" / "broken"
    broken.mkdir(parents=True)
    (broken / "manifest.toml").write_text("schema = 9", encoding="utf-8")
    head = f'[model]\nuse = "yolox"\ndirectories = ["{broken.parent}", "/only/on/the/device"]\n'
    file.write_text(head + 'labels = ["lorry"]')
    with pytest.raises(ConfigError, match="'lorry' not known to the model"):
        run("check", str(file))


@pytest.mark.parametrize(
    ("head", "why"),
    [
        ('use = "my-own"\ndirectories = ["/only/on/the/device"]', "cannot read /only/on/the/device"),
        ('use = "nosuch"', "use is 'nosuch'; known: "),
        ('use = "{folder}/broken"', "broken/manifest.toml"),
    ],
)
def test_check_says_why_labels_cannot_be_told_and_the_rest_is_good(file: Path, head: str, why: str) -> None:
    (file.parent / "broken").mkdir()
    (file.parent / "broken" / "manifest.toml").write_text("schema = 9", encoding="utf-8")
    file.write_text(f"[model]\n{head.replace('{folder}', str(file.parent))}\n" + CAMERA)
    said = run("check", str(file))
    assert said.startswith(f"{file} is good")
    (line,) = [line for line in said.splitlines() if line.startswith("  labels ")]
    assert line.startswith("  labels   NOT CHECKED: ")
    assert why in line


def test_check_refuses_with_all_mistakes_in_one_error(file: Path) -> None:
    file.write_text("[model]\nthreads = 0\nmin_scor = 1")
    with pytest.raises(ConfigError, match=r"(?s)2 settings(?=.*model\.threads)(?=.*model\.min_scor)") as caught:
        run("check", str(file))
    assert caught.value.exit_code == 78


def test_check_from_the_shell_ends_with_78_one_message_and_no_traceback(tmp_path: Path) -> None:
    file = tmp_path / "garbage.toml"
    file.write_bytes(b"\x00\x01garbage")
    code = "from appliance.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "config", "check", str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 78
    assert done.stdout == ""
    assert str(file) in done.stderr
    assert "Traceback" not in done.stderr


def test_show_gives_a_file_that_means_the_same(file: Path) -> None:
    assert parse_settings(tomllib.loads(run("show", str(file))), "show") == load_settings(file)


def test_show_as_json_has_every_setting_and_says_where_secrets_are(file: Path) -> None:
    shown = json.loads(run("show", str(file), "--json"))
    assert shown["cameras"]["door"]["password"] == {"credential": None, "file": "/etc/edgecam/door"}
    assert shown["tracking"]["lost_after"] == Settings().tracking.lost_after
    assert parse_settings(shown, "show") == load_settings(file)


def test_the_default_file_means_the_defaults() -> None:
    assert parse_settings(tomllib.loads(run("default")), "default") == Settings()


# of two that exclude each other, one at a time
@pytest.mark.parametrize("left_out", [r"#username = .*\n(?=\n# Where the user name is kept)", r"#username_from = .*\n"])
def test_every_setting_stands_in_the_default_file_and_is_good_when_its_mark_is_taken_away(left_out: str) -> None:
    text, times = re.subn(left_out, "", default_toml())
    assert times == 1
    settings = parse_settings(tomllib.loads(re.sub(r"(?m)^#(?=\S)", "", text)), "default")
    assert sorted(camera.kind for camera in settings.cameras.values()) == sorted(settings.cameras)
    assert set(settings.cameras) == {"file", "imx500", "picamera2", "rtsp", "synthetic", "v4l2"}
    assert settings.cameras["file"].zones
    assert settings.cameras["file"].lines
    assert settings.model.min_score is not None

    def keys(values: dict[str, object]) -> set[str]:
        below = {key for value in values.values() if isinstance(value, dict) for key in keys(value)}
        return set(values) | below

    told = set(re.findall(r"(?m)^#?(\w+) =", default_toml()))
    headings = {step for name in re.findall(r"(?m)^#?\[(.+)\]$", default_toml()) for step in name.split(".")}
    undefined = keys(settings.model_dump(mode="json")) - told - headings - {"credential", "file"}
    assert undefined == {"zones", "lines"} - headings


@pytest.mark.parametrize(
    "value", ["", 'a"b\\c\n\t\x00\x7f😀\u2028', True, 0, -3, 1.5, 1e300, [], [[0.5, 1]], {"a b": "c", "d": [1]}]
)
def test_what_is_written_as_toml_reads_back_the_same(value: object) -> None:
    assert tomllib.loads(f"x = {format_value(value)}") == {"x": value}


def test_tables_read_back_the_same_and_what_has_no_value_is_left_out() -> None:
    values = {"a": 1, "t": {"u v": {"x": 1}, "empty": {}, "none": None}, "b": "last"}
    text = "\n".join(format_document(values))
    assert tomllib.loads(text) == {"a": 1, "t": {"u v": {"x": 1}, "empty": {}}, "b": "last"}
    assert "# none is not set" in text
