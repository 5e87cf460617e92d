"""Brings the fleet's signed metadata: small files over HTTP or from a folder, bounded in bytes and in time."""

import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Final

from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError, SlowRetrievalError
from tuf.ngclient import FetcherInterface

from appliance.core.download import retry_after
from appliance.updates.places import local_path

TIMEOUT: Final = 20.0
"""Seconds without a byte after which a server is taken for gone."""

LONGEST: Final = 120.0
"""Seconds for one file: the largest has 5 MB, and a server that drips holds up no more than this."""

_CHUNK: Final = 16 << 10


class MetadataFetcher(FetcherInterface):
    """Asks a web server for metadata; the caller bounds the bytes.

    Args:
        longest: Seconds for one file.
        folder: What addresses with ``file://`` must lie in, of a fleet that is brought by hand; None: none is read.

    Attributes:
        retry_after: Seconds for which the server last asked to be left alone; 0: it did not.
    """

    def __init__(self, longest: float = LONGEST, folder: Path | None = None) -> None:
        self._longest, self._folder = longest, folder
        self.retry_after = 0.0

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Give a file's content; the library's own way would write it to the disk first.

        Raises:
            DownloadError: As for the library.
            DownloadLengthMismatchError: There is more of it: not more than a chunk beyond is read.
        """
        parts, size = [], 0
        with closing(self._fetch(url)) as chunks:
            for chunk in chunks:
                size += len(chunk)
                if size > max_length:
                    raise DownloadLengthMismatchError(f"{url} sends more than {max_length} bytes")
                parts.append(chunk)
        return b"".join(parts)

    def _fetch(self, url: str) -> Generator[bytes, None, None]:
        """Give a file's bytes as they come.

        Raises:
            DownloadHTTPError: The server answers with an error.
            DownloadError: It cannot be reached, or the answer is compressed, which would make its bound worthless.
        """
        if self._folder is not None and (path := local_path(url)) is not None:
            return self._read(url, path)
        if not url.startswith(("https://", "http://")):
            raise DownloadError(f"{url} is not asked: a fleet is reached by https:// or http://")
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            url, headers={"User-Agent": "edgecam", "Accept-Encoding": "identity"}
        )
        try:
            answer = urllib.request.urlopen(request, timeout=min(TIMEOUT, self._longest))  # noqa: S310 - likewise
        except urllib.error.HTTPError as error:
            error.close()
            self.retry_after = retry_after(error.headers.get("Retry-After", ""))
            raise DownloadHTTPError(f"{url} answers {error.code} {error.reason}", error.code) from error
        except (OSError, HTTPException) as error:
            raise DownloadError(f"{url} cannot be reached: {getattr(error, 'reason', error)}") from error
        return self._chunks(url, answer)

    def _read(self, url: str, path: Path) -> Generator[bytes, None, None]:
        if self._folder is None or not path.resolve().is_relative_to(self._folder.resolve()):
            raise DownloadError(f"{url} lies outside of {self._folder}")
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
        except FileNotFoundError as error:
            raise DownloadHTTPError(f"{path} is not there", HTTPStatus.NOT_FOUND) from error
        except OSError as error:
            raise DownloadError(f"cannot read {path}: {error.strerror or error}") from error

    def _chunks(self, url: str, answer: "urllib.request._UrlopenRet") -> Generator[bytes, None, None]:
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
