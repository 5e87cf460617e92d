"""Which code stands for what a web server did; apart from `refusals`, for the daemon itself asks no web server."""

from typing import Final

from appliance.core.errors import ModelError, UnavailableError
from appliance.core.web import CertificateError, EndlessError, PageError, SlowError, StatusError
from appliance.updates.refusals import Code, RefusedError, UnreachedError

_TROUBLES: Final[tuple[tuple[type[UnavailableError], Code], ...]] = (
    (CertificateError, Code.CERTIFICATE),
    (PageError, Code.PORTAL),
    (SlowError, Code.SLOW),
    (StatusError, Code.SERVER),
    (UnavailableError, Code.NETWORK),
)


def unreached(error: UnavailableError) -> UnreachedError:
    """Give the code to what keeps a server's file from being had."""
    if isinstance(error, UnreachedError):
        return error
    code = next(code for kind, code in _TROUBLES if isinstance(error, kind))
    return UnreachedError(code, str(error), error.retry_after)


def refused(error: ModelError) -> RefusedError:
    """Give the code to why a file that came is not what was signed."""
    return RefusedError(Code.ENDLESS if isinstance(error, EndlessError) else Code.HASH, str(error))
