"""Every topic that a device publishes under or listens at, and what others may rely on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from appliance.messaging import topics
from appliance.messaging.contract import device, models, sights
from appliance.messaging.orders import ORDERS, Field

CAMERA: Final = "{camera}"
"""What stands in an address for a camera's name."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A topic, or one for each camera.

    Attributes:
        name: Of its schema's file and of its message.
        address: Below the device's root.
        body: The type of what stands behind the envelope, or of all of it where the device takes it; None: it has none.
        summary: One line.
        durable: Numbered, and kept on disk until the broker has it.
        retain: The broker keeps the last one.
        qos: Of the message.
        texts: All that a plain text may say.
        media: MIME type of the payload.
        is_taken: The device listens there.
        fields: Of a command; None: of no command.
    """

    name: str
    address: str
    body: type | None
    summary: str
    durable: bool = False
    retain: bool = False
    qos: int = 1
    texts: tuple[str, ...] = ()
    media: str = "application/json"
    is_taken: bool = False
    fields: Mapping[str, Field] | None = None

    @property
    def has_schema(self) -> bool:
        """Whether its payload can be told in a JSON Schema."""
        return self.body is not None or self.fields is not None or bool(self.texts)

    @property
    def is_of_camera(self) -> bool:
        """Whether there is one for each camera."""
        return self.address.startswith(CAMERA)


CHANNELS: Final = (
    Channel(
        name="availability",
        address=topics.AVAILABILITY,
        body=None,
        summary="Whether the device is connected. Retained, and the last will.",
        retain=True,
        texts=("online", "offline"),
        media="text/plain",
    ),
    Channel(
        name="info",
        address=topics.INFO,
        body=device.Info,
        summary="What the device is. Retained.",
        retain=True,
    ),
    Channel(
        name="health",
        address=topics.HEALTH,
        body=device.Health,
        summary="How the device does. Retained, every `health_interval`.",
        retain=True,
    ),
    Channel(
        name="gap",
        address=topics.GAP,
        body=device.Gap,
        summary="Numbers of durable messages that will never arrive, and why. Durable.",
        durable=True,
    ),
    Channel(
        name="audit",
        address=topics.AUDIT,
        body=device.Audit,
        summary="A command that was well formed, and what became of it. Durable.",
        durable=True,
    ),
    Channel(
        name="model",
        address=topics.MODEL,
        body=models.Models,
        summary="With a fleet: which releases are here, and how far an update is. Retained.",
        retain=True,
    ),
    Channel(
        name="model-events",
        address=topics.MODEL_EVENTS,
        body=models.Ended,
        summary="With a fleet: what came of an update, and why. Durable.",
        durable=True,
    ),
    Channel(
        name="status",
        address=topics.status(CAMERA),
        body=sights.Status,
        summary="How a camera is. Retained.",
        retain=True,
    ),
    Channel(
        name="settings",
        address=topics.settings(CAMERA),
        body=sights.Settings,
        summary="What commands can change of a camera, as it is now. Retained.",
        retain=True,
    ),
    Channel(
        name="counts",
        address=topics.counts(CAMERA),
        body=sights.Counts,
        summary="How many objects are in view. Retained.",
        retain=True,
    ),
    Channel(
        name="detections",
        address=topics.detections(CAMERA),
        body=sights.Detections,
        summary="What a detector saw in one frame.",
        qos=0,
    ),
    Channel(
        name="events",
        address=topics.events(CAMERA),
        body=sights.Event,
        summary="A moment in the life of an object. Durable.",
        durable=True,
    ),
    Channel(
        name="changes",
        address=topics.changes(CAMERA),
        body=sights.Change,
        summary="A camera's picture as a whole shows something else now. Durable.",
        durable=True,
    ),
    Channel(
        name="classification",
        address=topics.classification(CAMERA),
        body=sights.Classification,
        summary="What a camera's picture shows as a whole. Retained.",
        retain=True,
    ),
    Channel(
        name="segmentation",
        address=topics.segmentation(CAMERA),
        body=sights.Segmentation,
        summary="How much of the picture, and of each zone, the labels cover. Retained.",
        retain=True,
    ),
    Channel(
        name="masks",
        address=topics.masks(CAMERA),
        body=sights.Masks,
        summary="Which pixels of a frame the labels cover, where the owner asks for it.",
        qos=0,
    ),
    Channel(
        name="snapshot",
        address=topics.snapshot(CAMERA),
        body=None,
        summary="A picture of a camera, on command, where the owner allows it.",
        media="image/jpeg",
    ),
    Channel(
        name="result",
        address=topics.result("{command}", "{id}"),
        body=device.Result,
        summary="What became of a command, where its sender named no other topic.",
    ),
    Channel(
        name="ack",
        address=topics.ACK,
        body=device.Ack,
        summary='The word of a subscriber that messages arrived, with `ack = "end-to-end"`: never retained.',
        is_taken=True,
    ),
    *(
        Channel(
            name=f"cmd-{name}",
            address=f"{topics.CMD}/{name}/{{id}}",
            body=None,
            summary=f"The command {name}: never retained, answered at `result`.",
            is_taken=True,
            fields=fields,
        )
        for name, fields in ORDERS.items()
    ),
)
"""In the order in which they are documented."""
