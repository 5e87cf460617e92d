"""`edgecam run`: becomes the daemon."""

import os
import signal
import sys

import click


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(arguments: tuple[str, ...]) -> None:
    """Run the daemon: frames in, accounted MQTT messages out.

    The process is replaced, so that nothing of this command stays in the daemon's memory; without docstrings (-OO)
    the daemon needs 3 MB less.
    """
    sys.stdout.flush()
    # until the daemon listens for it, Ctrl-C simply ends the process
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, "-OO", "-m", "appliance.daemon", *arguments])  # noqa: S606 - our own module
