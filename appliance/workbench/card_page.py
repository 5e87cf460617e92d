"""A model card's page: sections that were measured stand between marks, all else is written by hand and kept. Pure.

After Mitchell et al.: Model Cards for Model Reporting, arXiv:1810.03993.
"""

import re
from collections.abc import Mapping
from typing import Final

from appliance.core.errors import ConfigError

BY_HAND: Final = ("What it is for", "What it is not for", "What it learned from", "Licences", "How it is made")
"""Headings of what people write."""


def new_page(title: str, known: Mapping[str, str]) -> str:
    """Give a page without measured sections.

    Args:
        title: Of the page.
        known: What can be said already, by heading.
    """
    parts = [f"# {title}"]
    for heading in BY_HAND:
        parts += [f"## {heading}", known.get(heading) or "<!-- Written by hand. -->"]
    return "\n\n".join(parts) + "\n"


def unwritten(page: str) -> list[str]:
    """Give those headings of `BY_HAND` under which nothing stands, or that are missing."""
    kept = re.sub(r"(?s)<!-- begin measured: .*?<!-- end measured: .*?-->|<!--.*?-->", "", page)
    written = {heading: text.strip() for heading, text in re.findall(r"(?ms)^## ([^\n]+)\n(.*?)(?=^## |\Z)", kept)}
    return [heading for heading in BY_HAND if not written.get(heading)]


def with_sections(page: str, sections: Mapping[str, str], where: str) -> str:
    """Give the page with its measured sections replaced; those that it lacks come at its end.

    Args:
        page: As it is.
        sections: Text by name.
        where: What to call the page in a message.

    Raises:
        ConfigError: A section's marks are not there once each, in order.
    """
    for name, text in sections.items():
        begin, end = _marks(name)
        whole = f"{begin}\n\n{text.strip()}\n\n{end}"
        if begin not in page and end not in page:
            page = f"{page.rstrip()}\n\n{whole}\n"
            continue
        before, has_begin, rest = page.partition(begin)
        _, has_end, after = rest.partition(end)
        if not (has_begin and has_end) or begin in rest or end in before + after:
            raise ConfigError(
                f"{where}: the marks of the measured section {name!r} must be there once each, in order: "
                f"{begin} … {end}; put them right, or remove both"
            )
        page = f"{before}{whole}{after}"
    return page


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- begin measured: {name} -->", f"<!-- end measured: {name} -->"
