import errno
import socket
import ssl

import pytest

from appliance.messaging import reasons
from appliance.messaging.reasons import Pace


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


CONNACK = [0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B]
CONNACK += [0x9C, 0x9D, 0x9F]
DISCONNECT = [0x8B, 0x8D, 0x8E, 0x8F, 0x93, 0x94, 0x96, 0x98, 0x9E, 0xA0, 0xA1, 0xA2]


@pytest.mark.parametrize("code", CONNACK + DISCONNECT, ids=hex)
def test_every_code_of_the_standard_has_words_and_a_pace(code: int) -> None:
    reason = reasons.of_connection(code)
    assert reason.what
    assert isinstance(reason.pace, Pace)


@pytest.mark.parametrize(
    ("code", "pace"),
    [
        (0x87, Pace.LASTING),
        (0x8A, Pace.BANNED),
        (0x89, Pace.BUSY),
        (0x97, Pace.BUSY),
        (0x9F, Pace.BUSY),
        (0x88, Pace.FLEET),
        (0x8B, Pace.FLEET),
        (0x8E, Pace.TAKEN),
        (0x9D, Pace.LASTING),
        (0x8D, Pace.QUICK),
    ],
)
def test_what_a_refusal_means_decides_how_soon_it_is_tried_again(code: int, pace: Pace) -> None:
    assert reasons.of_connection(code).pace is pace


def test_a_server_that_is_pointed_to_is_shown_with_nothing_in_it_that_a_terminal_obeys() -> None:
    reason = reasons.of_connection(0x9D, "evil\x1b[31m" + "x" * 1000)
    assert "\x1b" not in reason.what
    assert len(reason.what) < 200
    assert reason.is_lasting


@pytest.mark.parametrize(
    ("code", "words", "fix"),
    [
        (9, "not valid yet", "clock"),
        (10, "has expired", "renew"),
        (18, "not trusted", "ca_file"),
        (20, "not trusted", "ca_file"),
        (62, "for another name", "broker"),
        (64, "for another name", "broker"),
    ],
)
def test_each_way_in_which_a_certificate_is_wrong_has_a_name_and_a_fix(code: int, words: str, fix: str) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "unable to get local issuer certificate"
    reason = reasons.of_failure(error)
    assert words in reason.what
    assert fix in reason.fix
    assert reason.is_about_papers


@pytest.mark.parametrize(
    ("alert", "words"),
    [
        (
            "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required (_ssl.c:2590)",
            "wants a certificate",
        ),
        ("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca (_ssl.c:2590)", "does not know who signed"),
        ("[SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] sslv3 alert certificate expired", "has expired"),
        ("[SSL: SSLV3_ALERT_CERTIFICATE_REVOKED] sslv3 alert certificate revoked", "was revoked"),
        ("[SSL: SSLV3_ALERT_BAD_CERTIFICATE] sslv3 alert bad certificate", "does not accept this device's certificate"),
        ("[SSL: TLSV1_ALERT_INTERNAL_ERROR] tlsv1 alert internal error", "ended the TLS connection"),
    ],
)
def test_what_a_broker_says_of_this_devices_certificate_is_named(alert: str, words: str) -> None:
    reason = reasons.of_alert(alert)
    assert reason is not None
    assert words in reason.what
    assert reason.is_about_papers


def test_a_reset_is_no_alert() -> None:
    assert reasons.of_alert("[Errno 104] Connection reset by peer") is None


def test_a_network_that_failed_is_told_from_a_broker_that_hung_up() -> None:
    assert reasons.of_end(errno.ETIMEDOUT).pace is Pace.QUICK
    assert reasons.of_end(errno.ECONNRESET).pace is Pace.FLEET
    assert reasons.of_end(0).pace is Pace.FLEET
