"""Where a model's weights come from: the file that its manifest names, or an encrypted one in its place."""

from collections.abc import Callable, Mapping
from pathlib import Path

from appliance.config import ModelSettings
from appliance.core.errors import ModelError
from appliance.core.files import read_bounded
from appliance.core.manifest import MOST_MODEL_BYTES
from appliance.core.memory_file import read_memory_file
from appliance.core.sealing import SUFFIX, Keys

Unseal = Callable[[Path], bytes]
"""Gives what an encrypted file holds, in memory; raises ModelError where it cannot be opened."""


def find_weights(folder: Path, file: str) -> Path:
    """Give the file that has an artifact's weights: its own, or the encrypted one where only that is there."""
    plain, sealed = folder / file, folder / f"{file}{SUFFIX}"
    return sealed if sealed.is_file() and not plain.is_file() else plain


def is_sealed(path: Path) -> bool:
    """Tell whether a file of weights is encrypted, by its name."""
    return path.suffix == SUFFIX


def unsealing(settings: ModelSettings) -> Unseal:
    """Give what opens encrypted files with the keys that ``[model] key`` names, read anew each time and not kept.

    What it gives raises ConfigError where the keys cannot be read, UnsupportedError where pyrage is not installed, and
    ModelError where there are none, or none that fits.
    """

    def unseal(path: Path) -> bytes:
        if settings.key is None:
            raise ModelError(f"{path} is encrypted, and there is no key here: [model] key (docs/fleet.md)")
        keys = Keys(settings.key.read_lines("model.key"), "[model] key")
        return keys.unseal(read_bounded(path, MOST_MODEL_BYTES, ModelError, "a model for a device"), str(path))

    return unseal


def handed_over(files: Mapping[str, int]) -> Unseal:
    """Give what opens encrypted files in a process that has no key: its parent has put their content into memory.

    Args:
        files: Open files in memory by the encrypted files' names.
    """

    def unseal(path: Path) -> bytes:
        if path.name not in files:
            raise ModelError(f"{path} is encrypted, and its content was not handed over")
        return read_memory_file(files[path.name])

    return unseal
