import socket
import threading
import time
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
