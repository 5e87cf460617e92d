import sys
import threading

import pytest

from appliance.config import ModelSettings
from appliance.core.errors import ModelError, UnavailableError
from appliance.daemon.model_check import check_model

SETTINGS = ModelSettings(use="yolox")
ANSWERS = "import json, sys; print(json.dumps({'got': json.load(sys.stdin)['use'], 'is_passed': True}))"
REFUSES = "import sys; sys.stderr.write('one line\\nits digest is another\\n\\n'); sys.exit(65)"
HANGS = "import time; time.sleep(60)"


def check(script: str, stop: threading.Event | None = None, free: float | None = 1000.0) -> object:
    command = (sys.executable, "-c", script)
    return check_model(SETTINGS, stop or threading.Event(), command=command, available=lambda: free)


def test_the_answer_of_the_process_is_given() -> None:
    assert check(ANSWERS) == {"got": "yolox", "is_passed": True}


def test_a_model_that_is_not_what_it_should_be_is_named() -> None:
    with pytest.raises(ModelError, match=r"^its digest is another$"):
        check(REFUSES)


def test_an_answer_that_cannot_be_read_is_no_answer() -> None:
    with pytest.raises(ModelError, match="no answer that can be read"):
        check("print('{')")


def test_without_memory_it_is_put_off() -> None:
    with pytest.raises(UnavailableError, match="50 MB of memory are free"):
        check(ANSWERS, free=50.0)


def test_a_daemon_that_ends_does_not_wait_for_it() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(UnavailableError, match="the daemon ends"):
        check(HANGS, stop)


def test_the_real_process_tells_what_is_wrong_with_a_model() -> None:
    settings = ModelSettings(use="/nowhere/model.onnx")
    with pytest.raises(ModelError, match="nowhere"):
        check_model(settings, threading.Event(), available=lambda: None)
