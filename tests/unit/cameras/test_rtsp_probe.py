import socket
import threading
import time
from collections.abc import Callable
from hashlib import md5, sha256
from typing import Any
from urllib.parse import urlsplit

import pytest

from appliance.cameras.rtsp_probe import MOST_BYTES, Credentials, Verdict, authorise, find_out, judge

# RFC 2617, section 3.5, has user Mufasa and password "Circle Of Life"; realm and qop are the RFC's own
CHALLENGE = (
    'RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm="x"\r\n'
    'WWW-Authenticate: Digest realm="testrealm@host.com", qop="auth", nonce="dcd98b71"\r\n\r\n'
)


@pytest.mark.parametrize(
    ("head", "verdict"),
    [
        ("", Verdict.SILENT),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", Verdict.NOT_RTSP),
        ("SSH-2.0-OpenSSH_9.2\r\n", Verdict.NOT_RTSP),
        ("RTSP/1.0 401 Unauthorized\r\n\r\n", Verdict.UNAUTHORISED),
        ("RTSP/1.0 403 Forbidden\r\n\r\n", Verdict.UNAUTHORISED),
        ("RTSP/1.0 404 Not Found\r\n\r\n", Verdict.NOT_FOUND),
        ("RTSP/1.0 200 OK\r\n\r\n", Verdict.OTHER),
        ("RTSP/1.0 503 Service Unavailable\r\n\r\n", Verdict.OTHER),
    ],
)
def test_an_answer_is_judged_by_its_status(head: str, verdict: Verdict) -> None:
    assert judge(head).verdict is verdict


def test_digest_is_preferred_and_answers_with_a_counter_where_asked() -> None:
    answer = authorise(CHALLENGE, "rtsp://h/cam", Credentials("Mufasa", "Circle Of Life"))
    assert answer.startswith('Digest username="Mufasa", realm="testrealm@host.com"')
    assert "qop=auth, nc=00000001" in answer
    assert "Circle" not in answer


@pytest.mark.parametrize(
    ("parameters", "digest", "counter"),
    [
        ('algorithm=SHA-256, realm="x", nonce="n/=", qop=auth', sha256, "00000001:0a4f113b:auth:"),
        ('algorithm="SHA-256", realm="x", nonce="n/="', sha256, ""),
        ('realm="x",qop=auth,nonce="n/=",algorithm=MD5', md5, "00000001:0a4f113b:auth:"),
        ('realm="x", nonce="n/=", Algorithm=md5', md5, ""),
        ('realm="x", nonce="n/=", qop=auth-int', md5, ""),
    ],
)
def test_digest_is_answered_as_asked_with_or_without_quotes(
    parameters: str, digest: Callable[[bytes], Any], counter: str
) -> None:
    """RFC 7616, section 3.4.1: KD(H(A1), nonce:nc:cnonce:qop:H(A2)); without qop KD(H(A1), nonce:H(A2))."""
    head = f'RTSP/1.0 401 U\r\nWWW-Authenticate: Digest {parameters}, opaque="o"\r\n\r\n'
    answer = authorise(head, "rtsp://h/cam", Credentials("me", "pw"))
    secret, asked = digest(b"me:x:pw").hexdigest(), digest(b"DESCRIBE:rtsp://h/cam").hexdigest()
    expected = digest(f"{secret}:n/=:{counter}{asked}".encode()).hexdigest()
    assert f'response="{expected}"' in answer
    assert 'nonce="n/="' in answer
    assert 'opaque="o"' in answer
    assert ("algorithm=SHA-256" in answer) is (digest is sha256)


def test_of_two_digests_the_one_that_is_known_is_answered() -> None:
    head = (
        'RTSP/1.0 401 U\r\nWWW-Authenticate: Digest algorithm=SHA-512-256, realm="x", nonce="1"\r\n'
        'WWW-Authenticate: Digest realm="x", nonce="2"\r\n\r\n'
    )
    assert 'nonce="2"' in authorise(head, "rtsp://h/cam", Credentials("me", "pw"))


def test_basic_is_answered_as_in_the_rfc() -> None:
    answer = authorise(
        'RTSP/1.0 401 U\r\nWWW-Authenticate: Basic realm="WallyWorld"\r\n',
        "rtsp://h/",
        Credentials("Aladdin", "open sesame"),
    )
    assert answer == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="  # RFC 2617, section 2


def test_an_unknown_kind_of_challenge_is_not_answered() -> None:
    head = "RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n\r\n"
    assert authorise(head, "rtsp://h/", Credentials("a", "b")) == ""


@pytest.mark.parametrize(
    "drip", [b"RTSP/1.0 200 OK\r\nX: " + b"x" * 100_000, b"y"], ids=["endless", "one byte at a time"]
)
def test_an_answer_without_end_is_bounded_in_time_and_size(drip: bytes) -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(1)
                try:
                    while not stop.wait(0.02):
                        connection.sendall(drip)
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        began = time.monotonic()
        finding = find_out(urlsplit(f"rtsp://127.0.0.1:{listener.getsockname()[1]}/cam"), None, 0.5)
        assert time.monotonic() - began < 1.5
        assert len(finding.detail) < MOST_BYTES
        stop.set()
        thread.join(5)
