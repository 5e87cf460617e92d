"""The system's programs, with answers that a test gives them; first on PATH."""

import os
import shlex
from pathlib import Path

import pytest


def put_program(
    monkeypatch: pytest.MonkeyPatch, directory: Path, name: str, answer: str, *, complaint: str = "", status: int = 0
) -> Path:
    """Have a program answer so, whatever it is asked; give the file to which it adds its arguments, a line a call.

    Args:
        monkeypatch: Undoes it.
        directory: Where the program is put.
        name: ``systemctl``.
        answer: To standard output.
        complaint: To standard error.
        status: Its exit status.
    """
    said, asked, programs = directory / f"{name}.said", directory / f"{name}.asked", directory / "programs"
    said.write_text(answer)
    programs.mkdir(exist_ok=True)
    lines = ["#!/bin/sh", f'echo "$@" >>{shlex.quote(str(asked))}', f"cat {shlex.quote(str(said))}"]
    lines += [f"echo {shlex.quote(complaint)} >&2"] if complaint else []
    program = programs / name
    program.write_text("\n".join([*lines, f"exit {status}", ""]))
    program.chmod(0o755)
    if not os.environ["PATH"].startswith(f"{programs}:"):
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return asked
