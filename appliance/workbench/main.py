"""The command `edgecam-workbench`: its list of commands, and errors turned into one message and an exit status."""

import sys

import click

from appliance import __version__
from appliance.core.errors import EdgecamError
from appliance.workbench.compare import compare
from appliance.workbench.evaluate import evaluate
from appliance.workbench.quantize import quantize


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="edgecam-workbench")
def workbench() -> None:
    """Measure and quantize models on a workstation, with the device's own code."""


for command in (evaluate, compare, quantize):
    workbench.add_command(command)


def main() -> None:
    """Run a command; an error becomes one message on standard error and the exit status that sysexits.h gives it."""
    try:
        status = workbench.main(standalone_mode=False)
    except EdgecamError as error:
        click.echo(f"edgecam-workbench: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)
