from pathlib import Path

import pytest

from appliance.config import MessagingSettings
from appliance.core.errors import ConfigError
from appliance.messaging.credentials import Credentials
from tests.simulators.authority import Authority

HUSH, OLD, NEW = "hush", "old", "new"


class Hand:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def credentials(broker: str = "mqtt://127.0.0.1", hand: Hand | None = None, **settings: object) -> Credentials:
    return Credentials(
        MessagingSettings.model_validate({"broker": broker, **settings}),
        is_secure=broker.startswith("mqtts"),
        monotonic=hand or Hand(),
    )


def write(secret: Path, text: str) -> None:
    """Replace a file as a careful tool does: another one takes its place."""
    new = secret.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o600)
    new.rename(secret)


def test_a_password_that_cannot_be_read_names_the_setting(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hush")
    secret.chmod(0o644)
    with pytest.raises(ConfigError, match=r"messaging\.password.*chmod 600") as caught:
        credentials(username="camera", password={"file": str(secret)}).choose()
    assert "hush" not in str(caught.value)


def test_a_private_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_text("")
    key.write_text("")
    key.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        credentials("mqtts://127.0.0.1", tls={"cert_file": str(certificate), "key_file": str(key)}).choose()


def test_certificates_that_are_missing_or_broken_are_told(tmp_path: Path) -> None:
    missing = tmp_path / "none.pem"
    with pytest.raises(ConfigError, match=r"certificates cannot be used: ca_file .*none\.pem"):
        credentials("mqtts://127.0.0.1", tls={"ca_file": str(missing)}).choose()


def test_a_key_of_another_certificate_is_told(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other = authority.issue("one"), authority.issue("other")
    with pytest.raises(ConfigError, match="does not belong to cert_file"):
        credentials("mqtts://127.0.0.1", tls={"cert_file": str(one.certificate), "key_file": str(other.key)}).choose()


def test_a_key_with_a_passphrase_is_told_and_no_terminal_is_asked(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("device", passphrase=HUSH)
    with pytest.raises(ConfigError, match="without a passphrase"):
        credentials("mqtts://127.0.0.1", tls={"cert_file": str(pair.certificate), "key_file": str(pair.key)}).choose()


def test_the_user_name_too_may_be_kept_in_a_file_and_neither_is_shown(tmp_path: Path) -> None:
    name, secret = tmp_path / "name", tmp_path / "password"
    write(name, "camera-7\n")
    write(secret, "hush\n")
    papers = credentials(username_from={"file": str(name)}, password={"file": str(secret)}).choose()
    assert (papers.username, papers.password) == ("camera-7", "hush")
    assert "hush" not in repr(papers)


def test_a_systemd_credential_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "broker").write_text("hush")
    assert credentials(username="camera", password={"credential": "broker"}).choose().password == HUSH


def test_a_file_that_is_replaced_or_pointed_elsewhere_is_noticed_and_one_that_is_not_is_not(tmp_path: Path) -> None:
    secret, elsewhere = tmp_path / "password", tmp_path / "elsewhere"
    write(elsewhere, "hush")
    secret.symlink_to(elsewhere)
    mine = credentials(username="camera", password={"file": str(secret)})
    assert not mine.have_changed(), "not before they were looked at either"
    mine.choose()
    assert not mine.have_changed()
    write(elsewhere, "hush")
    assert mine.have_changed(), "the same bytes in another file"
    assert mine.check()
    assert not mine.have_changed()
    secret.unlink()
    assert mine.have_changed()


def test_the_old_password_is_kept_until_the_new_one_has_worked(tmp_path: Path) -> None:
    hand, secret = Hand(), tmp_path / "password"
    write(secret, OLD)
    mine = credentials(hand=hand, username="camera", password={"file": str(secret)})
    old = mine.choose()
    mine.worked(old)
    write(secret, NEW)
    new = mine.choose()
    assert new.password == NEW
    assert mine.refused(new, "wrong"), "others are worth a try"
    assert mine.choose().password == OLD
    mine.worked(mine.choose())
    assert mine.complaint == "wrong"
    hand.seconds += Credentials.REFUSED_FOR
    again = mine.choose()
    assert again.password == NEW, "by and by the new one is tried again"
    mine.worked(again)
    assert mine.complaint == ""
    assert not mine.refused(again, "wrong"), "the old one is forgotten"


def test_papers_that_cannot_be_read_leave_the_old_ones_in_use(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    write(secret, OLD)
    mine = credentials(username="camera", password={"file": str(secret)})
    mine.worked(mine.choose())
    write(secret, "\n")
    assert not mine.check()
    assert "is empty" in mine.complaint
    assert mine.choose().password == OLD
    write(secret, NEW)
    assert mine.have_changed()
    assert mine.choose().password == NEW


def test_when_the_old_ones_are_refused_too_the_new_ones_are_next(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    write(secret, OLD)
    mine = credentials(username="camera", password={"file": str(secret)})
    mine.worked(mine.choose())
    write(secret, NEW)
    assert mine.refused(mine.choose(), "not yet")
    assert not mine.refused(mine.choose(), "no longer")
    assert mine.choose().password == NEW


def test_with_verify_off_nothing_is_checked() -> None:
    context = credentials("mqtts://127.0.0.1", tls={"verify": False}).choose().context
    assert context is not None
    assert not context.check_hostname
    assert context.verify_mode.name == "CERT_NONE"
