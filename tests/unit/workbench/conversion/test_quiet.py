"""A vendor's chatter stays off the terminal, from Python and from C, and its last words are told where it fails."""

import logging
import os
import sys

import pytest

from appliance.core.errors import ModelError
from appliance.workbench.conversion.quiet import quietly


def test_nothing_is_heard_while_it_works_and_everything_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    with quietly("it cannot be done", (RuntimeError,)):
        print("chatter")
        print("complaint", file=sys.stderr)
        os.write(2, b"from C\n")
        logging.getLogger("vendor").warning("chatter of its log")
    assert capfd.readouterr() == ("", "")
    print("ours")
    os.write(2, b"ours too\n")
    assert capfd.readouterr() == ("ours\n", "ours too\n")


def test_what_it_fails_with_is_told_on_one_line() -> None:
    with (
        pytest.raises(ModelError, match=r"^it cannot be done: RuntimeError: too many axes$") as told,
        quietly("it cannot be done", (RuntimeError,)),
    ):
        raise RuntimeError("too\n  many axes")
    assert isinstance(told.value.__cause__, RuntimeError)


def fails_silently() -> None:
    os.write(2, b"operator 7 is odd\n")
    raise AssertionError


def test_where_it_fails_without_a_reason_its_last_words_are_told() -> None:
    with pytest.raises(ModelError, match="AssertionError: operator 7 is odd"), quietly("x", (AssertionError,)):
        fails_silently()


def test_other_mistakes_are_not_taken_for_the_vendors(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), quietly("x", (RuntimeError,)):
        raise KeyError
    print("heard")
    assert capfd.readouterr().out == "heard\n"
