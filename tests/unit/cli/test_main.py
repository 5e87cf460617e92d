import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli.main import COMMANDS, edgecam

HEAVY = {"numpy", "cv2", "onnxruntime", "paho", "pydantic", "rich", "sqlite3"}


def loaded_after(code: str) -> set[str]:
    """Give the top-level modules that are loaded once `code` has run in a fresh interpreter."""
    report = "import sys, json; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from appliance.cli.main import main; main()", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **environment}
    )


def test_the_list_of_commands_loads_none_of_them() -> None:
    loaded = loaded_after(
        "from click.testing import CliRunner; from appliance.cli.main import edgecam\n"
        "assert CliRunner().invoke(edgecam, ['--help']).exit_code == 0"
    )
    assert not loaded & HEAVY


def test_every_command_is_listed_and_explains_itself() -> None:
    listed = CliRunner().invoke(edgecam, ["--help"]).output
    for name, (_, line) in COMMANDS.items():
        assert name in listed
        assert line in listed
        if name != "run":  # becomes another process
            assert CliRunner().invoke(edgecam, [name, "--help"]).exit_code == 0


def test_run_becomes_the_daemon_whose_options_it_shows() -> None:
    done = run("run", "--help")
    assert done.returncode == 0
    assert "--state-dir" in done.stdout


def test_an_error_is_one_message_with_its_exit_status_and_no_traceback(tmp_path: Path) -> None:
    done = run("status", "--socket", str(tmp_path / "none.sock"))
    assert done.returncode == 69
    assert "Traceback" not in done.stderr
    assert "is it running?" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_unknown_command_is_a_usage_error() -> None:
    done = run("flash")
    assert done.returncode == 2
    assert "No such command" in done.stderr


@pytest.mark.parametrize("arguments", [("camera", "list", "--json"), ("model", "list", "--json")])
def test_lists_are_json_for_scripts(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), list)


def test_the_device_loads_no_workstation_library() -> None:
    loaded = loaded_after("import appliance.daemon.app, appliance.inference.runtimes.onnx")
    assert {"numpy", "cv2", "onnxruntime", "paho"} <= loaded
    assert not loaded & {"scipy", "torch", "onnx", "matplotlib", "click", "rich", "supervision"}
