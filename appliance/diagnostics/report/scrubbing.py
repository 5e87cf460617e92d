"""Takes secrets out of text and values: those that are known word for word, and what looks like one. Pure."""

import re
from collections.abc import Iterable
from typing import Any, Final

HIDDEN: Final = "(hidden)"
LEAST_SECRET: Final = 4  # characters: a shorter one would be found everywhere, and hide what is none

_NAMES: Final = (
    r"[\w.-]*(?:pass(?:word|wd|phrase|code)?|secret|token|api[_-]?key|private[_-]?key|access[_-]?key|psk|"
    r"credentials?|authorization|cookie|wep[_-]?key\w*|user[_-]?name)[\w.-]*"
)
_WHOLE: Final = re.compile(rf"(?i){_NAMES}")
_POINTERS: Final = frozenset({"credential", "file", "loadcredential", "username_from"})
_VALUE: Final = r"(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s,;}\]]+)"
_PATTERNS: Final = tuple(
    (re.compile(pattern), put)
    for pattern, put in (
        # keys, whole or cut off at the end
        (r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", HIDDEN),
        # user and password of an address, up to the last @: there may be one in a password
        (r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s\"'<>]*@", rf"\1{HIDDEN}@"),
        # what is behind the question mark of an address, or behind the server where cameras take a password in the path
        (r"(?i)\b([a-z][a-z0-9+.-]*://[^\s?#\"'<>]*)[?#][^\s\"'<>]*", rf"\1?{HIDDEN}"),
        (r"(?i)\b(rtsps?://[^\s/\"'<>]*/)[^\s\"'<>]*[=&][^\s\"'<>]*", rf"\1{HIDDEN}"),
        (r"(?i)\b(bearer|basic|digest)\s+[\w.~+/=-]{6,}", rf"\1 {HIDDEN}"),
        (r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?", HIDDEN),  # a JSON Web Token
        (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_\w{20,}|\bAGE-SECRET-KEY-\w+", HIDDEN),
        # name = value, name: value, name "a value", --name value; but no path that ends with such a name
        (rf"(?i)(?<![\w-])({_NAMES}[\"']?\s*=\s*){_VALUE}", rf"\1{HIDDEN}"),
        (rf"(?i)(?<![\w/-])({_NAMES}[\"']?(?:\s*:\s*|\s+(?:is\s+)?(?=[\"']))){_VALUE}", rf"\1{HIDDEN}"),
        (rf"(?i)(?<![\w-])(--{_NAMES})\s+(?!-){_VALUE}", rf"\1 {HIDDEN}"),
    )
)


class Scrubber:
    """Takes secrets out of whatever goes into a report.

    Args:
        secrets: Those that are known: each is hidden wherever it stands, in any text.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({secret for secret in secrets if len(secret) >= LEAST_SECRET}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def text(self, text: str) -> str:
        """Give a text without them."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for pattern, put in _PATTERNS:
            text = pattern.sub(put, text)
        return text

    def value(self, value: Any, name: str = "") -> Any:
        """Give a value of JSON's types without them; what stands under a telling name is hidden whatever it is.

        Where a secret is kept is no secret: ``password = { file = … }`` stays as it is.
        """
        if isinstance(value, dict):
            return {str(key): self.value(item, str(key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item, name) for item in value]
        if isinstance(value, str):
            is_hidden = bool(value) and name.lower() not in _POINTERS and _WHOLE.fullmatch(name) is not None
            return HIDDEN if is_hidden else self.text(value)
        return value
