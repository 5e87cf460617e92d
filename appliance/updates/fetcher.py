"""Brings the fleet's signed metadata: small files over HTTP, bounded in bytes and in time."""

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from typing import Final

from tuf.api.exceptions import DownloadError, DownloadHTTPError, SlowRetrievalError
from tuf.ngclient import FetcherInterface

TIMEOUT: Final = 20.0
"""Seconds without a byte after which a server is taken for gone."""

LONGEST: Final = 120.0
"""Seconds for one file: the largest has 5 MB, and a server that drips holds up no more than this."""

_CHUNK: Final = 16 << 10


class MetadataFetcher(FetcherInterface):
    """Asks a web server for metadata; the caller bounds the bytes.

    Args:
        longest: Seconds for one file.
    """

    def __init__(self, longest: float = LONGEST) -> None:
        self._longest = longest

    def _fetch(self, url: str) -> Iterator[bytes]:
        """Give a file's bytes as they come.

        Raises:
            DownloadHTTPError: The server answers with an error.
            DownloadError: It cannot be reached, or the answer is compressed, which would make its bound worthless.
        """
        if not url.startswith(("https://", "http://")):
            raise DownloadError(f"{url} is not asked: a fleet is reached by https:// or http://")
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            url, headers={"User-Agent": "edgecam", "Accept-Encoding": "identity"}
        )
        try:
            answer = urllib.request.urlopen(request, timeout=min(TIMEOUT, self._longest))  # noqa: S310 - likewise
        except urllib.error.HTTPError as error:
            error.close()
            raise DownloadHTTPError(f"{url} answers {error.code} {error.reason}", error.code) from error
        except (OSError, HTTPException) as error:
            raise DownloadError(f"{url} cannot be reached: {getattr(error, 'reason', error)}") from error
        return self._chunks(url, answer)

    def _chunks(self, url: str, answer: "urllib.request._UrlopenRet") -> Iterator[bytes]:
        until = time.monotonic() + self._longest
        with answer:
            encoding = answer.headers.get("Content-Encoding", "identity")
            if encoding != "identity":
                raise DownloadError(f"{url} comes as {encoding}, which was not asked for; is there a proxy between?")
            while True:
                try:
                    chunk = answer.read1(_CHUNK)
                except (OSError, HTTPException) as error:
                    raise DownloadError(f"{url} stopped: {error}") from error
                if not chunk:
                    return
                yield chunk
                if time.monotonic() > until:
                    raise SlowRetrievalError(f"{url} took more than {self._longest:g} s; is the link too slow?")
