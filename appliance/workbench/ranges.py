"""The ranges of a network's activations: those learned in training, in a JSON file beside its weights; and rounded."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from appliance.core.errors import ConfigError
from appliance.core.files import write_atomically

RANGES_NAME: Final = "ranges.json"
STEPS: Final = 3
"""Of the grid that ranges are rounded up to, to the doubling: each is at most 26 % larger than it was."""

_VERSION = 1
_ALMOST = 1e-6  # of a step: what lies on the grid stays there
_MOST_BYTES = 8 << 20


def write_ranges(model: Path, ranges: Mapping[str, tuple[float, float]]) -> Path:
    """Write ranges.json beside a model's file.

    Args:
        model: The ONNX file that they belong to.
        ranges: Lowest and highest value by tensor.

    Raises:
        StorageError: It cannot be written.
    """
    path = model.with_name(RANGES_NAME)
    values = {"version": _VERSION, "model": hashlib.sha256(model.read_bytes()).hexdigest(), "ranges": dict(ranges)}
    write_atomically(path, (json.dumps(values, indent=1) + "\n").encode())
    return path


def read_ranges(path: Path, model: str) -> dict[str, tuple[float, float]]:
    """Read what `write_ranges` wrote.

    Args:
        path: The file.
        model: SHA-256 of the weights that it should belong to.

    Raises:
        ConfigError: It cannot be read, keeps no ranges, or those of other weights.
    """
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(_MOST_BYTES))
        if values["version"] != _VERSION:
            raise ConfigError(f"{path} is of another version of edgecam-workbench; train again")
        owner = values["model"]
        ranges = {str(name): (float(low), float(high)) for name, (low, high) in values["ranges"].items()}
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{path} keeps no ranges as `edgecam-workbench train` writes them: {error!r}") from error
    if not all(math.isfinite(low) and math.isfinite(high) and low <= high for low, high in ranges.values()):
        raise ConfigError(f"{path} has a range that is none; train again")
    if owner != model:
        raise ConfigError(f"{path} belongs to other weights; give the one beside the model's file")
    return ranges


def rounded(low: float, high: float) -> tuple[float, float]:
    """Give a range whose ends lie on a grid, outside of the old ones. Pure.

    A calibration with other pictures then mostly gives the same ranges to the byte.
    """
    return _rounded(low), _rounded(high)


def _rounded(value: float) -> float:
    if value == 0.0 or not math.isfinite(value):
        return value
    step = math.ceil(math.log2(abs(value)) * STEPS - _ALMOST)
    return math.copysign(2.0 ** (step / STEPS), value)
