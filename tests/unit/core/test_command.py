"""Questions that nobody answers."""

import click
import pytest
from click.testing import CliRunner

from appliance.core.command import answered
from appliance.core.errors import ConfigError


def ask() -> None:
    with answered("whether to go on", "say --yes"):
        click.confirm("Go on?", abort=True)


def test_a_question_that_nobody_answers_is_an_error_with_a_way_round_it() -> None:
    with CliRunner().isolation(input=""), pytest.raises(ConfigError, match="nobody is there to answer; say --yes"):
        ask()


def test_a_no_is_an_answer() -> None:
    with CliRunner().isolation(input="n\n"), pytest.raises(click.Abort):
        ask()
    with CliRunner().isolation(input="y\n"):
        ask()
