"""What is encrypted is opened by its recipients and by nobody else, and no message tells a key."""

import pytest

pytest.importorskip("pyrage", reason="needs pip install 'edgecam[protect]'")

from appliance.core.errors import ConfigError, ModelError
from appliance.core.sealing import Keys, make_key, seal


def test_each_recipient_opens_it_and_nobody_else() -> None:
    (first, first_public), (second, second_public), (other, _) = make_key(), make_key(), make_key()
    sealed = seal(b"weights" * 20_000, [first_public, second_public])
    assert b"weightsweights" not in sealed
    for key in (first, second):
        assert Keys(key, "here").unseal(sealed, "w.onnx.age") == b"weights" * 20_000
    with pytest.raises(ModelError, match=r"w\.onnx\.age cannot be decrypted with the 1 keys"):
        Keys(other, "here").unseal(sealed, "w.onnx.age")


def test_a_file_of_age_keygen_with_an_old_and_a_new_key_is_read() -> None:
    (old, old_public), (new, new_public) = make_key(), make_key()
    keys = Keys(f"# created: 2026-11-22T12:00:00Z\n# public key: {old_public}\n{old}\n\n{new}\n", "here")
    assert keys.recipients == {old_public, new_public}


@pytest.mark.parametrize("spoil", [lambda one: one[:-40], lambda one: one[:-1], lambda one: b"" * len(one)])
def test_what_is_damaged_is_refused(spoil: object) -> None:
    key, public = make_key()
    with pytest.raises(ModelError, match="cannot be decrypted"):
        Keys(key, "here").unseal(spoil(seal(b"x" * 100_000, [public])), "w")  # type: ignore[operator] # a lambda


def test_one_bit_that_was_turned_is_noticed() -> None:
    key, public = make_key()
    sealed = bytearray(seal(b"x" * 100_000, [public]))
    sealed[-50_000] ^= 1
    with pytest.raises(ModelError, match="cannot be decrypted"):
        Keys(key, "here").unseal(bytes(sealed), "w")


@pytest.mark.parametrize("text", ["", "# nothing\n", "AGE-SECRET-KEY-1QQ", "secret", "{key}x", "{broken}"])
def test_what_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    key, _ = make_key()
    given = text.format(key=key, broken=key[:-6] + ("QQQQQQ" if key[-6:] != "QQQQQQ" else "PPPPPP"))
    with pytest.raises(ConfigError) as refused:
        Keys(given, "[model] key")
    assert "[model] key" in str(refused.value)
    assert key[20:40] not in str(refused.value)
    assert refused.value.__cause__ is None


def test_keys_do_not_show_themselves() -> None:
    key, _ = make_key()
    assert key not in repr(Keys(key, "here"))


def test_a_recipient_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="public keys of age"):
        seal(b"x", ["age1nonsense"])
