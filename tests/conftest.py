"""What holds for all tests."""

import math
import os
import re
import signal
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# what a script tells that runs it, and cases of a contract that this implementation has none of
NOT_TOLD = re.compile("make test-|^does not apply: ")
REASON_CHARACTERS = 80

# OpenCV asks once in a process how much FFmpeg may print: at the first capture or writer, whoever opens it. The daemon
# opens none but through `cameras.capture`, which asks for silence; tests also write clips of their own.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

# A suite that is started in the background ignores SIGINT, and would hand that on to all programs that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How quickly examples are made and tried is a matter of the machine and of what else it does.
settings.register_profile("edgecam", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("edgecam")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Give one process more than there are processors: half of the suite waits for daemons and brokers.

    At the most nine: then the longest file takes as long as all others.
    """
    return min(len(os.sched_getaffinity(0)), quota(), 8) + 1


def quota() -> int:
    """Give how many processors a container may use of those that it sees; as many as you like where nobody said."""
    try:
        most, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except OSError:
        return sys.maxsize
    return sys.maxsize if most == "max" else math.ceil(int(most) / int(period))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell CI what this machine could not run: a line in the file SKIPPED, as its scripts do."""
    if hasattr(config, "workerinput"):  # the controller of such a process has its reports, too
        return
    reasons = [_reason(report) for report in terminalreporter.stats.get("skipped", ())]
    told = [reason for reason in reasons if not NOT_TOLD.search(reason)]
    if told and (listed := os.environ.get("SKIPPED")):
        distinct = sorted({textwrap.shorten(reason, REASON_CHARACTERS, placeholder=" …") for reason in told})
        with Path(listed).open("a", encoding="utf-8") as file:
            file.write(f"{' '.join(config.args)}: {len(told)} skipped: {'; '.join(distinct)}\n")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    said = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return said.removeprefix("Skipped: ")
