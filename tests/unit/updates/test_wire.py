"""What a web server, or the network, does to an update: bounded in bytes and time, resumed, told with a code."""

import random
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from tuf.api.exceptions import DownloadError, SlowRetrievalError

from appliance.core import download
from appliance.updates.bringing import bring
from appliance.updates.errands import Errands
from appliance.updates.fetcher import MetadataFetcher
from appliance.updates.orders import BringAnswer, BringOrder, CheckOrder, Known, Piece, Repository
from appliance.updates.refusals import Code, RefusedError, UnreachedError
from appliance.workbench.publishing.serving import RepositoryServer, serving
from tests.simulators.authority import Authority
from tests.simulators.breaking_proxy import BreakingProxy
from tests.simulators.faked_clock import FakedClock
from tests.simulators.file_server import Served, serve
from tests.simulators.fleet import Fleet, text
from tests.simulators.raw_server import Client, speaking
from tests.simulators.secured import Secured
from tests.system.process import wait_for

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CONTENT = np.random.default_rng(0).integers(0, 256, 100_000, np.uint8).tobytes()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
PAST = 64 << 10
JUNK = b"x" * 8192


def fetched(url: str, folder: Path, content: bytes = CONTENT) -> BringAnswer:
    """Bring one file of a release."""
    known = Known(url=url, sha256=sha256(content).hexdigest(), size=len(content))
    return bring(BringOrder(folder=folder, pieces=(Piece(name="weights.onnx", known=known),)), lambda *_: None)


def refused_as(url: str, folder: Path) -> Code:
    with pytest.raises((UnreachedError, RefusedError)) as raised:
        fetched(url, folder)
    return raised.value.code


def test_fifty_broken_connections_cost_less_than_one_per_cent_more(tmp_path: Path) -> None:
    content = np.random.default_rng(1).integers(0, 256, 8 << 20, np.uint8).tobytes()
    folder = tmp_path / "repository"
    (folder / "metadata").mkdir(parents=True)
    (folder / "targets").mkdir()
    (folder / "targets" / "weights.onnx").write_bytes(content)
    chance = random.Random(3)
    breaks = [chance.randrange(60_000, 240_000) for _ in range(50)]
    assert sum(breaks) < len(content)
    server, codes = RepositoryServer(folder), []
    with serving(server), BreakingProxy(server.server_port, lambda: breaks.pop() if breaks else 0) as proxy:
        while len(codes) < 20:
            try:
                fetched(f"{proxy.url}/targets/weights.onnx", tmp_path / "in", content)
                break
            except UnreachedError as error:
                codes.append(error.code)
        wait_for(lambda: proxy.is_idle, 10, "the end of all connections")
    assert (tmp_path / "in" / "weights.onnx").read_bytes() == content
    assert proxy.broken == 50
    assert set(codes) == {Code.NETWORK}
    print(f"\n{proxy.carried / len(content):.4f} of the size went over the wire, both ways, in {len(codes) + 1} tries")
    assert proxy.carried <= 1.01 * len(content)


def without_length(client: Client) -> None:
    client.say(HEAD + b"\r\n")
    client.say_for_ever(JUNK)


def in_chunks(client: Client) -> None:
    client.say(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    client.say_for_ever(b"2000\r\n" + JUNK + b"\r\n")


def in_trailers(client: Client) -> None:
    client.say(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n")
    client.say_for_ever(b"X: " + JUNK + b"\r\n")


def in_heads(client: Client) -> None:
    client.say(HEAD)
    client.say_for_ever(b"X: " + JUNK + b"\r\n")


def in_one_line(client: Client) -> None:
    client.say(HEAD + b"X: ")
    client.say_for_ever(JUNK)


def in_patience(client: Client) -> None:
    client.say_for_ever(b"HTTP/1.1 100 Continue\r\nX: " + JUNK + b"\r\n\r\n")


def behind_a_redirect(client: Client) -> None:
    client.say(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n\r\n")
    client.say_for_ever(JUNK)


ENDLESS = {
    without_length: Code.ENDLESS,
    in_chunks: Code.ENDLESS,
    in_trailers: Code.ENDLESS,
    in_heads: Code.ENDLESS,
    in_one_line: Code.NETWORK,
    in_patience: Code.ENDLESS,
    behind_a_redirect: Code.SERVER,
}


@pytest.mark.parametrize("speak", ENDLESS)
def test_a_file_without_end_is_left_at_most_64_kib_past_its_size(
    tmp_path: Path, speak: Callable[[Client], None]
) -> None:
    with speaking(speak) as told:
        assert refused_as(f"{told.url}/weights.onnx", tmp_path) is ENDLESS[speak]
    assert max(told.sent) <= len(CONTENT) + PAST
    assert len(told.sent) <= 7


@pytest.mark.parametrize("speak", ENDLESS)
def test_metadata_without_end_is_left_at_most_64_kib_past_its_bound(speak: Callable[[Client], None]) -> None:
    bound = 16_384
    with speaking(speak) as told, pytest.raises(DownloadError):
        MetadataFetcher().download_bytes(f"{told.url}/metadata/timestamp.json", bound)
    assert max(told.sent) <= bound + PAST


def test_a_length_that_is_too_large_is_believed_and_nothing_read(tmp_path: Path) -> None:
    def promise(client: Client) -> None:
        client.say(HEAD + b"Content-Length: 1000000000\r\n\r\n")
        client.say_for_ever(JUNK)

    with speaking(promise) as told:
        assert refused_as(f"{told.url}/weights.onnx", tmp_path) is Code.ENDLESS
    assert max(told.sent) <= 2 * len(JUNK)


def drips_content(client: Client) -> None:
    client.say(HEAD + b"Content-Length: 100000\r\n\r\n")
    client.say_for_ever(b"x", 0.01)


def drips_a_head(client: Client) -> None:
    client.say(HEAD + b"X: ")
    client.say_for_ever(b"x", 0.01)


def drips_a_chunk_s_size(client: Client) -> None:
    client.say(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    client.say_for_ever(b"0", 0.01)


@pytest.mark.parametrize("speak", [drips_content, drips_a_head, drips_a_chunk_s_size])
def test_a_server_that_drips_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speak: Callable[[Client], None]
) -> None:
    monkeypatch.setattr(download, "_PATIENCE", 0.3)
    with speaking(speak) as told:
        assert refused_as(f"{told.url}/weights.onnx", tmp_path) is Code.SLOW
        fetcher = MetadataFetcher(longest=0.3)
        with pytest.raises(SlowRetrievalError):
            fetcher.download_bytes(f"{told.url}/timestamp.json", 16_384)
        assert fetcher.trouble is not None
        assert fetcher.trouble.code is Code.SLOW
    assert max(told.took) < 5.0


def test_a_server_that_says_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    with speaking(lambda client: client.say_for_ever(b"", 0.05)) as told:
        assert refused_as(f"{told.url}/weights.onnx", tmp_path) is Code.NETWORK


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 429, 500, 502, 503])
def test_what_a_server_refuses_is_told_with_its_status(tmp_path: Path, status: int) -> None:
    with (
        serve(Served(CONTENT, status=status)) as url,
        pytest.raises(UnreachedError, match=f"answers {status}") as raised,
    ):
        fetched(url, tmp_path)
    assert raised.value.code is Code.SERVER
    assert "model add" not in str(raised.value)


def portal(client: Client) -> None:
    if client.path == "/login":
        client.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 4\r\n\r\n<ht>")
    else:
        client.say(b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n")


def wants_somebody_to_log_in(client: Client) -> None:
    client.say(b"HTTP/1.1 511 Network Authentication Required\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("speak", [portal, wants_somebody_to_log_in])
def test_a_captive_portal_is_told_as_one(tmp_path: Path, speak: Callable[[Client], None]) -> None:
    with speaking(speak) as told:
        assert refused_as(f"{told.url}/weights.onnx", tmp_path) is Code.PORTAL
        fetcher = MetadataFetcher()
        with pytest.raises(DownloadError, match="log in"):
            fetcher.download_bytes(f"{told.url}/timestamp.json", 16_384)
        assert fetcher.trouble is not None
        assert fetcher.trouble.code is Code.PORTAL


def test_a_redirect_is_followed_and_one_in_circles_or_to_another_protocol_is_not(tmp_path: Path) -> None:
    with serve(Served(CONTENT, redirects="/elsewhere")) as url:
        fetched(url, tmp_path / "in")
    assert (tmp_path / "in" / "weights.onnx").read_bytes() == CONTENT
    with serve(Served(CONTENT, redirects="/loop")) as url:
        assert refused_as(url, tmp_path / "loop") is Code.SERVER
        with pytest.raises(DownloadError):
            MetadataFetcher().download_bytes(url, 16_384)
    for target in ("ftp://127.0.0.1/weights.onnx", "file:///etc/passwd", "data:,x"):
        with serve(Served(CONTENT, redirects=target)) as url:
            assert refused_as(url, tmp_path / "other") in {Code.NETWORK, Code.SERVER}
            with pytest.raises(DownloadError):
                MetadataFetcher().download_bytes(url, 16_384)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_what_is_no_address_leaves_no_connection_open(tmp_path: Path, status: int) -> None:
    is_gone = threading.Event()

    def lead(client: Client) -> None:
        with suppress(ConnectionResetError):  # it is gone already
            client.say(b"HTTP/1.1 %d Moved\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n" % status)
        if client.is_gone_within(10.0):
            is_gone.set()

    with speaking(lead) as told:
        # what was raised holds all that has to do with the answer, so that nothing closes it by chance
        with pytest.raises(UnreachedError, match="Invalid IPv6") as raised:
            fetched(f"{told.url}/weights.onnx", tmp_path)
        assert is_gone.wait(5.0), raised
    assert raised.value.code is Code.NETWORK


def test_another_part_than_was_asked_for_begins_anew_and_a_part_of_what_was_asked_whole_is_refused(
    tmp_path: Path,
) -> None:
    served = Served(CONTENT, cut_after=[40_000, 0])
    with serve(served) as url:
        assert refused_as(url, tmp_path) is Code.NETWORK
        served.wrong_range = True
        fetched(url, tmp_path)
    assert (tmp_path / "weights.onnx").read_bytes() == CONTENT
    head = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/100000\r\nContent-Length: 5\r\n\r\n12345"
    with speaking(lambda client: client.say(head)) as told:
        assert refused_as(f"{told.url}/weights.onnx", tmp_path / "again") is Code.NETWORK


def test_a_fleet_is_reached_through_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def proxy(client: Client) -> None:
        asked.append(client.request.split(b"\r\n")[0])
        if client.request.startswith(b"CONNECT"):
            client.say(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        else:
            client.say(HEAD + b"Content-Length: 100000\r\n\r\n" + CONTENT)

    monkeypatch.delenv("no_proxy", raising=False)
    with speaking(proxy) as told:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, told.url)
        fetched("http://fleet.example/weights.onnx", tmp_path)
        assert MetadataFetcher().download_bytes("http://fleet.example/1.json", 200_000) == CONTENT
        assert refused_as("https://fleet.example/weights.onnx", tmp_path / "tls") is Code.NETWORK
    first, second, tunnel = asked
    assert first.startswith(b"GET http://fleet.example/weights.onnx ")
    assert second.startswith(b"GET http://fleet.example/1.json ")
    assert tunnel.startswith(b"CONNECT fleet.example:443 ")


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    folder = tmp_path / "authority"
    folder.mkdir()
    authority = Authority(folder)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    return authority


def asked(fleet: Fleet, url: str, folder: Path, *, is_dated: bool) -> None:
    repository = Repository(url=url, root=fleet.root, channel="stable", model="persons")
    Errands(threading.Event()).check(CheckOrder(repository=repository, folder=folder, now=text(NOW), is_dated=is_dated))


YEAR = 365.25 * 86_400
SINCE_1970 = datetime.now(UTC).timestamp()


@pytest.mark.parametrize(
    ("wrong_s", "why"), [(60.0 - SINCE_1970, "not yet valid"), (14 * YEAR, "expired")], ids=["1970", "2040"]
)
def test_a_device_without_a_clock_asks_over_https_and_one_whose_clock_is_trusted_does_not(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong_s: float, why: str
) -> None:
    fleet, pair = Fleet(tmp_path / "fleet", NOW), authority.issue("fleet", hosts="IP:127.0.0.1")
    clock = FakedClock(tmp_path, wrong_s=wrong_s, synced=False)
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)
    with Secured(fleet.folder, pair.certificate, pair.key) as secured:
        asked(fleet, secured.url, tmp_path / "trust", is_dated=False)
        with pytest.raises(UnreachedError, match=why) as raised:
            asked(fleet, secured.url, tmp_path / "trust", is_dated=True)
    assert raised.value.code is Code.CERTIFICATE


def test_without_a_clock_a_certificate_is_still_of_a_known_issuer_and_for_the_host(
    authority: Authority, tmp_path: Path
) -> None:
    fleet = Fleet(tmp_path / "fleet", NOW)
    other = authority.issue("other", hosts="DNS:elsewhere.example")
    with Secured(fleet.folder, other.certificate, other.key) as secured:
        with pytest.raises(UnreachedError, match="IP address mismatch") as raised:
            asked(fleet, secured.url, tmp_path / "trust", is_dated=False)
        assert raised.value.code is Code.CERTIFICATE
    (tmp_path / "stranger").mkdir()
    stranger = Authority(tmp_path / "stranger", "Stranger").issue("fleet", hosts="IP:127.0.0.1")
    with (
        Secured(fleet.folder, stranger.certificate, stranger.key) as secured,
        pytest.raises(UnreachedError, match="local issuer") as raised,
    ):
        asked(fleet, secured.url, tmp_path / "trust", is_dated=False)
    assert raised.value.code is Code.CERTIFICATE
