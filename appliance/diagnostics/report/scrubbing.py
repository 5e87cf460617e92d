"""Takes secrets out of text and values: those that are known word for word, and what looks like one. Pure."""

import re
from collections.abc import Iterable
from typing import Any, Final

HIDDEN: Final = "(hidden)"
LEAST_SECRET: Final = 4  # characters: a shorter one would be found everywhere, and hide what is none

_WORDS: Final = (
    r"(?:pass(?:word|wd|phrase|code)?|secret|token|api[_-]?key|private[_-]?key|access[_-]?key|psk|"
    r"credentials?|authorization|cookie|wep[_-]?key|user[_-]?name|pwd|pw(?![a-z])|(?<![a-z])pin(?![a-z]))"
)
_WHOLE: Final = re.compile(rf"(?i)[\w.-]*{_WORDS}[\w.-]*")
_POINTERS: Final = frozenset({"credential", "file", "username_from"})
_NAME: Final = rf"{_WORDS}[\w.-]{{0,40}}"
_VALUE: Final = r"(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s,;}\]]+)"
_HELPFUL: Final = r"(?!cannot |others can |systemd has |is wrong|Permission denied|No such file)"
_ADDRESS: Final = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,30})://([^\s\"'<>]*)")
# nothing is repeated without a bound where it may begin anywhere: text that somebody else made must not hold us up
_PATTERNS: Final = tuple(
    (re.compile(pattern), put)
    for pattern, put in (
        # keys, whole or cut off at the end
        (r"(?s)-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)", HIDDEN),
        (r"(?i)\b(bearer|basic|digest)\s{1,10}[\w.~+/=-]{6,}", rf"\1 {HIDDEN}"),
        (r"\beyJ[\w-]{8,2000}\.[\w-]{8,}(?:\.[\w-]*)?", HIDDEN),  # a JSON Web Token
        (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_\w{20,}|\bAGE-SECRET-KEY-\w+", HIDDEN),
        # name = value, name: value, name "a value", --name value; but no path that is such a name
        (rf"(?i)({_NAME}[\"']?\s{{0,10}}=\s{{0,10}}){_VALUE}", rf"\1{HIDDEN}"),
        (
            rf"(?i)(?<!/)({_NAME}[\"']?(?:\s{{0,10}}:\s{{0,10}}|\s{{1,10}}(?:is\s)?(?=[\"']))){_HELPFUL}{_VALUE}",
            rf"\1{HIDDEN}",
        ),
        (rf"(?i)(--[\w.-]{{0,20}}{_NAME})\s{{1,10}}(?!-){_VALUE}", rf"\1 {HIDDEN}"),
    )
)


class Scrubber:
    """Takes secrets out of whatever goes into a report.

    Args:
        secrets: Those that are known: each is hidden wherever it stands, in any text.
        names: User names: each is hidden where it is a word of its own.
    """

    def __init__(self, secrets: Iterable[str] = (), names: Iterable[str] = ()) -> None:
        given = {(one, re.escape(one)) for one in secrets} | {
            (one, rf"(?<!\w){re.escape(one)}(?!\w|://)") for one in names
        }
        known = {(one, form) for one, form in given if len(one) >= LEAST_SECRET}
        # One with blanks or marks goes first, for a pattern may take a part of it only. No pattern parts a word, and
        # another secret may be found by one, as by "mqtt" or "password".
        words = {each for each in known if re.fullmatch(r"\w+", each[0])}
        self._first, self._last = _any_of(known - words), _any_of(words)

    def text(self, text: str) -> str:
        """Give a text without them."""
        text = _ADDRESS.sub(_public, self._first.sub(HIDDEN, text))
        for pattern, put in _PATTERNS:
            text = pattern.sub(put, text)
        return self._last.sub(HIDDEN, text)

    def value(self, value: Any, name: str = "") -> Any:
        """Give a value of JSON's types without them; what stands under a telling name is hidden whatever it is.

        Where a secret is kept is no secret: ``password = { file = … }`` stays as it is.
        """
        if isinstance(value, dict):
            return {str(key): self.value(item, str(key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item, name) for item in value]
        if isinstance(value, str):
            is_hidden = bool(value) and name.lower() not in _POINTERS and _WHOLE.fullmatch(name[:200]) is not None
            return HIDDEN if is_hidden else self.text(value)
        return value


def _any_of(known: Iterable[tuple[str, str]]) -> re.Pattern[str]:
    """Give what finds any of these, the longest first; of none, what finds nothing."""
    longest_first = sorted(known, key=lambda each: -len(each[0]))
    return re.compile("|".join(form for _, form in longest_first) or r"(?!)")


def _public(found: re.Match[str]) -> str:
    """Give an address without user, password and what is behind a question mark; a camera's without its path, too."""
    scheme, rest = found.groups()
    _, at, server = rest.rpartition("@")  # the last: there may be one in a password
    place, mark, _ = re.sub("[?#]", "?", server, count=1).partition("?")
    host, slash, path = place.partition("/")
    if scheme.lower().startswith("rtsp") and path:  # where cameras take a password, or a word that nobody guesses
        place = f"{host}{slash}{HIDDEN}"
    return f"{scheme}://{HIDDEN + at if at else ''}{place}{mark + HIDDEN if mark else ''}"
