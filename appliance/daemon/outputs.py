"""What is published for other systems, as the configuration asks for it: for the composition root."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance import __version__
from appliance.config import Settings
from appliance.core.health import HealthBoard
from appliance.core.machine import hardware_name
from appliance.core.manifest import ModelManifest
from appliance.core.message import Message
from appliance.core.worker import Worker
from appliance.messaging.worker import Messaging

if TYPE_CHECKING:
    from appliance.messaging.homeassistant.announcer import Announcer
    from appliance.messaging.relay import Output

HOME_ASSISTANT = "homeassistant.json"  # of `messaging.homeassistant.memory`, which need not be loaded to look for it


@dataclass(frozen=True, slots=True)
class Outputs:
    """The way of messages out, and who goes along.

    Attributes:
        publish: Takes a message; never blocks.
        workers: What runs beside.
    """

    publish: Callable[[Message], None]
    workers: tuple[Worker, ...] = ()


def build_outputs(
    settings: Settings,
    manifests: Mapping[str, ModelManifest],
    *,
    messaging: Messaging,
    board: HealthBoard,
    can_restart: bool,
) -> Outputs:
    """Build what `[messaging]` asks for; where it asks for nothing, nothing is loaded and messages go straight out.

    Args:
        settings: The whole configuration.
        manifests: Of the model of each camera that is in use.
        messaging: Where messages go.
        board: Health board.
        can_restart: Somebody starts the daemon again when it ends for that.
    """
    wanted = settings.messaging
    outputs: list[Output] = []
    workers: list[Worker] = []
    if wanted.broker == "none":
        return Outputs(messaging.publish)
    if wanted.homeassistant.enabled:
        announcer = _announcer(settings, manifests, messaging, board, can_restart=can_restart)
        messaging.subscribe(wanted.homeassistant.birth_topic, announcer.inbox)
        outputs.append(announcer)
        workers.append(announcer)
    elif os.access(settings.device.state_dir / HOME_ASSISTANT, os.F_OK):
        from appliance.messaging.homeassistant.announcer import Withdrawal  # noqa: PLC0415 - once, after it was on

        workers.append(
            Withdrawal(
                state_dir=settings.device.state_dir,
                publish=messaging.publish,
                is_connected=lambda: bool(messaging.figures()["connected"]),
            )
        )
    if wanted.frigate.enabled:
        from appliance.messaging.frigate import FrigateEvents  # noqa: PLC0415 - only where it is asked for

        outputs.append(FrigateEvents(wanted.frigate.prefix))
    if wanted.onvif.enabled:
        from appliance.messaging.onvif import OnvifMetadata  # noqa: PLC0415 - likewise

        outputs.append(OnvifMetadata(wanted.onvif.prefix or settings.device.resolved_id()))
    if not outputs:
        return Outputs(messaging.publish, tuple(workers))
    from appliance.messaging.relay import Relay  # noqa: PLC0415 - likewise

    return Outputs(Relay(messaging.publish, outputs).publish, tuple(workers))


def _announcer(
    settings: Settings,
    manifests: Mapping[str, ModelManifest],
    messaging: Messaging,
    board: HealthBoard,
    *,
    can_restart: bool,
) -> "Announcer":
    from appliance.messaging.homeassistant.announcer import Announcer  # noqa: PLC0415 - only where it is asked for
    from appliance.messaging.homeassistant.discovery import DeviceFacts  # noqa: PLC0415 - likewise
    from appliance.messaging.homeassistant.subjects import CameraFacts  # noqa: PLC0415 - likewise

    cameras = [
        CameraFacts(
            name=name,
            task=manifest.task,
            zones={zone: given.labels for zone, given in settings.cameras[name].zones.items()},
            labels=settings.model.labels,
            groups=frozenset(manifest.vocabulary.groups),
            least_score=None if manifest.task == "segment" else settings.tracking.least_score,
        )
        for name, manifest in manifests.items()
    ]
    facts = DeviceFacts(
        device=settings.device.resolved_id(),
        hardware=hardware_name(),
        app=__version__,
        cameras=cameras,
        health_interval=settings.messaging.health_interval,
        has_commands=settings.messaging.commands,
        has_pictures=settings.messaging.pictures,
        can_restart=can_restart,
        has_fleet=bool(settings.fleet.url),
    )
    return Announcer(
        facts=facts,
        prefix=settings.messaging.homeassistant.prefix,
        state_dir=settings.device.state_dir,
        publish=messaging.publish,
        board=board,
    )
