"""Brings the fleet's signed metadata: small files over HTTP or from a folder, bounded in bytes and in time."""

from collections.abc import Generator
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError, SlowRetrievalError
from tuf.ngclient import FetcherInterface

from appliance.core.errors import UnavailableError
from appliance.core.web import Bounds, EndlessError, SlowError, StatusError, ask
from appliance.updates.places import local_path
from appliance.updates.troubles import unreached

if TYPE_CHECKING:
    from appliance.updates.refusals import UnreachedError

TIMEOUT: Final = 20.0
"""Seconds without a byte after which a server is taken for gone."""

LONGEST: Final = 120.0
"""Seconds for one file: the largest has 5 MB, and a server that drips holds up no more than this."""

MOST: Final = 5_000_000
"""Bytes of the largest file of metadata."""

_CHUNK: Final = 16 << 10


class MetadataFetcher(FetcherInterface):
    """Asks a web server for metadata; the caller bounds the bytes.

    Args:
        longest: Seconds for one file.
        folder: What addresses with ``file://`` must lie in, of a fleet that is brought by hand; None: none is read.
        is_dated: The server's certificate is held against the clock; see `core.web.ask`.

    Attributes:
        trouble: Why the last file could not be had, where a server is the reason.
    """

    def __init__(self, longest: float = LONGEST, folder: Path | None = None, *, is_dated: bool = True) -> None:
        self._longest, self._folder, self._is_dated = longest, folder, is_dated
        self.trouble: UnreachedError | None = None

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Give a file's content; the library's own way would write it to the disk first.

        Raises:
            DownloadError: As for the library.
            DownloadLengthMismatchError: There is more of it: not more than a chunk beyond is read.
        """
        parts, size = [], 0
        with closing(self._bytes(url, max_length)) as chunks:
            for chunk in chunks:
                size += len(chunk)
                if size > max_length:
                    raise DownloadLengthMismatchError(f"{url} sends more than {max_length} bytes")
                parts.append(chunk)
        return b"".join(parts)

    def _fetch(self, url: str) -> Generator[bytes, None, None]:
        return self._bytes(url, MOST)

    def _bytes(self, url: str, most: int) -> Generator[bytes, None, None]:
        """Give a file's bytes as they come.

        Raises:
            DownloadHTTPError: The server answers with an error.
            DownloadLengthMismatchError: There is no end of it.
            SlowRetrievalError: It takes too long.
            DownloadError: It cannot be reached, or the answer is compressed, which would make its bound worthless.
        """
        if self._folder is not None and (path := local_path(url)) is not None:
            yield from self._read(url, path)
            return
        _check_address(url)
        bounds = Bounds(most, min(TIMEOUT, self._longest), within=self._longest)
        headers = {"User-Agent": "edgecam", "Accept-Encoding": "identity"}
        self.trouble = None
        try:
            with ask(url, headers, bounds, may_be_asked=_check_address, is_dated=self._is_dated) as answer:
                yield from self._chunks(url, answer)
        except EndlessError as error:
            raise DownloadLengthMismatchError(str(error)) from error
        except UnavailableError as error:
            self.trouble = unreached(error)
            if isinstance(error, StatusError):
                raise DownloadHTTPError(str(error), error.status) from error
            raise (SlowRetrievalError if isinstance(error, SlowError) else DownloadError)(str(error)) from error

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

    def _chunks(self, url: str, answer: HTTPResponse) -> Generator[bytes, None, None]:
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


def _check_address(url: str) -> None:
    if not url.startswith(("https://", "http://")):
        raise DownloadError(f"{url} is not asked: a fleet is reached by https:// or http://")
