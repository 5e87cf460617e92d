"""What people wrote into a card is kept; what was measured is replaced."""

import pytest

from appliance.core.errors import ConfigError
from appliance.workbench.card_page import BY_HAND, new_page, unwritten, with_sections


def test_what_is_written_by_hand_before_between_and_behind_measured_sections_is_kept_to_the_byte() -> None:
    page = with_sections("# Mine\n\nby hand 1\n", {"one": "old", "two": "old"}, "README.md")
    page = page.replace("<!-- begin measured: two -->", "by hand 2\n\n<!-- begin measured: two -->") + "by hand 3 \n"
    again = with_sections(page, {"one": "new", "two": "new"}, "README.md")
    assert again == page.replace("old", "new")
    assert with_sections(again, {"one": "new", "two": "new"}, "README.md") == again


def test_a_section_that_is_not_asked_for_stays() -> None:
    page = with_sections("# Mine\n", {"costs": "5 ms", "accuracy": "old"}, "README.md")
    assert "5 ms" in with_sections(page, {"accuracy": "new"}, "README.md")


@pytest.mark.parametrize(
    "page",
    [
        "<!-- begin measured: one -->\n",
        "<!-- end measured: one -->\n<!-- begin measured: one -->\n",
        "<!-- begin measured: one -->\n<!-- begin measured: one -->\n<!-- end measured: one -->\n",
        "<!-- begin measured: one -->\n<!-- end measured: one -->\n<!-- end measured: one -->\n",
    ],
)
def test_marks_that_are_damaged_are_refused_and_nothing_is_guessed(page: str) -> None:
    with pytest.raises(ConfigError, match="'one' must be there once each"):
        with_sections(page, {"one": "new"}, "README.md")


def test_headings_without_words_are_told() -> None:
    page = new_page("mine", {"Licences": "Apache-2.0."})
    assert unwritten(page) == [heading for heading in BY_HAND if heading != "Licences"]
    measured = with_sections(page, {"model": "## The model\n\nmeasured words"}, "README.md")
    assert unwritten(measured) == unwritten(page)
    filled = measured.replace("## What it is for\n", "## What it is for\n\nCameras at doors.\n")
    assert "What it is for" not in unwritten(filled)
