"""The reference of all settings, made from their types: as a commented edgecam.toml and as docs/configuration.md.

``python -m appliance.cli.reference`` prints the latter.
"""

import sys
from collections.abc import Iterator

from appliance.config import Secret
from appliance.config.declarations import Declaration
from appliance.config.toml import format_key, format_value

_EXAMPLE_NAMES = {"zones": "driveway", "lines": "gate"}

_HEAD = """\
# Edgecam's configuration with every setting and its default.
#
# A line that begins with "#" and no space is a setting that is not set: take the "#" away to use it.
# After a change: edgecam config check FILE
"""

_MARKDOWN_HEAD = """\
# Configuration

The file is `/etc/edgecam/edgecam.toml`, or what `--config` names. It is [TOML](https://toml.io/en/v1.0.0).
`edgecam config default` prints one with every setting and its default, `edgecam config check FILE` tells all
mistakes at once, `edgecam config show FILE` shows what is in effect.

Types are strict: `true` is no number, `"4"` is none either. A setting that is not known is a mistake. Secrets are never
written into the file; it says where they are kept.

This page is made from the settings' types by `make docs`.
"""


def default_toml() -> str:
    """Give an edgecam.toml with every setting, its default, limits and meaning; it parses back to the defaults."""
    lines = [_HEAD]
    for name, declared in Declaration.of_all_settings().settings():
        lines += _camera_examples(name, declared) if declared.is_named_tables else _toml_table((name,), declared)
    return "\n".join(lines).rstrip("\n") + "\n"


def markdown() -> str:
    """Give the reference as Markdown, a section for each table."""
    lines = [_MARKDOWN_HEAD]
    for name, declared in Declaration.of_all_settings().settings():
        if declared.is_named_tables:
            lines += _markdown_cameras(name, declared)
        else:
            lines += _markdown_table((name,), declared)
    lines += ["## Secrets\n", f"{Secret.__doc__}\n"]
    lines += _rows(Declaration.of_type(Secret))
    return "\n".join(lines).rstrip("\n") + "\n"


def _toml_table(steps: tuple[str, ...], declared: Declaration) -> Iterator[str]:
    """Give a table's heading and settings, then the tables in it."""
    yield f"# {declared.description}"
    yield f"[{format_key(*steps)}]"
    yield from _toml_settings(declared)
    for key, inner in declared.settings():
        if inner.is_table:
            yield from _toml_table((*steps, key), inner)


def _toml_settings(declared: Declaration) -> Iterator[str]:
    for key, inner in declared.settings():
        if inner.is_table or inner.is_named_tables:
            continue
        default = inner.default()
        unset = "" if default is not None or inner.is_required else "; not set by default"
        yield f"# {inner.description}"
        yield f"# Accepts {inner.accepted()}{unset}."
        yield f"{key} = {format_value(default)}" if default is not None else f"#{key} = {format_value(inner.example())}"
        yield ""


def _camera_examples(name: str, declared: Declaration) -> Iterator[str]:
    """Give one camera of each kind, commented out; zones and lines, the same for all, with the first."""
    yield f"# {declared.description}"
    yield f"# Accepts {declared.accepted()}.\n"
    cameras = declared.named()
    for at, kind in enumerate(cameras.kinds):
        camera = cameras.form(kind)
        yield f"# {camera.description}"
        yield from _commented(f"[{format_key(name, kind)}]", *_toml_settings(camera))
        for key, inner in camera.settings():
            if inner.is_named_tables and at == 0:
                yield f"# {inner.named().description}"
                heading = f"[{format_key(name, kind, key, _EXAMPLE_NAMES[key])}]"
                yield from _commented(heading, *_toml_settings(inner.named()))


def _commented(*lines: str) -> Iterator[str]:
    for line in lines:
        yield f"#{line}" if line and not line.startswith("#") else line


def _markdown_table(steps: tuple[str, ...], declared: Declaration) -> Iterator[str]:
    yield f"## `[{format_key(*steps)}]`\n"
    yield f"{declared.description}\n"
    yield from _rows(declared)
    for key, inner in declared.settings():
        if inner.is_table:
            yield from _markdown_table((*steps, key), inner)


def _markdown_cameras(name: str, declared: Declaration) -> Iterator[str]:
    yield f"## `[{name}.NAME]`\n"
    yield f"{declared.description} `kind` says which of the following tables applies.\n"
    cameras = declared.named()
    named: dict[str, Declaration] = {}
    for kind in cameras.kinds:
        camera = cameras.form(kind)
        yield f'### `kind = "{kind}"`\n'
        yield f"{camera.description}\n"
        yield from _rows(camera)
        named.update((key, inner.named()) for key, inner in camera.settings() if inner.is_named_tables)
    for key, inner in named.items():
        yield f"### `[{name}.NAME.{key}.NAME]`\n"
        yield f"{inner.description}\n"
        yield from _rows(inner)


def _rows(declared: Declaration) -> Iterator[str]:
    """Give the settings of a table as a Markdown table; the tables in it have their own sections."""
    yield "| setting | accepts | default | |"
    yield "|---|---|---|---|"
    for key, inner in declared.settings():
        if inner.is_table or inner.is_named_tables:
            continue
        default = inner.default()
        told = f"`{format_value(default)}`" if default is not None else "**required**" if inner.is_required else "none"
        yield f"| `{key}` | {_cell(inner.accepted())} | {_cell(told)} | {_cell(inner.description)} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(markdown())
