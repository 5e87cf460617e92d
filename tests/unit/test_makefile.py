"""What `make run` hands to the command."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def arguments_of_make_run(directory: Path, *variables: str) -> str:
    """Run `make run` with a command that prints what it is called with."""
    command = directory / "edgecam"
    command.write_text('#!/bin/sh\necho "$@"\n')
    command.chmod(0o755)
    environment = {"PATH": os.environ["PATH"]}  # no CONFIG or BROKER of whoever runs the tests
    done = subprocess.run(
        ["make", "-s", "-o", ".venv/.runtime", "run", f"BIN={directory}", *variables],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.strip()


def test_without_a_configuration_state_and_broker_stay_in_the_working_tree(tmp_path: Path) -> None:
    assert arguments_of_make_run(tmp_path) == "run --state-dir .state --broker embedded"
    assert arguments_of_make_run(tmp_path, "BROKER=none") == "run --state-dir .state --broker none"


def test_the_conformance_suite_is_fetched_by_whoever_wants_it(tmp_path: Path) -> None:
    command = ["make", "-s", "-o", ".venv/.dev", "conformance", f"BIN={tmp_path}", f"TUF_CONFORMANCE={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
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
    command = tmp_path / "python"
    command.write_text('#!/bin/sh\necho "$@"\n[ "$2" != tests.proof.street ]\n')
    command.chmod(0o755)
    done = subprocess.run(
        ["make", "-s", "-o", ".venv/.dev", "prove", f"BIN={tmp_path}", "MODEL=a b.onnx", "CLIP=c d.mp4", "MINUTES=2"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode != 0
    assert done.stdout.split("\n\n") == [
        "-m tests.proof.street --model a b.onnx --minutes 2",
        "-m tests.proof.clip --model a b.onnx --clip c d.mp4\n",
    ]


def test_accuracy_is_measured_of_the_folder_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "python").write_text('#!/bin/sh\necho "$@"\nexit 1\n')
    (tmp_path / "python").chmod(0o755)
    done = subprocess.run(
        ["make", "-s", "-o", ".venv/.dev", "accuracy", f"BIN={tmp_path}", "DATA=my data", "JSON=1"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode != 0
    assert done.stdout == "-m tests.proof.accuracy --data my data --json\n"


def test_the_table_of_models_and_the_loop_are_both_timed_though_a_model_is_refused(tmp_path: Path) -> None:
    for name, status in (("edgecam", 65), ("python", 0)):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "$@"\nexit {status}\n')
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [
            "make",
            "-s",
            "-o",
            ".venv/.runtime",
            "bench",
            f"BIN={tmp_path}",
            "MODELS=my models",
            "MODEL=a.onnx",
            "JSON=1",
        ],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode != 0
    assert done.stdout == "bench my models --json\n\ntests/bench/loop.py --model a.onnx --json\n"
