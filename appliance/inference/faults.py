"""What kind of fault a runtime shows while it runs, told from the error that it ended in."""

from enum import StrEnum
from typing import Final

from appliance.core.errors import EdgecamError, ModelError, UnavailableError

_NO_MEMORY: Final = ("bad_alloc", "bad allocation", "allocate memory")  # as C++ libraries and ONNX Runtime's arena say


class Fault(StrEnum):
    """How a model failed while it was in service."""

    HANG = "hang"
    CRASH = "crash"
    MEMORY = "memory"
    NUMBERS = "numbers"
    """It gave numbers that are not finite, or outputs that it did not promise; or it could not be run at all."""


class HungError(UnavailableError):
    """A call into a runtime did not come back in time."""


class KilledError(UnavailableError):
    """The process of a runtime was ended as the kernel ends what takes too much memory, or as malloc does."""


class NumbersError(ModelError):
    """A model gave numbers that are not finite, or that cannot be what it is said to give."""


class OutOfMemoryError(ModelError):
    """A runtime did not get the memory that it asked for."""


def fault_of(error: EdgecamError) -> Fault:
    """Tell what kind of fault an error is that ended a call into a runtime."""
    if isinstance(error, HungError):
        return Fault.HANG
    if isinstance(error, KilledError | OutOfMemoryError):
        return Fault.MEMORY
    return Fault.CRASH if isinstance(error, UnavailableError) else Fault.NUMBERS


def failed(told: str, reason: str) -> ModelError:
    """Give the error for what a runtime said.

    Args:
        told: The whole message.
        reason: What the runtime said in it, which tells whether memory was the matter.
    """
    is_memory = any(words in reason for words in _NO_MEMORY)
    return OutOfMemoryError(told) if is_memory else ModelError(told)
