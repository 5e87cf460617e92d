import socket
import ssl

import pytest

from appliance.messaging import reasons


@pytest.mark.parametrize("code", [0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x9A, 0x9B, 0x9C, 0x9D])
def test_refusals_that_a_retry_does_not_cure_are_lasting_and_say_what_to_do(code: int) -> None:
    reason = reasons.of_connection(code)
    assert reason.is_lasting
    assert reason.fix


@pytest.mark.parametrize("code", [0x88, 0x89, 0x8B, 0x97, 0x9F, 0xEE])
def test_others_are_not(code: int) -> None:
    assert not reasons.of_connection(code).is_lasting


def test_a_denied_topic_names_the_right_that_is_missing() -> None:
    assert "edgecam/dev/" in reasons.of_publish(0x87, "edgecam/dev").fix


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "connection refused"),
        (TimeoutError("timed out"), "no answer"),
        (socket.gaierror(-2, "Name or service not known"), "name is not known"),
        (ssl.SSLError(1, "WRONG_VERSION_NUMBER"), "no TLS"),
        (OSError(113, "No route to host"), "No route to host"),
        (ValueError("label too long"), "label too long"),
    ],
)
def test_a_failed_connection_is_told_in_plain_words_with_a_fix(error: OSError | ValueError, words: str) -> None:
    reason = reasons.of_failure(error)
    assert words in reason.what
    assert reason.fix
