"""Progress on standard error, when a person looks at it."""

import sys
from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def with_progress(items: Iterable[Item], title: str, total: int | None = None) -> Iterable[Item]:
    """Give the items, with a bar that goes when they are through; one bar at a time.

    Args:
        items: What is worked through.
        title: What is being done.
        total: How many there are, where `items` cannot tell.
    """
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, description=title, total=total, console=Console(stderr=True), transient=True)
