"""The command `edgecam`: its list of commands, each loaded when it is called."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

import click

from appliance import __version__
from appliance.core.command import run_command

COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "run": ("appliance.cli.run:run", "Run the daemon: frames in, accounted MQTT messages out."),
        "status": ("appliance.cli.status:status", "Show the running daemon on one screen: what is wrong, what to do."),
        "doctor": (
            "appliance.cli.doctor:doctor",
            "Look at everything once, from camera to broker, and say what to do.",
        ),
        "events": ("appliance.cli.events:events", "Show what happened in front of the cameras."),
        "logs": ("appliance.cli.logs:logs", "Show what the service wrote to the journal."),
        "report": ("appliance.cli.report:report", "Write a file for those who help, without secrets."),
        "detect": ("appliance.cli.detect:detect", "Run the detector once over pictures, folders or clips."),
        "bench": ("appliance.cli.bench:bench", "Time models on this device, in each way that can run them."),
        "tune": ("appliance.cli.tune:tune", "Measure how a model is best run here, and have the daemon run it so."),
        "camera": ("appliance.cli.camera:camera", "Show the cameras that are attached."),
        "model": ("appliance.cli.model:model", "Show the models that can be used."),
        "setup": ("appliance.cli.setup:setup", "Set this device up: by questions, by a file, or from the card."),
        "config": ("appliance.cli.config:config", "Check, show or print the configuration."),
    }
)
"""Each command's place and its line in the list, which is shown without loading any of them."""


class _Commands(click.Group):
    """Loads a command when it is called, so that the list is there at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="edgecam")
def edgecam() -> None:
    """Turns a camera into an appliance: flash it, subscribe over MQTT, look inside over SSH."""


def main() -> None:
    """Run a command; an error becomes one message on standard error and an exit status that means something."""
    run_command(edgecam, "edgecam")
