"""Says why a text is no TOML, in the words of who wrote it, and never shows what stands to the right of a "="."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_AT = re.compile(r"\(at line (\d+), column \d+\)")
_HEADER = re.compile(r"\[\s*([^\[\]#]+?)\s*\]")
_NAME, _LONG_TEXT = re.compile(r"[A-Za-z0-9_.-]{1,60}"), re.compile("\"{3}|'{3}")
_MOST_SHOWN = 60  # characters of a name
_NAMES_OF_OWN: Final = {"cameras": "give each camera a name of its own"}
_TWICE = ("Cannot overwrite", "Cannot declare", "Cannot mutate", "Duplicate inline table key")
_QUOTATION_MARKS = 2  # of a text that has none within


def explain_toml(error: Exception, text: str, advice: Mapping[str, str] = MappingProxyType({})) -> str:
    """Give what is wrong and how it is mended.

    Args:
        error: What `tomllib.loads` raised.
        text: What it was given.
        advice: What to do where the table of this name stands twice, besides what is known of cameras.
    """
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    said, lines = str(error), text.rstrip("\n").split("\n")
    at = _AT.search(said)
    number = min(int(at[1]), len(lines)) if at else len(lines)
    if said.startswith(_TWICE):
        return _explain_twice(lines, number, {**_NAMES_OF_OWN, **advice})
    hint = _hint(said, lines[number - 1])
    return f"{said}; {hint}" if hint else said


def _explain_twice(lines: list[str], number: int, advice: Mapping[str, str]) -> str:
    line = lines[number - 1]
    if (header := _header(line)) is None:
        name = line.partition("=")[0].strip()
        # the line may be the last one of a long text, and that may be a secret
        told = f": {name}" if _NAME.fullmatch(name) and not _LONG_TEXT.search(line) else ""
        return f"a setting is given twice, again in line {number}{told}; leave one of them out"
    first = next((before for before in range(1, number) if _header(lines[before - 1]) == header), None)
    where = f"in lines {first} and {number}" if first else f"again in line {number}"
    known = advice.get(header.partition(".")[0], "leave one of them out, with the settings below it")
    shown = "".join(filter(str.isprintable, header))[:_MOST_SHOWN]
    return f"a table is given twice, {where}: [{shown}]; {known}"


def _header(line: str) -> str | None:
    found = _HEADER.match(line.strip())
    return found[1] if found else None


def _hint(said: str, line: str) -> str:
    """Give how a line is mended that an editor or a slip has spoilt; empty: nothing is known."""
    unseen = any(not character.isprintable() and character not in "\t\r" for character in line)
    is_quoted_within = "Expected newline" in said and line.count('"') > _QUOTATION_MARKS
    known = (
        (
            re.search("[\u2018-\u201f\u2032\u2033\u00ab\u00bb\u00b4`]", line),
            'it has curly quotation marks: a word processor put them there, use plain ones (")',
        ),
        (unseen or "\u00a0" in line, "the line has a character that is not seen: type the line anew"),
        (
            "Unescaped" in said,
            "in quotation marks a \\ is written \\\\, or the text stands between single ones: 'a\\b'",
        ),
        (
            is_quoted_within,
            "a quotation mark within a text is written \\\", or the text stands between single ones: 'a\"b'",
        ),
        (
            any(words in said for words in ("Expected '='", "Invalid statement", "Invalid initial character")),
            'a setting is written NAME = VALUE: hostname = "door"',
        ),
        (
            "Illegal character '\\n'" in said or "Unterminated" in said,
            "a quotation mark at the end of a text is missing",
        ),
        ("Expected ']" in said, "the name of a table stands in square brackets: [wifi]"),
        (
            "Unclosed array" in said or "Invalid value (at end" in said,
            "a value is missing at the end, or a list does not end with ]",
        ),
        ("Invalid value" in said, 'text stands in quotation marks: hostname = "door"'),
    )
    return next((hint for applies, hint in known if applies), "")
