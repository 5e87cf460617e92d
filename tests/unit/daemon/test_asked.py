import logging

import pytest

from appliance.core.errors import ConfigError
from appliance.daemon.asked import Asked


def _refuse() -> None:
    raise ConfigError("edgecam.toml: cameras.door.fps: is 0")


def test_an_accepted_configuration_ends_the_daemon_for_a_new_start() -> None:
    asked = Asked(lambda: None)
    asked.reload()
    assert asked.wake.is_set()
    assert not asked.goes_on()
    assert asked.is_reloading
    assert asked.is_to_start_anew


def test_a_refused_configuration_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    asked = Asked(_refuse)
    asked.reload()
    with caplog.at_level(logging.ERROR):
        assert asked.goes_on()
    assert not asked.wake.is_set()
    assert not asked.is_to_start_anew
    assert "cameras.door.fps: is 0" in caplog.text


def test_the_end_goes_before_a_reload() -> None:
    asked = Asked(lambda: None)
    asked.reload()
    asked.end()
    assert not asked.goes_on()
    assert not asked.is_to_start_anew


def test_a_reload_that_is_asked_for_during_the_start_is_not_lost() -> None:
    asked = Asked(lambda: None)
    asked.reload()  # the start is broken off: nobody asks whether it goes on
    assert asked.is_to_start_anew
