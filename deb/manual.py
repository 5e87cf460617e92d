"""The manual page edgecam(1), made from the commands' own help: ``python deb/manual.py DATE``."""

import re
import sys
from collections.abc import Iterator
from importlib import import_module

import click

from appliance import __version__
from appliance.cli.main import COMMANDS

HEAD = r""".TH EDGECAM 1 "{date}" "edgecam {version}" "User Commands"
.SH NAME
edgecam \- look inside the camera appliance, and operate it
.SH SYNOPSIS
.B edgecam
.I COMMAND
.RI [ OPTION "]... [" ARGUMENT ]...
.SH DESCRIPTION
Edgecam watches cameras with a detector and tells over MQTT what it sees. The daemon is
.BR edgecam.service ;
this command asks it, and does what needs no daemon.
.SH COMMANDS"""

TAIL = r""".SH EXIT STATUS
0 all is well, 1 degraded, 2 a mistake on the command line, 3 failed, 65 a model is broken, 69 something is not there,
70 this machine cannot do it, 74 the disk, 78 the configuration is not accepted.
.SH FILES
.TP
.I /etc/edgecam/edgecam.toml
The configuration.
.TP
.I /etc/credstore/edgecam.broker-password
The broker's password, for root alone.
.TP
.I /var/lib/edgecam/
The outbox and other state; failures.jsonl says why the daemon failed.
.TP
.I /usr/lib/edgecam/dropins/
Changes of the unit for kinds of devices, to be copied to /etc/systemd/system/edgecam.service.d/.
.SH SEE ALSO
.BR systemctl (1),
.BR journalctl (1),
.I /usr/share/doc/edgecam/OPERATING.md"""


def escaped(text: str) -> str:
    """Give text as roff shows it."""
    return re.sub(r"(?m)^([.'])", r"\\&\1", text.replace("\\", r"\e").replace("-", r"\-"))


def described(name: str, command: click.Command) -> Iterator[str]:
    """Give a command's lines, and those of the commands within it."""
    if isinstance(command, click.Group):
        for inner in sorted(command.commands):
            yield from described(f"{name} {inner}", command.commands[inner])
        return
    context = click.Context(command, info_name=name)
    usage = " ".join(command.collect_usage_pieces(context))
    yield rf".SS {escaped(f'edgecam {name} {usage}'.strip())}"
    yield from (escaped(line.strip()) for line in (command.help or "").replace("\b", "").splitlines())
    for parameter in command.params:
        if (record := parameter.get_help_record(context)) is not None:
            yield from (".TP", rf".B {escaped(record[0])}", escaped(record[1]))


def page(date: str) -> str:
    """Give the manual page."""
    lines = [HEAD.format(date=date, version=__version__)]
    for name, (place, _) in COMMANDS.items():
        module, _, attribute = place.partition(":")
        lines += described(name, getattr(import_module(module), attribute))
    return "\n".join([*(line or ".PP" for line in lines), TAIL, ""])


if __name__ == "__main__":
    sys.stdout.write(page(sys.argv[1]))
