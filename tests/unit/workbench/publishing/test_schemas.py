"""The published schemas of what a fleet signs."""

import json
from pathlib import Path

import pytest

from appliance.workbench.publishing.schemas import FORMATS, schema

FOLDER = Path(__file__).resolve().parents[4] / "docs" / "schemas" / "fleet"


@pytest.mark.parametrize("name", FORMATS)
def test_the_published_schemas_are_current(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == schema(name), "do: make docs"


@pytest.mark.parametrize("name", ["release", "rollout"])
def test_what_is_signed_has_no_floats(name: str) -> None:
    """Canonical JSON knows none: https://wiki.laptop.org/go/Canonical_JSON."""
    assert '"number"' not in schema(name)


@pytest.mark.parametrize("name", FORMATS)
def test_the_example_in_the_documentation_is_accepted(name: str) -> None:
    page = (FOLDER.parents[1] / "fleet.md").read_text(encoding="utf-8").partition(f"<!-- {name} -->")[2]
    example = json.loads(page.partition("```json\n")[2].partition("```")[0])
    FORMATS[name].model_validate(example)
