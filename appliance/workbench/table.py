"""Tables for people, in Markdown: they read well in a terminal and can go into a document as they are."""

from collections.abc import Sequence


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a table whose first column stands left and whose other ones stand right, whatever the terminal's width."""
    widths = [max(3, *(len(row[at]) for row in (columns, *rows))) for at in range(len(columns))]
    rule = ["-" * width if at == 0 else "-" * (width - 1) + ":" for at, width in enumerate(widths)]
    return "\n".join(f"| {' | '.join(_aligned(row, widths))} |" for row in (columns, rule, *rows))


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = zip(row, widths, strict=True)
    return [cell.rjust(width) if at else cell.ljust(width) for at, (cell, width) in enumerate(cells)]
