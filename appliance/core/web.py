"""Asks web servers, within bounds that the standard library does not set: in bytes and in time, whatever they send."""

import io
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse, HTTPSConnection
from typing import IO, Any, Final

from appliance.core.errors import ModelError, UnavailableError

MOST_RETRY_AFTER: Final = 86_400.0
"""Seconds that a server can ask to be left alone for; one that asks for more is asked again all the same."""

BESIDE: Final = 32 << 10
"""Bytes of an answer beside its content: its head, and how the content is cut into chunks."""

_NO_CHECK_TIME: Final = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, <openssl/x509_vfy.h>
_FRAMES: Final = 64  # of so many bytes of content one may be a chunk's own
_MOST_REDIRECTS: Final = 5
_MOST_REASON: Final = 200  # characters
_LOGIN_WANTED: Final = 511  # RFC 6585, section 6


class SlowError(UnavailableError):
    """A server sends so slowly that it is as good as none."""


class StatusError(UnavailableError):
    """A server refuses, or leads in circles.

    Attributes:
        status: What it answers.
    """

    status: int = 0


class PageError(UnavailableError):
    """A web page came where none is: a network that wants somebody to log in."""


class CertificateError(UnavailableError):
    """A server does not show that it is the one that is meant."""


class EndlessError(ModelError):
    """A server sends more than there can be."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one answer may take.

    Attributes:
        most: Bytes of its content.
        timeout: Seconds without a byte.
        within: Seconds for all of it.
        slowest: Bytes a second, on average.
        patience: Seconds before that counts.
    """

    most: int
    timeout: float
    within: float = float("inf")
    slowest: float = 0.0
    patience: float = 60.0


def ask(
    url: str,
    headers: dict[str, str],
    bounds: Bounds,
    *,
    may_be_asked: Callable[[str], None],
    is_dated: bool = True,
    also: frozenset[int] = frozenset(),
) -> HTTPResponse:
    """Send a request and give the answer, its content not read yet; the caller closes it.

    Args:
        url: Its scheme was checked.
        headers: Of the request.
        bounds: Hold for reading the content, too; a redirect begins anew.
        may_be_asked: Raises what is to be raised where a redirect leads to an address that may not be asked.
        is_dated: Certificates are held against the clock. Where that is known to be wrong they are not, and nothing
            that comes may be trusted for where it came from; who issued them, and for which host, is looked at.
        also: Statuses that are given like any other answer.

    Raises:
        CertificateError: It is another server than the one that is meant.
        EndlessError: Its head does not end; from reading the content, too.
        PageError: It is a web page.
        SlowError: It takes too long; from reading the content, too.
        StatusError: The server refuses.
        UnavailableError: The server cannot be reached.
    """
    handlers = _Http(bounds), _Https(bounds, is_dated=is_dated), _Redirects(may_be_asked)
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the caller has checked the scheme
    try:
        answer: HTTPResponse = urllib.request.build_opener(*handlers).open(request, timeout=bounds.timeout)
    except urllib.error.HTTPError as error:
        if error.code in also:
            return error  # type: ignore[return-value] # it is an answer like any other, with its status
        error.close()
        raise _refusal(url, error) from error
    except (OSError, HTTPException, ValueError) as error:  # ValueError: a redirect to what is no address at all
        raise _trouble(url, error) from error
    if answer.headers.get_content_type() in {"text/html", "application/xhtml+xml"}:
        answer.close()
        raise _page(url)
    return answer


def host_of(url: str) -> str:
    """Give the host of an address, or what there is of it."""
    return urllib.parse.urlsplit(url).hostname or url


def retry_after(header: str, now: float | None = None) -> float:
    """Give the seconds that a server asks to be left alone for (RFC 9110, section 10.2.3); 0: it does not say.

    Args:
        header: Value of ``Retry-After``: seconds, or a date.
        now: Seconds since 1970; by default the system's clock.
    """
    text = header.strip()
    if text.isdecimal() and len(text) < 10:  # noqa: PLR2004 - digits
        return min(float(text), MOST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(0.0, moment - (time.time() if now is None else now)), MOST_RETRY_AFTER)


def _refusal(url: str, error: urllib.error.HTTPError) -> UnavailableError:
    if error.code == _LOGIN_WANTED:
        return _page(url)
    refusal = StatusError(f"{url} answers {error.code} {_told(error.reason)}")
    refusal.status = error.code
    refusal.retry_after = retry_after(error.headers.get("Retry-After", ""))
    return refusal


def _trouble(url: str, error: Exception) -> UnavailableError:
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return CertificateError(f"the certificate of {host_of(url)} is not accepted: {_told(reason.verify_message)}")
    return UnavailableError(f"{host_of(url)} cannot be reached: {_told(reason)}")


def _page(url: str) -> PageError:
    return PageError(f"{url} answers with a web page: does this network want somebody to log in?")


def _told(reason: object) -> str:
    """Give what a server or the network said, fit for a terminal: one short line."""
    line = "".join(one if one.isprintable() else " " for one in str(reason)[: 4 * _MOST_REASON])
    return " ".join(line.split())[:_MOST_REASON]


class _Bounded(io.RawIOBase):
    """The bytes of one answer as they come from the network, head and all."""

    def __init__(self, connection: socket.socket, bounds: Bounds) -> None:
        self._connection, self._bounds = connection, bounds
        self._raw = connection.makefile("rb", buffering=0)
        self._most = bounds.most + bounds.most // _FRAMES + BESIDE
        self._begin, self._got = time.monotonic(), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._begin + self._bounds.within - time.monotonic()
        if left > 0:
            self._connection.settimeout(min(self._bounds.timeout, left))
            try:
                got: int | None = self._raw.readinto(buffer)
            except TimeoutError:
                if left > self._bounds.timeout:
                    raise
            else:
                self._judge(got or 0)
                return got
        raise SlowError(f"an answer took more than {self._bounds.within:g} s; is the link too slow?")

    def _judge(self, got: int) -> None:
        self._got += got
        if self._got > self._most:
            raise EndlessError(f"the server sends more than {self._bounds.most} bytes and what belongs to them")
        waited = time.monotonic() - self._begin - self._bounds.patience
        if got and self._got < self._bounds.slowest * waited:
            raise SlowError(f"the server sends less than {self._bounds.slowest:g} bytes a second; try again later")

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(HTTPResponse):
    def __init__(self, bounds: Bounds, connection: socket.socket, *given: Any, **named: Any) -> None:
        super().__init__(connection, *given, **named)
        self.fp.close()
        self.fp = io.BufferedReader(_Bounded(connection, bounds))


class _Connection(HTTPConnection):
    def __init__(self, bounds: Bounds, host: str, **named: Any) -> None:
        super().__init__(host, **named)
        self.response_class = partial(_Answer, bounds)  # type: ignore[assignment] # only ever called


class _SecureConnection(HTTPSConnection):
    def __init__(self, bounds: Bounds, host: str, **named: Any) -> None:
        super().__init__(host, **named)
        self.response_class = partial(_Answer, bounds)  # type: ignore[assignment] # likewise


class _Http(urllib.request.HTTPHandler):
    def __init__(self, bounds: Bounds) -> None:
        super().__init__()
        self._bounds = bounds

    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(partial(_Connection, self._bounds), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, bounds: Bounds, *, is_dated: bool) -> None:
        super().__init__()
        self._bounds, self._is_dated = bounds, is_dated

    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        context = ssl.create_default_context()
        if not self._is_dated:
            context.verify_flags |= _NO_CHECK_TIME
        return self.do_open(partial(_SecureConnection, self._bounds, context=context), req)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a few redirects, and only to addresses that may be asked."""

    max_redirections = _MOST_REDIRECTS
    max_repeats = 2

    def __init__(self, may_be_asked: Callable[[str], None]) -> None:
        self._may_be_asked = may_be_asked

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> Any:
        """Follow it; see the vendor's, which leaves the connection open where the new address is none."""
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError:
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(self, *arguments: Any) -> urllib.request.Request | None:
        """Check the new address; see the vendor's."""
        arguments[1].close()  # the vendor's would read what comes with a redirect to its end, which it may not have
        self._may_be_asked(arguments[-1])
        return super().redirect_request(*arguments)
