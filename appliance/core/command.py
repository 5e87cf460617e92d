"""Runs a command line: errors become one message and the exit status that sysexits.h gives them."""

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import GetPassWarning
from types import FrameType

import click

from appliance.core.errors import ConfigError, EdgecamError

INTERRUPTED = 130  # what a shell gives a command that Ctrl-C ended
DEFECT = 70  # EX_SOFTWARE


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
    except Exception as error:  # a defect of ours: the operator gets a line, not a page; the page is one variable away
        if os.environ.get("EDGECAM_DEBUG"):
            raise
        click.echo(f"{name}: a defect: {type(error).__name__}: {error}; run again with EDGECAM_DEBUG=1", err=True)
        sys.exit(DEFECT)
    sys.exit(status if isinstance(status, int) else 0)


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
