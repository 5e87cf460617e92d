"""What is not accepted in a file that was checked against its types: all at once, a line each with its key path."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_NONE: Mapping[str, Sequence[str]] = {}


def explain(error: ValidationError, file: Path, forms: Mapping[str, Sequence[str]] = _NONE) -> str:
    """Give the message for a file whose entries are not accepted.

    For what an owner writes: values are repeated, so no secret may be among them (config.loading has its own).

    Args:
        error: What pydantic found.
        file: Where.
        forms: Tables at the top of the file that take one of several forms, with what their `kind` may be.
    """
    lines = [_explain(detail, forms) for detail in error.errors(include_url=False)]
    count = f"{len(lines)} entr{'ies are' if len(lines) > 1 else 'y is'} not accepted"
    return "\n  ".join([f"{file}: {count}:", *lines])


def _explain(detail: ErrorDetails, forms: Mapping[str, Sequence[str]]) -> str:
    """Give one error as ``decoder.nms_iou: what is accepted (got …)``."""
    steps = [str(step) for step in detail["loc"]]
    kinds = forms.get(steps[0], ()) if steps else ()
    if len(steps) > 1 and steps[1] in kinds:
        del steps[1]  # pydantic names the chosen member of a union as a step of the path; it is no key of the file
    path = ".".join(steps) or "(top level)"
    if detail["type"] == "extra_forbidden":
        return f"{path}: unknown entry"
    if detail["type"] == "missing":
        return f"{path}: is required"
    if detail["type"] in {"union_tag_not_found", "union_tag_invalid"}:
        return f"{path}.kind: known: {', '.join(kinds)}"
    given = detail["input"]
    shown = f" (got {given!r})" if isinstance(given, str | int | float | bool) else ""
    return f"{path}: {detail['msg'].removeprefix('Value error, ')}{shown}"
