"""A real HTTP server on loopback that serves one file, and can be told to do it badly."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.simulators.listening import answering


@dataclass
class Served:
    """What is served, and how.

    Attributes:
        content: The file.
        tag: Its ETag; empty: none.
        cut_after: Bytes of an answer after which the connection is cut; taken from the front, one an answer.
        promised: Content-Length in place of the true one; -1: none.
        has_ranges: Parts are given.
        wrong_range: Parts are given from another place than was asked.
        redirects: ``/file`` leads here; ``/loop`` to itself.
        status: In place of 200.
        reason: What is said beside it; None: the usual.
        asked: Path and Range of each request.
    """

    content: bytes
    tag: str = '"one"'
    cut_after: list[int] = field(default_factory=list)
    promised: int | None = None
    has_ranges: bool = True
    wrong_range: bool = False
    redirects: str = ""
    status: int = 200
    reason: str | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def serve(served: Served) -> Iterator[str]:
    """Serve until the end of the block; gives the address of the file."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, served)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with answering(Handler) as url:
        yield f"{url}/file.onnx"


def answer(handler: BaseHTTPRequestHandler, served: Served) -> None:
    """Answer one request."""
    wanted = handler.headers.get("Range", "")
    served.asked.append((handler.path, wanted))
    if handler.path == "/loop" or (served.redirects and handler.path == "/file.onnx"):
        handler.send_response(302)
        handler.send_header("Location", served.redirects if handler.path == "/file.onnx" else "/loop")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    if served.status != 200:
        handler.send_error(served.status, served.reason)
        return
    start = int(found[1]) if (found := re.fullmatch(r"bytes=(\d+)-", wanted)) and served.has_ranges else 0
    if handler.headers.get("If-Range", served.tag) != served.tag:
        start = 0
    if start and start >= len(served.content):
        handler.send_error(416)
        return
    body = served.content[start:]
    handler.send_response(206 if start else 200)
    if start:
        first = start + served.wrong_range
        handler.send_header("Content-Range", f"bytes {first}-{len(served.content) - 1}/{len(served.content)}")
    if served.tag:
        handler.send_header("ETag", served.tag)
    if served.promised != -1:
        handler.send_header("Content-Length", str(len(body) if served.promised is None else served.promised))
    handler.end_headers()
    cut = served.cut_after.pop(0) if served.cut_after else len(body)
    handler.wfile.write(body[:cut])
    handler.wfile.flush()
    handler.close_connection = True
