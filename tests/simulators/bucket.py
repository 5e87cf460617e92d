"""An object store on loopback with one account: PUT, GET and HEAD of objects whose signature is right."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler

from appliance.workbench.publishing.stores import Credentials, signature
from tests.simulators.listening import answering


@dataclass
class Bucket:
    """What is kept.

    Attributes:
        credentials: Of the account.
        objects: Content by path, in the order in which they were put.
        cache: How long each may be kept, by path.
        fail_after: So many objects are taken, and none after them; None: all.
        moved_to: Where reads are sent instead; empty: nowhere.
        asked: Paths that were read.
    """

    credentials: Credentials
    objects: dict[str, bytes] = field(default_factory=dict)
    cache: dict[str, str] = field(default_factory=dict)
    fail_after: int | None = None
    moved_to: str = ""
    asked: list[str] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        return self.fail_after is not None and len(self.objects) >= self.fail_after


@contextmanager
def serve_bucket(bucket: Bucket) -> Iterator[str]:
    """Serve until the end of the block; gives the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if bucket.is_full or not self.is_signed(content):
                self.send_error(503 if bucket.is_full else 403)
                return
            bucket.objects[self.path] = content
            bucket.cache[self.path] = self.headers.get("Cache-Control", "")
            self.give(200, b"")

        def do_GET(self) -> None:
            bucket.asked.append(self.path)
            if bucket.moved_to:
                self.send_response(301)
                self.send_header("Location", f"{bucket.moved_to}{self.path}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if not self.is_signed(b""):
                self.send_error(403)
                return
            content = bucket.objects.get(self.path)
            self.give(404 if content is None else 200, content or b"")

        def do_HEAD(self) -> None:
            self.do_GET()

        def give(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content if self.command == "GET" else b"")

        def is_signed(self, content: bytes) -> bool:
            return is_signed(bucket, self.command, self.path, dict(self.headers.items()), content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with answering(Handler) as url:
        yield url


def is_signed(bucket: Bucket, method: str, path: str, sent: dict[str, str], content: bytes) -> bool:
    """Tell whether a request was signed with the account's secret."""
    headers = {name.lower(): value for name, value in sent.items()}
    told = headers.get("authorization", "")
    found = re.search(r"SignedHeaders=([^,]+),", told)
    if found is None:
        return False
    moment = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    named = {name: headers[name] for name in found[1].split(";")}
    digest = hashlib.sha256(content).hexdigest()
    url = f"http://{headers['host']}{path}"
    return told == signature(method, url, named, digest, credentials=bucket.credentials, moment=moment)
