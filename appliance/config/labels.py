"""Whether what the configuration names is a label or a group of the model."""

from collections.abc import Mapping

from appliance.config.cameras import Line, Zone
from appliance.config.settings import Settings
from appliance.core.errors import ConfigError
from appliance.core.vocabulary import Vocabulary


def check_places(camera: str, zones: Mapping[str, Zone], lines: Mapping[str, Line], vocabulary: Vocabulary) -> None:
    """See that the zones and lines of a camera name nothing that its model does not know.

    Raises:
        ConfigError: They do: all of it in one message, a line for each zone or line.
    """
    _refuse(_in_places(camera, zones, lines, vocabulary), vocabulary)


def check_labels(settings: Settings, vocabulary: Vocabulary) -> None:
    """See that nothing in a configuration names what the model does not know.

    Raises:
        ConfigError: It does: all of it in one message, a line for each place.
    """
    unknown = vocabulary.unknown(settings.model.labels)
    mistakes = [_mistake("[model]", unknown)] if unknown else []
    for name, camera in settings.cameras.items():
        mistakes += _in_places(name, camera.zones, camera.lines, vocabulary)
    _refuse(mistakes, vocabulary)


def _in_places(camera: str, zones: Mapping[str, Zone], lines: Mapping[str, Line], vocabulary: Vocabulary) -> list[str]:
    places: list[tuple[str, Zone | Line]] = [(f"zones.{name}", zone) for name, zone in zones.items()]
    places += [(f"lines.{name}", line) for name, line in lines.items()]
    return [
        _mistake(f"[cameras.{camera}.{where}]", unknown)
        for where, place in places
        if (unknown := vocabulary.unknown(place.labels))
    ]


def _mistake(where: str, unknown: list[str]) -> str:
    return f"{where} labels: {', '.join(map(repr, unknown))} not known to the model"


def _refuse(mistakes: list[str], vocabulary: Vocabulary) -> None:
    if mistakes:
        raise ConfigError("\n  ".join([*mistakes, f"accepted: {vocabulary.described()}"]))
