"""The libraries that publishing needs, told by name where they are missing."""

from collections.abc import Iterator
from contextlib import contextmanager

from appliance.core.errors import UnsupportedError


@contextmanager
def loaded() -> Iterator[None]:
    """Tell what to install, where an import in the block fails.

    Raises:
        UnsupportedError: A library is missing.
    """
    try:
        yield
    except ImportError as error:
        raise UnsupportedError(f"publishing needs more ({error}); do: pip install 'edgecam[publish]'") from error
