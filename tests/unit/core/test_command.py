"""What a command ends with: an error has a line and a status, a question that nobody answers has a way round it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from appliance.core.command import NumberRange, answered, run_command
from appliance.core.errors import ConfigError


def ask() -> None:
    with answered("whether to go on", "say --yes"):
        click.confirm("Go on?", abort=True)


def test_a_question_that_nobody_answers_is_an_error_with_a_way_round_it() -> None:
    with CliRunner().isolation(input=""), pytest.raises(ConfigError, match="nobody is there to answer; say --yes"):
        ask()


def test_a_no_is_an_answer() -> None:
    with CliRunner().isolation(input="n\n"), pytest.raises(click.Abort):
        ask()
    with CliRunner().isolation(input="y\n"):
        ask()


def ended(callback: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """Give what a command that does this ends with: status and message."""
    with pytest.raises(SystemExit) as left:
        run_command(click.Command("do", callback=callback), "edgecam")
    return left.value.code, capsys.readouterr().err


def test_a_file_or_folder_that_cannot_be_used_is_no_defect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["edgecam"])
    status, told = ended((tmp_path / ("x" * 300)).exists, capsys)
    assert status == 74
    assert told.startswith(f"edgecam: cannot use {tmp_path}")
    assert "File name too long" in told
    status, told = ended(lambda: {}["missing"], capsys)
    assert (status, "a defect: KeyError" in told) == (70, True)


def test_what_standard_output_does_not_take_is_told() -> None:
    code = "from appliance.cli.main import main; main()"
    with Path("/dev/full").open("w", encoding="ascii") as full:
        command = [sys.executable, "-c", code, "config", "default"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == 74
    assert done.stderr.splitlines() == [
        "edgecam: cannot write: No space left on device; see to that file, folder or disk"
    ]


@pytest.mark.parametrize("given", ["nan", "NaN", "-nan"])
def test_what_is_no_number_lies_in_no_range(given: str) -> None:
    command = click.Command("do", params=[click.Option(["--share"], type=NumberRange(0.0, 100.0))])
    assert CliRunner().invoke(command, ["--share=50"]).exit_code == 0
    done = CliRunner().invoke(command, [f"--share={given}"])
    assert (done.exit_code, "is not a number" in done.output) == (2, True)
