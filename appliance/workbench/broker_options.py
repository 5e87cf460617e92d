"""Options of commands that listen to a broker, and Ctrl-C that ends them between two messages."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from appliance.config import MessagingSettings

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OPTIONS = (
    click.option("--username", help="The account at the broker."),
    click.option("--password-file", type=_FILE, help="Holds its password."),
    click.option("--ca-file", type=_FILE, help="Authority of an mqtts:// broker."),
)


def with_account(command: CommandT) -> CommandT:
    """Give a command the options `username`, `password_file` and `ca_file`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def messaging_settings(
    broker: str, username: str | None, password_file: Path | None, ca_file: Path | None
) -> "MessagingSettings":
    """Give the options as the settings of a connection.

    Raises:
        ConfigError: One is not accepted.
    """
    from appliance.config import parse_settings

    given: dict[str, Any] = {"broker": broker, "username": username}
    if password_file is not None:
        given["password"] = {"file": str(password_file)}
    if ca_file is not None:
        given["tls"] = {"ca_file": str(ca_file)}
    return parse_settings({"messaging": given}, "the options").messaging


@contextmanager
def noted_interrupts() -> Iterator[Callable[[], bool]]:
    """Tell whether Ctrl-C was pressed, so that a message is taken in whole; a second one ends all at once."""
    pressed = threading.Event()

    def note(*_: object) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)
