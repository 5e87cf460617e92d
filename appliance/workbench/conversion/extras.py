"""The converters' packages, which come with an extra: loaded when they are used, and named when they are missing."""

import importlib
from typing import Any, Final

from appliance.core.errors import UnsupportedError

EXTRA: Final = "pip install 'edgecam[convert]'"
ERRORS: Final[tuple[type[Exception], ...]] = (
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    AssertionError,
    IndexError,
)
"""What converters raise over a network that they do not take; they have no errors of their own for it."""


def load_converter(module: str, purpose: str) -> Any:
    """Import a converter's module.

    Args:
        module: Its name.
        purpose: What it is needed for: ``.tflite files``.

    Raises:
        UnsupportedError: It is not installed here.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: a shared library of its own is missing
        raise UnsupportedError(f"{purpose} need {module}, which cannot be loaded ({error}); do: {EXTRA}") from error
