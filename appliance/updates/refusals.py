"""Why something from the fleet is not taken, or not had: a code for reports, and words for people."""

from enum import StrEnum

from appliance.core.errors import EdgecamError, ModelError, StorageError, UnavailableError


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
    KEY = "E_KEY"
    """It is encrypted, and no key that opens it is here."""
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
    NETWORK = "E_NETWORK"
    """The fleet's server cannot be reached, or the connection broke off again and again."""
    SERVER = "E_SERVER"
    """It answers that it has no such thing, will not give it, or is in trouble."""
    SLOW = "E_SLOW"
    PORTAL = "E_PORTAL"
    """A web page came in its place: the network wants somebody to log in."""
    CERTIFICATE = "E_CERTIFICATE"
    """It does not show that it is the server that is meant."""


class RefusedError(ModelError):
    """Something from the fleet is refused; what is in service stays.

    Args:
        code: For reports.
        why: What was wrong, where, and what is accepted.
    """

    def __init__(self, code: Code, why: str) -> None:
        super().__init__(f"{why} ({code})")
        self.code, self.why = code, why


class UnreachedError(UnavailableError):
    """Something of the fleet's cannot be had now, and it is known why; it is tried again.

    Args:
        code: For reports.
        why: What was the matter.
        retry_after: Seconds for which the server asked to be left alone.
    """

    def __init__(self, code: Code, why: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{why} ({code})")
        self.code, self.why, self.retry_after = code, why, retry_after


def code_of(error: EdgecamError) -> Code | None:
    """Give what stands for an error in reports; None: it has no code."""
    if isinstance(error, StorageError):
        return Code.DISK
    return error.code if isinstance(error, RefusedError | UnreachedError) else None
