"""From edgecam-setup.toml to a device that is set up: asked once, carried out however often it is cut."""

from appliance.provisioning.apply import OnStep, Provisioner
from appliance.provisioning.asked import Setup
from appliance.provisioning.plan import Outcome
from appliance.provisioning.reading import Asked, check_setup, read_setup
from appliance.provisioning.report import Report
from appliance.provisioning.steps import STEPS
from appliance.provisioning.system import LocalSystem, Places, System

__all__ = [
    "STEPS",
    "Asked",
    "LocalSystem",
    "OnStep",
    "Outcome",
    "Places",
    "Provisioner",
    "Report",
    "Setup",
    "System",
    "check_setup",
    "read_setup",
]
