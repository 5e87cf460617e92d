"""Where a training run stands, on disk: written atomically, and read only as plain values and tensors."""

import hashlib
import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from appliance.core.errors import ConfigError
from appliance.core.files import write_atomically

CHECKPOINT_NAME = "checkpoint.pt"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run between two steps.

    Chance has no state of its own: what is left to chance in a step follows from the recipe's seed and the number
    of the step.

    Attributes:
        digest: Of the recipe.
        step: Steps done: the position in the schedule.
        network: Weights that are being learned.
        average: Averaged weights.
        optimiser: State of the optimiser.
        curve: Points so far.
        sums: Losses since the last point: the total, of scores, of boxes, and of how many steps.
        begun_with: Digest of the weights that the run belongs to, where it goes on from those of another.
    """

    digest: str
    step: int
    network: dict[str, Any]
    average: dict[str, Any]
    optimiser: dict[str, Any]
    curve: list[dict[str, Any]]
    sums: list[float]
    begun_with: str = ""


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the folder's checkpoint.

    Raises:
        StorageError: The folder cannot be written to.
    """
    buffer = io.BytesIO()
    values = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    torch.save({"format": _FORMAT, **values}, buffer)
    write_atomically(folder / CHECKPOINT_NAME, buffer.getvalue())


def read_checkpoint(folder: Path, digest: str | None = None) -> Checkpoint:
    """Read the folder's checkpoint.

    Args:
        folder: Of the run.
        digest: Of the recipe that is to go on; None: only the weights are wanted.

    Raises:
        ConfigError: There is none, it is broken, or it is one of another recipe.
    """
    path = folder / CHECKPOINT_NAME
    checkpoint = read_any_checkpoint(folder, "begin again without --resume")
    if digest is not None and checkpoint.digest != digest:
        raise ConfigError(
            f"{path} was made by another recipe or with other --iterations: its curve cannot go on with this one; "
            "give the same, or another --run"
        )
    return checkpoint


def read_any_checkpoint(folder: Path, advice: str) -> Checkpoint:
    """Read the folder's checkpoint, of whatever recipe.

    Args:
        folder: Of the run.
        advice: What to do when that fails.

    Raises:
        ConfigError: There is none, or it is broken.
    """
    path = folder / CHECKPOINT_NAME
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
        if values.pop("format") != _FORMAT:
            raise ConfigError(f"{path} is of another version of edgecam-workbench; {advice}")
        return Checkpoint(**values)
    except (OSError, RuntimeError, KeyError, TypeError, AttributeError, EOFError, pickle.UnpicklingError) as error:
        raise ConfigError(f"cannot go on from {path}: {error}; {advice}") from error


def digest_weights(weights: Mapping[str, torch.Tensor]) -> str:
    """Give the SHA-256 of weights and their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
