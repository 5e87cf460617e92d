"""A console that shows text as it is: labels, file names and reasons have brackets, which rich takes for its markup."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 160  # columns where nobody looks: a file or a pipe has no width


def plain_console(*, is_wide: bool = False) -> "Console":
    """Give a console on standard output without markup, emoji or colours of its own.

    Args:
        is_wide: Its tables need 160 columns where it is no terminal; else 80, or what COLUMNS says.
    """
    from rich.console import Console

    width = _WIDE if is_wide and not sys.stdout.isatty() else None
    return Console(markup=False, emoji=False, highlight=False, width=width)
