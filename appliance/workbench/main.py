"""The command `edgecam-workbench`: its list of commands."""

import click

from appliance import __version__
from appliance.core.command import run_command
from appliance.workbench.audit import audit
from appliance.workbench.bundle import bundle
from appliance.workbench.card import card
from appliance.workbench.compare import compare
from appliance.workbench.convert import convert
from appliance.workbench.evaluate import evaluate
from appliance.workbench.flash import flash
from appliance.workbench.fleet import fleet
from appliance.workbench.golden import golden
from appliance.workbench.prune import prune
from appliance.workbench.publish import publish
from appliance.workbench.quantize import quantize
from appliance.workbench.rollout import rollout
from appliance.workbench.schemas import schemas
from appliance.workbench.train import train


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="edgecam-workbench")
def workbench() -> None:
    """Make, convert, measure and publish models on a workstation, audit deliveries, write cards."""


for command in (
    audit,
    bundle,
    card,
    compare,
    convert,
    evaluate,
    flash,
    fleet,
    golden,
    prune,
    publish,
    quantize,
    rollout,
    schemas,
    train,
):
    workbench.add_command(command)


def main() -> None:
    """Run a command; an error becomes one message on standard error and an exit status that means something."""
    run_command(workbench, "edgecam-workbench")
