"""What is not accepted in a TOML file that is checked against its types."""

from pathlib import Path

import pytest

from appliance.core.errors import ConfigError, ModelError
from appliance.core.mistakes import parse_toml
from appliance.core.part import Part

FILE = Path("any.toml")


class Pair(Part):
    first: int
    second: int = 2


def test_what_a_file_holds_is_given_with_its_types() -> None:
    assert parse_toml(b"first = 1", FILE, Pair, ModelError) == Pair(first=1)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"first =", r"^any\.toml is no valid TOML: "),
        (b"first = " + b"1" * 5000, r"^any\.toml is no valid TOML: "),
        (b"first = " + b"[" * 100_000, r"^any\.toml is no valid TOML: "),
        (b"first = 1 # \xff", r"^any\.toml is no UTF-8 text: "),
        (b"second = 'x'\nthird = 3", r"(?s)^any\.toml: 3 entries are not accepted:.*first: is req.*second.*third: unk"),
    ],
)
def test_what_is_wrong_with_it_is_told_as_the_kind_of_error_that_is_asked_for(content: bytes, told: str) -> None:
    for refused in (ConfigError, ModelError):
        with pytest.raises(refused, match=told):
            parse_toml(content, FILE, Pair, refused)
