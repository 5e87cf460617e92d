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


class RefusedError(ModelError):
    """Something from the fleet is refused; what is in service stays.

    Args:
        code: For reports.
        why: What was wrong, where, and what is accepted.
    """

    def __init__(self, code: Code, why: str) -> None:
        super().__init__(f"{why} ({code})")
        self.code = code
