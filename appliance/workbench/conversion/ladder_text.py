"""Writes a manifest's ladder: entries of artifacts as text, the rest of the file as its author wrote it. Pure."""

import hashlib
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from appliance.config.toml import format_key, format_value
from appliance.core.errors import ModelError
from appliance.core.manifest import Artifact, InputSpec, Precision, TensorPattern

_MARK: Final = "[[artifacts]]"
_TABLE = re.compile(r"(?m)^\[")


@dataclass(frozen=True, slots=True)
class Entry:
    """An artifact as its manifest will tell it.

    Attributes:
        file: Its name.
        format: Which runtime opens it.
        precision: Of the weights and activations.
        content: Its bytes.
        machines: Kinds of processor that it is for; empty: any.
        input: In place of the manifest's; None: the same.
        pattern: Of the picture, where the input has another shape than the signature says; None: as it says.
    """

    file: str
    format: str
    precision: Precision
    content: bytes
    machines: tuple[str, ...] = ()
    input: InputSpec | None = None
    pattern: TensorPattern | None = None


def artifact_text(entry: Entry, outputs: Sequence[TensorPattern] = ()) -> str:
    """Give the entry's text.

    Args:
        entry: The artifact.
        outputs: Of the manifest's signature, where the entry has a pattern of its own.
    """
    lines = [
        _MARK,
        f'file = "{entry.file}"',
        f'format = "{entry.format}"',
        f'precision = "{entry.precision}"',
        f'sha256 = "{hashlib.sha256(entry.content).hexdigest()}"',
        f"size = {len(entry.content)}",
    ]
    if entry.machines:
        lines.append(f"needs = {{ machines = {format_value(entry.machines)} }}")
    if entry.input is not None:
        lines.append("\n[artifacts.input]")
        told = entry.input.model_dump(mode="json", exclude_none=True)
        lines += [f"{format_key(key)} = {format_value(value)}" for key, value in told.items()]
    if entry.pattern is not None:
        lines.append("\n[artifacts.signature]")
        lines.append(f"input = {_pattern(entry.pattern)}")
        lines.append(f"outputs = [{', '.join(map(_pattern, outputs))}]")
    return "\n".join(lines) + "\n"


def with_first_artifact(text: str, entry: Entry) -> str:
    """Give a manifest with an artifact before the first: the device takes the first one that it can run."""
    before, mark, after = text.partition(_MARK)
    return f"{before}{artifact_text(entry)}\n{mark}{after}"


def with_artifacts(text: str, blocks: Sequence[str]) -> str:
    """Give a manifest whose artifacts are these, at its end.

    Args:
        text: The manifest's.
        blocks: From `artifact_text` or `split_artifacts`, best first.
    """
    rest, _ = split_artifacts(text)
    return rest.rstrip() + "\n\n" + "\n".join(block.strip() + "\n" for block in blocks)


def split_artifacts(text: str) -> tuple[str, dict[str, str]]:
    """Take a manifest apart.

    Returns:
        What is no artifact, and the text of each artifact by its file's name, in their order.

    Raises:
        ModelError: The artifacts are not written as tables.
    """
    starts = [match.start() for match in _TABLE.finditer(text)]
    pieces = [text[: starts[0]] if starts else text]
    pieces += [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    rest, blocks = "", list[str]()
    for piece in pieces:
        if piece.startswith(_MARK):
            blocks.append(piece)
        elif blocks and piece.startswith("[artifacts."):
            blocks[-1] += piece
        else:
            rest += piece
    found = {str(tomllib.loads(block)["artifacts"][0]["file"]): block for block in blocks}
    if len(tomllib.loads(text).get("artifacts", ())) != len(found):
        raise ModelError(f"the manifest's artifacts must be tables, each after a line {_MARK}")
    return rest, found


def with_content(block: str, artifact: Artifact, content: bytes) -> str:
    """Give an artifact's text for another content of the same file; providers and needs stay.

    Args:
        block: From `split_artifacts`.
        artifact: What it says.
        content: The file's new bytes.
    """
    digest = hashlib.sha256(content).hexdigest()
    changed = re.sub(rf"(?m)^size\s*=\s*{artifact.size}\b", f"size = {len(content)}", block)
    return changed.replace(artifact.sha256, digest)


def _pattern(pattern: TensorPattern) -> str:
    dtype = "" if pattern.dtype == "float32" else f', dtype = "{pattern.dtype}"'
    return f"{{ shape = {format_value(pattern.shape)}{dtype} }}"
