"""Processes that work beside the daemon: what becomes of a request that is none, and of one that cannot be met."""

import json
import subprocess
import sys

import pytest

MODEL = {"use": "/nowhere/none.onnx"}
REQUESTS = {
    "appliance.inference.check_child": MODEL,
    "appliance.inference.measuring.renew": {"model": MODEL, "objective": "latency", "state_dir": "/nowhere"},
}


def ask(module: str, request: bytes) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-m", module], input=request, capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("module", REQUESTS)
def test_a_request_that_is_none_is_refused(module: str) -> None:
    assert ask(module, b'{"unknown": 1}')[:2] == (2, "")


@pytest.mark.parametrize("module", REQUESTS)
def test_why_it_cannot_be_done_is_the_last_line_and_the_status_tells_the_kind(module: str) -> None:
    status, told, why = ask(module, json.dumps(REQUESTS[module]).encode())
    assert (status, told) == (78, "")
    assert "/nowhere/none.onnx" in why.splitlines()[-1]
