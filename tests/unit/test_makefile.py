"""What `make run` hands to the command."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def make(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `make` with the commands of a folder, without CONFIG, BROKER and the like of whoever runs the tests."""
    return subprocess.run(
        ["make", "-s", *arguments, f"BIN={directory}"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def put_command(directory: Path, name: str, end: str) -> None:
    """Put a command there that prints what it is called with, and then ends so."""
    command = directory / name
    command.write_text(f'#!/bin/sh\necho "$@"\n{end}\n')
    command.chmod(0o755)


def arguments_of_make_run(directory: Path, *variables: str) -> str:
    """Run `make run` with a command that prints what it is called with."""
    put_command(directory, "edgecam", "exit 0")
    done = make(directory, "-o", ".venv/.runtime", "run", *variables)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_a_configuration_state_and_broker_stay_in_the_working_tree(tmp_path: Path) -> None:
    assert arguments_of_make_run(tmp_path) == "run --state-dir .state --broker embedded"
    assert arguments_of_make_run(tmp_path, "BROKER=none") == "run --state-dir .state --broker none"


def test_the_conformance_suite_is_fetched_by_whoever_wants_it(tmp_path: Path) -> None:
    done = make(tmp_path, "-o", ".venv/.dev", "conformance", f"TUF_CONFORMANCE={tmp_path}")
    assert done.returncode != 0
    assert "give TUF_CONFORMANCE=FOLDER; see docs/fleet.md" in done.stderr


def test_what_a_configuration_says_of_state_and_broker_counts(tmp_path: Path) -> None:
    assert arguments_of_make_run(tmp_path, "CONFIG=my own.toml") == "run --config my own.toml"
    told = arguments_of_make_run(tmp_path, "CONFIG=a.toml", "STATE_DIR=my state")
    assert told == "run --config a.toml --state-dir my state"


def test_a_broker_that_is_asked_for_counts_more_than_a_configuration(tmp_path: Path) -> None:
    assert (
        arguments_of_make_run(tmp_path, "CONFIG=a.toml", "BROKER=mqtt://b", "ONCE=1")
        == "run --config a.toml --broker mqtt://b --once"
    )


def test_the_proofs_take_model_clip_and_minutes_and_the_second_runs_though_the_first_fails(tmp_path: Path) -> None:
    put_command(tmp_path, "python", '[ "$2" != tests.proof.street ]')
    done = make(tmp_path, "-o", ".venv/.dev", "prove", "MODEL=a b.onnx", "CLIP=c d.mp4", "MINUTES=2")
    assert done.returncode != 0
    assert done.stdout.split("\n\n") == [
        "-m tests.proof.street --model a b.onnx --minutes 2",
        "-m tests.proof.clip --model a b.onnx --clip c d.mp4\n",
    ]


def test_accuracy_is_measured_of_the_folder_that_is_named(tmp_path: Path) -> None:
    put_command(tmp_path, "python", "exit 1")
    done = make(tmp_path, "-o", ".venv/.dev", "accuracy", "DATA=my data", "JSON=1")
    assert done.returncode != 0
    assert done.stdout == "-m tests.proof.accuracy --data my data --json\n"


def test_the_table_of_models_and_the_loop_are_both_timed_though_a_model_is_refused(tmp_path: Path) -> None:
    put_command(tmp_path, "edgecam", "exit 65")
    put_command(tmp_path, "python", "exit 0")
    done = make(tmp_path, "-o", ".venv/.runtime", "bench", "MODELS=my models", "MODEL=a.onnx", "JSON=1")
    assert done.returncode != 0
    assert done.stdout == "bench my models --json\n\ntests/bench/loop.py --model a.onnx --json\n"
