"""The process that speaks to the fleet: ``python -m appliance.updates.errand``, an order on standard input.

It writes lines of JSON, `orders.Line`, and ends; also when the process that started it does. The libraries for TUF and
TLS are loaded here and nowhere else.
"""

import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter, ValidationError

from appliance.core.errors import ConfigError, EdgecamError, ModelError, StorageError
from appliance.updates.orders import MOST_ORDER, BringOrder, CheckOrder, Failure, Line, Progress
from appliance.updates.refusals import RefusedError, UnreachedError

if TYPE_CHECKING:
    from collections.abc import Sequence

_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>
_STEP: Final = 1 << 20  # bytes between two lines of progress


def main(arguments: "Sequence[str]") -> int:
    """Do what is asked by the parent whose process id is the argument; give an exit status."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(arguments[0]):
        return 0  # the parent had gone before the kernel was told
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it goes to all processes of a terminal; the parent ends us
    try:
        order: CheckOrder | BringOrder = TypeAdapter(CheckOrder | BringOrder).validate_json(
            sys.stdin.buffer.read(MOST_ORDER + 1)
        )
    except ValidationError as error:
        sys.stderr.write(f"no order that is known: {error.errors(include_url=False)[0]['msg']}\n")
        return ConfigError.exit_code
    try:
        line = _do(order)
    except EdgecamError as error:
        line = Line(failure=_failure(error))
    _write(line)
    return 0


def _do(order: CheckOrder | BringOrder) -> Line:
    if isinstance(order, CheckOrder):
        from appliance.updates.checking import check  # noqa: PLC0415 - TUF only for those who check

        return Line(checked=check(order))
    from appliance.updates.bringing import bring  # noqa: PLC0415

    told = -_STEP

    def tell(done: int, whole: int) -> None:
        nonlocal told
        if done - told >= _STEP or done == whole:
            told = done
            _write(Line(progress=Progress(done=done, whole=whole)))

    return Line(brought=bring(order, tell))


def _failure(error: EdgecamError) -> Failure:
    why = str(error)[:4000]
    if isinstance(error, RefusedError):
        return Failure(kind="refused", code=error.code, why=error.why[:4000])
    if isinstance(error, ConfigError):
        return Failure(kind="config", why=why)
    if isinstance(error, StorageError | ModelError):
        return Failure(kind="storage", why=why)
    if isinstance(error, UnreachedError):
        return Failure(kind="unavailable", code=error.code, why=error.why[:4000], retry_after=error.retry_after)
    return Failure(kind="unavailable", why=why)


def _write(line: Line) -> None:
    sys.stdout.write(line.model_dump_json(by_alias=True, exclude_none=True) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
