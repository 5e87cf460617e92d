"""Keys that sign for a fleet."""

import stat
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, SSlibKey

from appliance.core.errors import ConfigError, StorageError, UnsupportedError
from appliance.workbench.publishing.keys import make_key, open_signer, public_of, read_public


def test_a_private_key_is_its_owner_s_alone_and_signs_what_the_public_one_verifies(tmp_path: Path) -> None:
    public = make_key(tmp_path / "one.pem", "")
    assert stat.S_IMODE((tmp_path / "one.pem").stat().st_mode) == 0o600
    signer = open_signer(f"file2:{tmp_path / 'one.pem'}", public_of(f"file2:{tmp_path / 'one.pem'}", None))
    public.verify_signature(signer.sign(b"told"), b"told")


def test_a_key_with_a_passphrase_opens_with_that_one_only(tmp_path: Path) -> None:
    public = make_key(tmp_path / "one.pem", "right")
    assert b"ENCRYPTED" in (tmp_path / "one.pem").read_bytes()
    address = f"file2:{tmp_path / 'one.pem'}"
    asked: list[str] = []

    def ask(what: str) -> str:
        asked.append(what)
        return "right"

    public.verify_signature(open_signer(address, public, ask).sign(b"told"), b"told")
    assert asked == [f"passphrase of {tmp_path / 'one.pem'}"]
    with pytest.raises(ConfigError, match="was the passphrase right"):
        open_signer(address, public, lambda _: "wrong")


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    public = make_key(tmp_path / "one.pem", "")
    (tmp_path / "one.pem").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        open_signer(f"file2:{tmp_path / 'one.pem'}", public)


def test_a_pin_that_cannot_be_had_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Card:
        @classmethod
        def from_priv_key_uri(cls, uri: str, key: SSlibKey, ask: Callable[[str], str]) -> None:
            ask(f"the PIN of {uri} for {key.keyid}")

    def ask(_: str) -> str:
        raise StorageError("cannot read pin: Permission denied")

    public = make_key(tmp_path / "one.pem", "")
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "hsm", Card)
    with pytest.raises(StorageError, match="cannot read pin"):
        open_signer("hsm:2?label=card", public, ask)


def test_a_private_key_of_another_public_one_is_refused(tmp_path: Path) -> None:
    make_key(tmp_path / "one.pem", "")
    other = make_key(tmp_path / "two.pem", "")
    with pytest.raises(ConfigError, match="is not the private key of"):
        open_signer(f"file2:{tmp_path / 'one.pem'}", other)


def test_a_key_is_not_written_over(tmp_path: Path) -> None:
    make_key(tmp_path / "one.pem", "")
    before = (tmp_path / "one.pem").read_bytes()
    with pytest.raises(ConfigError, match="not written over"):
        make_key(tmp_path / "one.pem", "")
    assert (tmp_path / "one.pem").read_bytes() == before


def test_keys_of_other_makers_are_taken_by_their_public_half(tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "card.pub").write_bytes(
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "card.pem").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "card.pem").chmod(0o600)
    public = read_public(tmp_path / "card.pub")
    assert public.scheme == "ecdsa-sha2-nistp256"
    signer = open_signer(f"file2:{tmp_path / 'card.pem'}", public)
    public.verify_signature(signer.sign(b"told"), b"told")


def test_what_is_no_key_is_told_with_what_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "no.pub").write_text("no key", encoding="utf-8")
    with pytest.raises(ConfigError, match="accepted: Ed25519, ECDSA"):
        read_public(tmp_path / "no.pub")
    with pytest.raises(StorageError, match="cannot read"):
        read_public(tmp_path / "missing.pub")
    with pytest.raises(ConfigError, match="known: awskms:, azurekms:, file2:"):
        open_signer("usb:1", make_key(tmp_path / "one.pem", ""))
    with pytest.raises(ConfigError, match="needs --public"):
        public_of("awskms:alias/online", None)


@pytest.mark.skipif(find_spec("pkcs11") is not None, reason="python-pkcs11 is installed")
def test_a_token_whose_library_is_missing_is_told_with_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"pip install 'securesystemslib\[hsm\]'"):
        open_signer("hsm:2?label=card", make_key(tmp_path / "one.pem", ""))
