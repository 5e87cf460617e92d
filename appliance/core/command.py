"""Runs a command line: errors become one message and the exit status that sysexits.h gives them."""

import errno
import math
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import GetPassWarning
from types import FrameType
from typing import Any, NoReturn

import click

from appliance.core.errors import ConfigError, EdgecamError, StorageError

INTERRUPTED = 130  # what a shell gives a command that Ctrl-C ended
DEFECT = 70  # EX_SOFTWARE
_OF_DISKS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG})


def run_command(command: click.Command, name: str) -> None:
    """Run `command`, called `name` in messages, and leave the process with its exit status."""
    try:
        status = command.main(prog_name=name, standalone_mode=False)
    except EdgecamError as error:
        click.echo(f"{name}: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) has seen enough; point the stream away so that Python's own flush stays quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if os.environ.get("EDGECAM_DEBUG"):
            raise
        if error.filename is None and error.errno not in _OF_DISKS:
            _end_as_defect(name, error)
        what = "cannot write" if error.filename is None else f"cannot use {error.filename}"
        click.echo(f"{name}: {what}: {error.strerror or error}; see to that file, folder or disk", err=True)
        sys.exit(StorageError.exit_code)
    except Exception as error:  # a defect of ours: the operator gets a line, not a page; the page is one variable away
        if os.environ.get("EDGECAM_DEBUG"):
            raise
        _end_as_defect(name, error)
    sys.exit(status if isinstance(status, int) else 0)


def _end_as_defect(name: str, error: Exception) -> NoReturn:
    click.echo(f"{name}: a defect: {type(error).__name__}: {error}; run again with EDGECAM_DEBUG=1", err=True)
    sys.exit(DEFECT)


class NumberRange(click.FloatRange):
    """A range of numbers as an option's type; what is no number (``nan``) lies in none, though click says otherwise."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Give the number; see `click.ParamType.convert`."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


@contextmanager
def answered(what: str, otherwise: str) -> Iterator[None]:
    """Let questions be asked within; where nobody is there to answer, that is an error with a way round it.

    Args:
        what: Is asked for.
        otherwise: How it is given where nobody can be asked.

    Raises:
        ConfigError: Standard input has ended, or a secret is asked for and there is no terminal that would hide it.
    """
    why = f"{what} is asked for, and nobody is there to answer; {otherwise}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", GetPassWarning)  # it would read on, and show what is typed
            yield
    except (EOFError, GetPassWarning) as error:
        raise ConfigError(why) from error
    except click.Abort as error:
        if isinstance(error.__context__, EOFError):  # else somebody was there, and said no or Ctrl-C
            raise ConfigError(why) from error
        raise


@contextmanager
def left_in_order() -> Iterator[None]:
    """Have SIGTERM, and SIGHUP of a terminal that was closed, unwind what runs within, so that its files go with it.

    To be used in the main thread. What is ignored, as by nohup, stays ignored.
    """
    numbers = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, _leave)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _leave(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
