"""edgecam-workbench audit: did everything that devices numbered arrive, and what exactly is missing."""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

import click

from appliance.core.command import NumberRange
from appliance.core.errors import ConfigError, StorageError, UnavailableError
from appliance.workbench.accounts import Account, Accounts, Run, count
from appliance.workbench.broker_options import messaging_settings, noted_interrupts, with_account
from appliance.workbench.table import markdown

if TYPE_CHECKING:
    from appliance.config import MessagingSettings
    from appliance.workbench.listening import Listening

MISSING: Final = 65  # EX_DATAERR of sysexits.h
AWAITED: Final = 75  # EX_TEMPFAIL
MOST_LINE_BYTES: Final = 1 << 20  # of a file; a device's largest message has 128 KiB
MOST_SHOWN: Final = 20  # ranges for people; --json tells all
LOOK_INTERVAL: Final = 0.5  # seconds between two lines of the counter


@click.command()
@click.argument("file", required=False, metavar="[FILE]", type=click.Path(allow_dash=True, path_type=Path))
@click.option("--broker", default="mqtt://127.0.0.1:1883", show_default=True, help="Where to listen without FILE.")
@with_account
@click.option("--device", default="+", help="Only this one; else all below edgecam/.")
@click.option("--seconds", type=NumberRange(0.1), help="Listen so long; else until Ctrl-C.")
@click.option("--name", help="Client id, kept by the broker for a day: the next audit of this name goes on.")
@click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Add what comes to this file before it is acknowledged, and begin with what is in it.",
)
@click.option(
    "--ordered",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write every message once, in the order of its numbers; they are kept in memory until then.",
)
@click.option(
    "--acknowledge", is_flag=True, help='Tell devices with ack = "end-to-end" what is on disk here; needs --save.'
)
@click.option("--replay", is_flag=True, help="Command devices to send again what is missing, while they keep it.")
@click.option("--whole", is_flag=True, help="Expect all numbers from 1, not from the first that comes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def audit(
    context: click.Context,
    *,
    file: Path | None,
    broker: str,
    username: str | None,
    password_file: Path | None,
    ca_file: Path | None,
    device: str,
    seconds: float | None,
    name: str | None,
    save: Path | None,
    ordered: Path | None,
    acknowledge: bool,
    replay: bool,
    whole: bool,
    as_json: bool,
) -> None:
    """Account for every numbered message of every device: listen to a broker, or read FILE (- is standard input).

    A line of FILE is a payload, or topic and payload as `mosquitto_sub -v` prints them, or an object with `topic` and
    `payload`, which --save writes.

    Exit status: 0 complete; 65 numbers are missing; 75 none is, but the device has given out more than came yet; 69
    nothing numbered came, or there is no broker.
    """
    books = _Books(ordered)
    facts: dict[str, Any] = {}
    if file is not None:
        _read(file, books)
    else:
        if acknowledge and save is None:
            raise click.UsageError("--acknowledge says that messages are safe here: give a file with --save")
        settings = messaging_settings(broker, username, password_file, ca_file)
        facts = _listen(settings, books, _Wish(device, seconds, name, save, acknowledge, replay, whole))
    books.write()
    found = [_told(account, is_whole=whole) for account in books.accounts]
    if not books.accounts.messages and not any(one["awaited"] for one in found):
        raise UnavailableError(_nothing(books.accounts, file))
    status = _status(found)
    if as_json:
        totals = {"messages": books.accounts.messages, "unreadable": books.accounts.unreadable}
        click.echo(json.dumps({"complete": status == 0, **totals, **facts, "accounts": found}))
    else:
        _show(found, books.accounts.unreadable, facts)
    context.exit(status)


class _Books:
    """The accounts, and the messages themselves where they are to be written in order."""

    def __init__(self, ordered: Path | None) -> None:
        self.accounts = Accounts()
        self._ordered = ordered
        self._kept: dict[tuple[str, str], dict[int, bytes]] = {}

    def take(self, topic: str, payload: bytes) -> None:
        new = self.accounts.take(topic, payload)
        if new is not None and self._ordered is not None:
            device, gen, seq = new
            self._kept.setdefault((device, gen), {})[seq] = payload

    def write(self) -> None:
        if self._ordered is None:
            return
        try:
            with self._ordered.open("wb") as out:
                for by_number in self._kept.values():
                    out.writelines(by_number[seq].replace(b"\n", b" ") + b"\n" for seq in sorted(by_number))
        except OSError as error:
            raise StorageError(f"--ordered {self._ordered} cannot be written: {error.strerror}") from error


def _read(file: Path, books: _Books) -> None:
    """Take in a file of messages."""
    from appliance.workbench.progress import with_progress

    with ExitStack() as stack:
        try:
            source: IO[bytes] = sys.stdin.buffer if str(file) == "-" else stack.enter_context(file.open("rb"))
        except OSError as error:
            raise ConfigError(f"cannot read {file}: {error.strerror}") from error
        for line in with_progress(_lines(source), "Reading"):
            books.take(*_parsed(line))


def _lines(source: IO[bytes]) -> Iterator[bytes]:
    while line := source.readline(MOST_LINE_BYTES):
        if line.strip():
            yield line.strip()


def _parsed(line: bytes) -> tuple[str, bytes]:
    """Give topic and payload of a line; the topic is empty where the line has none."""
    if not line.startswith(b"{"):
        topic, _, payload = line.partition(b" ")
        return topic.decode(errors="replace"), payload
    if b'"payload"' in line:
        with suppress(ValueError, RecursionError):
            content = json.loads(line)
            if isinstance(content.get("topic"), str) and "payload" in content:
                payload = content["payload"]
                text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
                return content["topic"], text.encode(errors="replace")
    return "", line


@dataclass(frozen=True, slots=True)
class _Wish:
    device: str
    seconds: float | None
    name: str | None
    save: Path | None
    is_acknowledging: bool
    is_asking: bool
    is_whole: bool


def _listen(settings: "MessagingSettings", books: _Books, wish: _Wish) -> dict[str, Any]:
    """Take in what comes off a broker until the time is over or Ctrl-C; give what is to be known of the connection."""
    from appliance.workbench.arrival import ArrivalNotes, ReplayWishes
    from appliance.workbench.listening import Listening

    if wish.save is not None and wish.save.exists():
        _read(wish.save, books)
    begin = time.monotonic()
    with ExitStack() as stack:
        saved = None if wish.save is None else _Saved(wish.save, stack)
        own = f"edgecam-audit-{socket.gethostname()}-{os.getpid()}"
        listening = Listening(
            settings,
            name=wish.name or own,
            topics=f"edgecam/{wish.device}/#",
            take=books.take if saved is None else lambda topic, payload: books.take(*saved.save(topic, payload)),
        )
        stack.enter_context(listening)
        counter = stack.enter_context(_Counter(books.accounts, listening))
        wishes = ReplayWishes(books.accounts, listening.say)
        notes = ArrivalNotes(books.accounts, saved.settle if saved else lambda: None, listening.say)

        is_interrupted = stack.enter_context(noted_interrupts())

        def is_over() -> bool:
            counter.look()
            if wish.is_acknowledging:
                notes.look()
            if wish.is_asking:
                wishes.look(is_whole=wish.is_whole)
            return is_interrupted() or (wish.seconds is not None and time.monotonic() - begin > wish.seconds)

        listening.listen(is_over)
        if wish.name is None:
            listening.forget()
    return {
        "seconds": round(time.monotonic() - begin, 1),
        "reconnects": listening.reconnects,
        "forgotten": listening.forgotten,
        "asked": wishes.asked,
    }


class _Saved:
    """A file that each message is written to before it is taken in, and so before it is acknowledged."""

    def __init__(self, file: Path, stack: ExitStack) -> None:
        self._file = file
        try:
            self._out = stack.enter_context(file.open("ab", buffering=0))
        except OSError as error:
            raise self._explained(error) from error

    def save(self, topic: str, payload: bytes) -> tuple[str, bytes]:
        """Write a message; give it back."""
        line = json.dumps({"topic": topic, "payload": payload.decode(errors="replace")}, ensure_ascii=False)
        try:
            self._out.write(line.encode() + b"\n")
        except OSError as error:
            raise self._explained(error) from error
        return topic, payload

    def settle(self) -> None:
        """Wait until the disk has it all."""
        try:
            os.fsync(self._out.fileno())
        except OSError as error:
            raise self._explained(error) from error

    def _explained(self, error: OSError) -> StorageError:
        return StorageError(f"--save {self._file} cannot be written: {error.strerror}")


class _Counter:
    """A line on standard error that tells how it goes, when a person looks at it."""

    def __init__(self, accounts: Accounts, listening: "Listening") -> None:
        self._accounts, self._listening = accounts, listening
        self._is_watched = sys.stderr.isatty()
        self._look_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._is_watched:
            click.echo("\r\033[K", nl=False, err=True)

    def look(self) -> None:
        """Show the figures of now, twice a second."""
        if self._is_watched and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_INTERVAL
            again = sum(account.again for account in self._accounts)
            missing = sum(count(account.missing()) for account in self._accounts)
            trouble = f"; {self._listening.trouble}" if self._listening.trouble else ""
            told = f"{self._accounts.messages} messages, {again} of them again, {missing} numbers missing{trouble}"
            click.echo(f"\r\033[K{told[:110]}; Ctrl-C ends", nl=False, err=True)


def _told(account: Account, *, is_whole: bool) -> dict[str, Any]:
    missing, awaited = account.missing(is_whole=is_whole), account.awaited(is_whole=is_whole)
    return {
        "device": account.device,
        "gen": account.gen,
        "first": account.came.first if account.came else None,
        "last": account.came.last if account.came else None,
        "came": count(list(account.came)),
        "again": account.again,
        "overtaken": account.overtaken,
        "given_up": account.reasons,
        "ends": account.ends,
        "uncounted_s": round(account.uncounted_s, 3),
        "missing": missing,
        "missing_count": count(missing),
        "awaited": awaited,
    }


def _status(found: list[dict[str, Any]]) -> int:
    if any(one["missing"] for one in found):
        return MISSING
    return AWAITED if any(one["awaited"] for one in found) else 0


def _nothing(accounts: Accounts, file: Path | None) -> str:
    unreadable = f" ({accounts.unreadable} messages were not as documented)" if accounts.unreadable else ""
    where = f"in {file}" if file is not None else "from the broker"
    return f"nothing numbered came {where}{unreadable}; only durable messages are: events, changes, gap"


def _show(found: list[dict[str, Any]], unreadable: int, facts: dict[str, Any]) -> None:
    columns = ("device", "generation", "first", "last", "came", "again", "given up", "missing", "awaited")
    rows = [
        (
            one["device"],
            one["gen"],
            str(one["first"] or "-"),
            str(one["last"] or "-"),
            str(one["came"]),
            str(one["again"]),
            str(sum(one["given_up"].values())),
            str(one["missing_count"]),
            str(count(one["awaited"])),
        )
        for one in found
    ]
    click.echo(markdown(columns, rows) + "\n")
    if unreadable:
        click.echo(f"{unreadable} messages were not as documented and are not counted")
    if facts.get("forgotten"):
        click.echo(f"the broker forgot this subscriber {facts['forgotten']} times: let it keep its sessions")
    for one in found:
        given_up = ", ".join(f"{number} {reason}" for reason, number in sorted(one["given_up"].items()))
        verdict = f"missing {_ranges(one['missing'])}" if one["missing"] else "complete"
        verdict += f"; awaited {_ranges(one['awaited'])}" if one["awaited"] else ""
        verdict += f"; given up: {given_up}" if given_up else ""
        click.echo(f"{one['device']} {one['gen']}: {verdict}{_ends(one)}")


def _ends(one: dict[str, Any]) -> str:
    if not one["ends"]:
        return ""
    return f"; ended {one['ends']} times without good order, with up to {one['uncounted_s']:g} s of messages unnumbered"


def _ranges(runs: list[Run]) -> str:
    shown = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs[:MOST_SHOWN])
    return shown + (f" and {len(runs) - MOST_SHOWN} more ranges" if len(runs) > MOST_SHOWN else "")
