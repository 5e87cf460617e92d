"""Writes a model's folder: manifest and weights, whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from appliance.config.toml import format_key, format_value
from appliance.core.errors import ConfigError, StorageError
from appliance.core.files import sync_directory, write_atomically
from appliance.core.manifest import MANIFEST_NAME, read_manifest


def manifest_text(values: Mapping[str, Any], head: str) -> str:
    """Give a manifest.toml.

    Args:
        values: The manifest's entries; those that are None or empty are left out.
        head: The comment at its top, a line.
    """
    lines = [f"# {head}"]
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    plain = {key: value for key, value in values.items() if key not in {*tables, "labels", "artifacts"}}
    lines += [f"{format_key(key)} = {format_value(value)}" for key, value in plain.items()]
    lines += ["labels = [", *(f"    {format_value(label)}," for label in values["labels"]), "]", ""]
    for name, table in tables.items():
        lines += _table(f"[{name}]", table)
    for artifact in values.get("artifacts", ()):
        lines += _table("[[artifacts]]", artifact)
    return "\n".join(lines).rstrip("\n") + "\n"


def check_free(directory: Path, name: str, *, replace: bool) -> None:
    """Make sure that a model may be written.

    Args:
        directory: For models.
        name: The model's.
        replace: One of this name may be there.

    Raises:
        ConfigError: The directory is none, or the name is taken.
    """
    if not directory.is_dir():
        raise ConfigError(f"{directory} is no folder for models: make it, or name another with --directory")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ConfigError(f"{directory} cannot be written to by this user; use sudo, or name another with --directory")
    if (directory / name).exists() and not replace:
        raise ConfigError(f"{directory / name} is there already; --replace it, or name another --directory")


def check_room(directory: Path, wanted: int) -> None:
    """Make sure that a disk has room.

    Args:
        directory: On it.
        wanted: Bytes.

    Raises:
        StorageError: It has not.
    """
    try:
        free = shutil.disk_usage(directory).free
    except OSError as error:
        raise StorageError(f"cannot look at the disk of {directory}: {error.strerror}") from error
    if free < wanted:
        raise StorageError(f"{directory} has {free / 1e6:.1f} MB free and needs {wanted / 1e6:.1f}; make room")


def write_model(directory: Path, name: str, files: Mapping[str, bytes], *, replace: bool = False) -> Path:
    """Write a model's folder beside the others; it appears whole.

    Where one is replaced, a power cut can leave its folder under another name, which begins with a dot, and never half
    a folder under this one.

    Args:
        directory: For models.
        name: The model's.
        files: Contents by name, the manifest among them.
        replace: One of this name may be there.

    Returns:
        The folder.

    Raises:
        ConfigError: The name is taken.
        ModelError: The manifest among the files is not accepted.
        StorageError: The disk is full, or the directory cannot be written to.
    """
    check_free(directory, name, replace=replace)
    folder, temporary = directory / name, Path()
    try:
        check_room(directory, sum(map(len, files.values())))
        temporary = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=directory))
        for file, content in files.items():
            write_atomically(temporary / file, content)
        read_manifest(temporary / MANIFEST_NAME)
        temporary.chmod(0o755)
        if folder.exists():
            _exchange(folder, temporary)
        else:
            temporary.rename(folder)
        sync_directory(directory)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        _remove(temporary)  # gone, if all went well; else what was begun, after Ctrl-C too
    return folder


def _exchange(folder: Path, new: Path) -> None:
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    try:
        folder.rename(old / "model")
        new.rename(folder)
    finally:
        if not folder.exists():
            (old / "model").rename(folder)  # the one that was there is better than none
        _remove(old)


def _remove(folder: Path) -> None:
    if folder != Path():
        with suppress(OSError):  # the first error is the one to tell
            shutil.rmtree(folder)


def _table(heading: str, values: Mapping[str, Any]) -> Iterator[str]:
    yield heading
    yield from (f"{format_key(key)} = {format_value(value)}" for key, value in values.items())
    yield ""
