"""The names of all topics below ``edgecam/<device>/``."""

from typing import Final

AVAILABILITY: Final = "availability"
INFO: Final = "info"
HEALTH: Final = "health"
GAP: Final = "gap"
MODEL: Final = "model"
MODEL_EVENTS: Final = "model/events"
AUDIT: Final = "audit"
CMD: Final = "cmd"
ACK: Final = "ack"
DOCTOR: Final = "doctor"  # where `edgecam doctor` tries whether it may publish: without a payload, never retained


def root(device: str) -> str:
    """Give what every topic of a device begins with, without the slash at the end."""
    return f"edgecam/{device}"


def is_foreign(topic: str) -> bool:
    """Tell whether a message's topic is another system's: it begins with a slash, and stands for itself."""
    return topic.startswith("/")


def full(device: str, topic: str) -> str:
    """Give the topic on the broker for a topic below the device's root."""
    return f"{root(device)}/{topic}"


def events(camera: str) -> str:
    """What happened in view of a camera: QoS 1, durable."""
    return f"{camera}/events"


def detections(camera: str) -> str:
    """What a camera's frames show, thinned."""
    return f"{camera}/detections"


def status(camera: str) -> str:
    """Whether a camera gives frames, and why not: retained."""
    return f"{camera}/status"


def counts(camera: str) -> str:
    """How many objects are in view, per label and zone: retained."""
    return f"{camera}/counts"


def changes(camera: str) -> str:
    """What a camera's picture shows as a whole has become another: QoS 1, durable."""
    return f"{camera}/changes"


def classification(camera: str) -> str:
    """What a camera's picture shows as a whole: retained."""
    return f"{camera}/classification"


def segmentation(camera: str) -> str:
    """How much of a camera's picture, and of its zones, the labels cover: retained."""
    return f"{camera}/segmentation"


def masks(camera: str) -> str:
    """Which pixels of a camera's frames the labels cover, thinned; where the owner asks for it."""
    return f"{camera}/masks"


def snapshot(camera: str) -> str:
    """A picture of a camera, as a JPEG, when somebody commanded one."""
    return f"{camera}/snapshot"


def settings(camera: str) -> str:
    """What commands can change of a camera, as it is now: retained."""
    return f"{camera}/settings"


def result(name: str, identity: str) -> str:
    """What became of a command, where its sender named no other topic."""
    return f"{CMD}/{name}/{identity}/result"


def matches(pattern: str, topic: str) -> bool:
    """Tell whether a whole topic fits a pattern with or without wildcards (MQTT 5, section 4.7)."""
    wanted, levels = pattern.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in {"+", "#"}:
        return False
    for number, level in enumerate(wanted):
        if level == "#":
            return True
        if number >= len(levels) or level not in ("+", levels[number]):
            return False
    return len(wanted) == len(levels)
