"""Why something from the fleet is not taken: a code for reports, and words for people."""

from enum import StrEnum

from appliance.core.errors import ModelError


class Code(StrEnum):
    """What an update was refused for. Codes are published in reports: none is renamed."""

    ROLLBACK = "E_ROLLBACK"
    FREEZE = "E_FREEZE"
    EXPIRED = "E_EXPIRED"
    BAD_SIGNATURE = "E_BADSIG"
    INVALID = "E_INVALID"
    HASH = "E_HASH"
    ENDLESS = "E_ENDLESS"
    MISSING = "E_MISSING"
    """A rollout names what nobody has signed."""
    COUNTER = "E_COUNTER"
    """A release is older than what was here already, or lies below the security floor."""
    LICENCE = "E_LICENCE"
    UNSUPPORTED = "E_UNSUPPORTED"
    """Nothing that the rollout offers is for this device."""
    CONTRACT = "E_CONTRACT"
    """A release is not what it was signed as, or does not fit what it is to replace."""
    INSPECTION = "E_INSPECTION"
    GOLDEN = "E_GOLDEN"
    CRASH = "E_CRASH"
    HANG = "E_HANG"
    MEMORY = "E_MEMORY"
    DISK = "E_DISK"
    LATENCY = "E_LATENCY"
    FRAME_RATE = "E_FRAME_RATE"
    NUMBERS = "E_NUMBERS"
    """It gave numbers that are not finite, or outputs that it did not promise."""
    BLIND = "E_BLIND"
    FLOOD = "E_FLOOD"
    """It finds far more than the model before it."""
    DISAGREEMENT = "E_DISAGREEMENT"
    THROTTLED = "E_THROTTLED"
    HALTED = "E_HALTED"
    POWER = "E_POWER"
    """Power was lost so often while it was tried that the two may have to do with one another."""
    LOOP = "E_LOOP"
    """An update went round in circles."""
    STARTS = "E_STARTS"
    """A model in service kept the daemon from starting."""
    OWNER = "E_OWNER"
    """The owner has taken it back."""


class RefusedError(ModelError):
    """Something from the fleet is refused; what is in service stays.

    Args:
        code: For reports.
        why: What was wrong, where, and what is accepted.
    """

    def __init__(self, code: Code, why: str) -> None:
        super().__init__(f"{why} ({code})")
        self.code, self.why = code, why
