"""What is not accepted in a file that was checked against its types: all at once, a line each with its key path."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from appliance.core.errors import EdgecamError

_NONE: Mapping[str, Sequence[str]] = {}
KindT = TypeVar("KindT", bound=BaseModel)


def parse_toml(content: bytes, file: Path, kind: type[KindT], refused: type[EdgecamError]) -> KindT:
    """Give what a TOML file holds, checked against its types.

    Args:
        content: Of the file.
        file: Where it was read, for messages; as for `explain`.
        kind: Its types.
        refused: What is raised.

    Raises:
        EdgecamError: Of the kind `refused`: it is no TOML, or has entries that are not accepted, all in one message.
    """
    try:
        return kind.model_validate(tomllib.loads(content.decode()))
    except ValidationError as error:
        raise refused(explain(error, file)) from error
    except UnicodeDecodeError as error:
        raise refused(f"{file} is no UTF-8 text: {error}") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is one; so is what an endless number gives
        raise refused(f"{file} is no valid TOML: {error}") from error


def explain(error: ValidationError, file: Path, forms: Mapping[str, Sequence[str]] = _NONE) -> str:
    """Give the message for a file whose entries are not accepted.

    For what an owner writes: values are repeated, so no secret may be among them (config.loading has its own).

    Args:
        error: What pydantic found.
        file: Where.
        forms: Tables, and lists of tables, that take one of several forms, with what their `kind` may be.
    """
    lines = [_explain(detail, forms) for detail in error.errors(include_url=False)]
    count = f"{len(lines)} entr{'ies are' if len(lines) > 1 else 'y is'} not accepted"
    return "\n  ".join([f"{file}: {count}:", *lines])


def _explain(detail: ErrorDetails, forms: Mapping[str, Sequence[str]]) -> str:
    """Give one error as ``decoder.nms_iou: what is accepted (got …)``."""
    steps = [str(step) for step in detail["loc"]]
    kinds: Sequence[str] = ()
    if (table := next((at for at, step in enumerate(steps) if step in forms), None)) is not None:
        kinds = forms[steps[table]]
        member = table + 2 if steps[table + 1 : table + 2] and steps[table + 1].isdigit() else table + 1
        if steps[member : member + 1] and steps[member] in kinds:
            del steps[member]  # pydantic names the chosen member of a union as a step of the path; it is no key
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
