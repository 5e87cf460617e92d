import pytest

from appliance.messaging.topics import matches


@pytest.mark.parametrize(
    ("pattern", "topic", "fits"),
    [
        # MQTT 5, section 4.7.1
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/monitor", False),
        ("$SYS/#", "$SYS/monitor", True),
        ("edgecam/dev/cmd/#", "edgecam/dev/cmd/replay/7", True),
        ("edgecam/dev/cmd/#", "edgecam/other/cmd/replay/7", False),
        ("homeassistant/status", "homeassistant/status", True),
        ("homeassistant/status", "homeassistant/status/more", False),
    ],
)
def test_patterns_fit_as_the_standard_says(pattern: str, topic: str, *, fits: bool) -> None:
    assert matches(pattern, topic) is fits
