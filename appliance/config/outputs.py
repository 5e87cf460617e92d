"""The settings of what is published for other systems, in their own formats."""

from appliance.config.declare import Section, setting

_TOPIC = r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$"
_TOPIC_WORDS = "levels of letters, digits, - and _, with / between them"


class HomeAssistantSettings(Section):
    """Discovery by Home Assistant: the device and its entities appear there by themselves."""

    enabled: bool = setting(False, "Publish what Home Assistant finds the device by; off: take it away again.")
    prefix: str = setting(
        "homeassistant",
        "Home Assistant's discovery prefix.",
        accepts=_TOPIC_WORDS,
        pattern=_TOPIC,
        max_length=64,
    )
    birth_topic: str = setting(
        "homeassistant/status",
        "Where Home Assistant says `online` when it starts; everything is sent again then.",
        accepts=_TOPIC_WORDS,
        pattern=_TOPIC,
        max_length=128,
    )


class FrigateSettings(Section):
    """Events as Frigate publishes them, for automations that were written for it. Not durable."""

    enabled: bool = setting(False, "Publish them, below `prefix`/events.")
    prefix: str = setting("frigate", "Frigate's topic_prefix.", accepts=_TOPIC_WORDS, pattern=_TOPIC, max_length=64)


class OnvifSettings(Section):
    """What detectors see as ONVIF metadata in JSON (onvif-mj), for video management systems. Not durable."""

    enabled: bool = setting(False, "Publish it, below `prefix`/onvif-mj/VideoAnalytics.")
    prefix: str | None = setting(
        None,
        "ONVIF's TopicPrefix; none: the device's id.",
        accepts=_TOPIC_WORDS,
        example="site-1/gate-1",
        pattern=_TOPIC,
        max_length=64,
    )
