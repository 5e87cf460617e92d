"""Where a repository is published: a folder, or a bucket of an object store that speaks S3."""

import hashlib
import hmac
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote, urlsplit

from appliance.core.errors import ConfigError, StorageError, UnavailableError
from appliance.core.files import make_folder, write_atomically
from appliance.workbench.publishing.repository import MOST_METADATA

TIMEOUT: Final = 60.0
_NOT_FOUND = 404
_MOVED = range(300, 400)
_EMPTY = hashlib.sha256(b"").hexdigest()


class Store(Protocol):
    """A place of published files, by their path within the repository."""

    def size(self, path: str) -> int | None:
        """Give how many bytes a file has there; None: it is not there."""

    def read(self, path: str) -> bytes | None:
        """Give metadata, whole up to the size that devices take; None: it is not there."""

    def write(self, path: str, content: bytes, cache: str) -> None:
        """Put a file; nobody sees half of it."""


class FolderStore:
    """A folder that a web server gives from.

    Args:
        folder: Made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def size(self, path: str) -> int | None:
        """See `Store`."""
        file = self._folder / path
        return file.stat().st_size if file.is_file() else None

    def read(self, path: str) -> bytes | None:
        """See `Store`.

        Raises:
            StorageError: It cannot be read.
        """
        try:
            return (self._folder / path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"cannot read {self._folder / path}: {error.strerror or error}") from error

    def write(self, path: str, content: bytes, cache: str) -> None:  # noqa: ARG002 - its web server says for how long
        """See `Store`.

        Raises:
            StorageError: It cannot be written.
        """
        make_folder((self._folder / path).parent)
        write_atomically(self._folder / path, content)


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Of an account of an object store; never shown.

    Attributes:
        key_id: Its name.
        secret: Its secret.
        token: Of a session; empty: none.
        region: Where the bucket is.
    """

    key_id: str
    secret: str
    token: str = ""
    region: str = "us-east-1"

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> "Credentials":
        """Take them from where the vendors' own tools do.

        Raises:
            ConfigError: They are not there.
        """
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        if missing := [name for name in names if not environment.get(name)]:
            raise ConfigError(f"the environment lacks {' and '.join(missing)}; a bucket is not written to without them")
        region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
        key_id, secret = (environment[name] for name in names)
        return cls(key_id, secret, environment.get("AWS_SESSION_TOKEN", ""), region)


def signature(
    method: str, url: str, headers: Mapping[str, str], digest: str, *, credentials: Credentials, moment: datetime
) -> str:
    """Give the Authorization header of a request to S3: Signature Version 4. Pure.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html

    Args:
        method: Of the request.
        url: Its path is quoted as it is sent; without a query.
        headers: All that are signed, ``host`` and ``x-amz-date`` among them.
        digest: SHA-256 of the body, hexadecimal.
        credentials: Of the account.
        moment: As ``x-amz-date`` says.
    """
    named = sorted((name.lower(), value.strip()) for name, value in headers.items())
    signed = ";".join(name for name, _ in named)
    lines = "".join(f"{name}:{value}\n" for name, value in named)
    request = f"{method}\n{urlsplit(url).path}\n\n{lines}\n{signed}\n{digest}"
    scope = f"{moment:%Y%m%d}/{credentials.region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment:%Y%m%dT%H%M%SZ}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    found = hmac.new(key, text.encode(), "sha256").hexdigest()
    return f"AWS4-HMAC-SHA256 Credential={credentials.key_id}/{scope},SignedHeaders={signed},Signature={found}"


class _StayingHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: a signature is for one host, and a session's token for nobody else's eyes."""

    def redirect_request(self, *_: Any) -> None:
        return None


class BucketStore:
    """A bucket, by plain HTTP requests: HEAD, GET and PUT of one object each.

    Args:
        bucket: Its name.
        prefix: Before all paths; empty: none.
        endpoint: Where the store is: ``https://s3.eu-central-1.amazonaws.com``, ``http://127.0.0.1:9000``.
        credentials: Of the account.
        now: UTC.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        endpoint: str,
        credentials: Credentials,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if not endpoint.startswith(("https://", "http://")):
            raise ConfigError(f"--endpoint {endpoint} is no address; accepted: https://HOST")
        self._start = "/".join(filter(None, (endpoint.rstrip("/"), bucket, prefix.strip("/"))))
        self._credentials, self._now = credentials, now
        self._opener = urllib.request.build_opener(_StayingHere)

    def size(self, path: str) -> int | None:
        """See `Store`.

        Raises:
            UnavailableError: The store cannot be reached, or refuses.
        """
        found = self._ask("HEAD", path, b"", {})
        return None if found is None else int(found[0].get("content-length", "-1"))

    def read(self, path: str) -> bytes | None:
        """See `Store`.

        Raises:
            UnavailableError: As for `size`.
        """
        found = self._ask("GET", path, b"", {})
        return None if found is None else found[1]

    def write(self, path: str, content: bytes, cache: str) -> None:
        """See `Store`.

        Raises:
            UnavailableError: As for `size`.
        """
        kind = "application/json" if path.endswith(".json") else "application/octet-stream"
        if self._ask("PUT", path, content, {"cache-control": cache, "content-type": kind}) is None:
            raise UnavailableError(f"{self._start} is not there; is the bucket made, and the region right?")

    def _ask(
        self, method: str, path: str, content: bytes, headers: dict[str, str]
    ) -> tuple[dict[str, str], bytes] | None:
        """Give an answer's headers and body; None: there is no such object."""
        url, moment = f"{self._start.partition('://')[0]}://{_quoted(self._start, path)}", self._now()
        digest = hashlib.sha256(content).hexdigest() if content else _EMPTY
        sent = headers | {
            "host": urlsplit(url).netloc,
            "x-amz-content-sha256": digest,
            "x-amz-date": f"{moment:%Y%m%dT%H%M%SZ}",
        }
        if self._credentials.token:
            sent["x-amz-security-token"] = self._credentials.token
        authorization = signature(method, url, sent, digest, credentials=self._credentials, moment=moment)
        body = content if method == "PUT" else None
        request = urllib.request.Request(url, data=body, headers=sent, method=method)  # noqa: S310 - checked above
        request.add_header("Authorization", authorization)
        try:
            with self._opener.open(request, timeout=TIMEOUT) as answer:
                return {name.lower(): value for name, value in answer.headers.items()}, answer.read(MOST_METADATA + 1)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == _NOT_FOUND:
                return None
            if error.code in _MOVED:
                raise UnavailableError(
                    f"{url} answers {error.code}: the bucket is somewhere else; set AWS_REGION to its region, or give "
                    "its --endpoint"
                ) from error
            raise UnavailableError(
                f"{url} answers {error.code} {error.reason}; may the account write there, and is the clock right?"
            ) from error
        except (OSError, HTTPException) as error:
            raise UnavailableError(f"{url} cannot be reached: {getattr(error, 'reason', error)}") from error


def _quoted(start: str, path: str) -> str:
    """Give host and path as they are signed: all but what RFC 3986 reserves nothing for is quoted."""
    host, _, rest = start.partition("://")[2].partition("/")
    return f"{host}/{quote(f'{rest}/{path}', safe='/-_.~')}"


def open_store(target: str, endpoint: str | None, environment: Mapping[str, str] = os.environ) -> Store:
    """Give where to publish.

    Args:
        target: A folder, or ``s3://BUCKET/PREFIX``.
        endpoint: Of the object store; None: Amazon's, of the region that the environment names.
        environment: With the credentials.

    Raises:
        ConfigError: It is neither, or credentials are missing.
    """
    scheme, is_url, rest = target.partition("://")
    if not is_url:
        return FolderStore(Path(target))
    if scheme != "s3" or not rest:
        raise ConfigError(f"{target} is nowhere to publish to; accepted: a folder, s3://BUCKET, s3://BUCKET/PREFIX")
    credentials = Credentials.of_environment(environment)
    bucket, _, prefix = rest.partition("/")
    return BucketStore(bucket, prefix, endpoint or f"https://s3.{credentials.region}.amazonaws.com", credentials)
