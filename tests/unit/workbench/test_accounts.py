"""The books of a subscriber: what is missing in every kind of delivery, and that nothing from outside upsets them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.workbench.accounts import Account, Accounts, Runs, count
from tests.simulators.deliveries import DELIVERIES, GEN, Delivery, gap, message, restart


@pytest.mark.parametrize("delivery", DELIVERIES, ids=lambda delivery: delivery.name)
def test_what_is_missing_in_a_delivery_is_told_exactly(delivery: Delivery) -> None:
    accounts = Accounts()
    for topic, payload in delivery.messages:
        accounts.take(f"edgecam/dev/{topic}", payload)
    (account,) = accounts
    assert tuple(account.missing()) == delivery.missing
    assert accounts.unreadable == 0


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 8))), st.integers(1, 60), st.integers(0, 30))
def test_runs_are_the_set_of_their_numbers(added: list[tuple[int, int]], first: int, more: int) -> None:
    runs, numbers = Runs(), set[int]()
    for begin, length in added:
        new = set(range(begin, begin + length + 1)) - numbers
        assert runs.add(begin, begin + length) == len(new)
        numbers |= new
    assert {number for run in runs for number in range(run[0], run[1] + 1)} == numbers
    assert count(list(runs)) == len(numbers)
    assert all(one[1] + 1 < other[0] for one, other in zip(list(runs), list(runs)[1:], strict=False))
    assert {number for number in range(1, 80) if number in runs} == numbers
    holes = {number for run in runs.holes(first, first + more) for number in range(run[0], run[1] + 1)}
    assert holes == set(range(first, first + more + 1)) - numbers


def test_a_month_of_messages_in_order_is_one_run() -> None:
    account = Account("dev", GEN)
    for seq in range(1, 518_401):
        account.take(seq, is_gap=False)
    assert list(account.came) == [(1, 518_400)]
    assert account.missing() == []


def test_each_device_and_generation_has_books_of_its_own() -> None:
    accounts, other = Accounts(), "ffffffffffffffff"
    for _, payload in (message(1), message(3), message(1, "yard"), message(2, gen=other), message(4, gen=other)):
        accounts.take("", payload)
    assert [(one.device, one.gen, one.missing()) for one in accounts] == [
        ("dev", GEN, [(2, 2)]),
        ("yard", GEN, []),
        ("dev", other, [(3, 3)]),
    ]


def test_what_is_overtaken_is_counted_but_for_gap_records_which_go_first() -> None:
    accounts = Accounts()
    for _, payload in (message(1), gap(9, (2, 2)), message(3), message(5), message(4)):
        accounts.take("", payload)
    (account,) = accounts
    assert account.overtaken == 1
    assert account.reasons == {"rows": 1}


def test_ends_without_good_order_are_counted_with_the_seconds_nobody_can_account_for() -> None:
    accounts = Accounts()
    for _, payload in (message(1), restart(2), restart(3), restart(3)):
        accounts.take("", payload)
    (account,) = accounts
    assert (account.ends, account.uncounted_s, account.reasons, account.missing()) == (2, 0.5, {}, [])


def health(last_seq: object, gen: str = GEN) -> bytes:
    return json.dumps({"v": 1, "messaging": {"gen": gen, "last_seq": last_seq}}).encode()


def test_a_tail_that_never_came_is_known_from_health() -> None:
    accounts = Accounts()
    accounts.take("edgecam/dev/health", health(7))
    (account,) = accounts
    assert account.awaited() == [], "given out before anybody listened"
    assert account.awaited(is_whole=True) == [(1, 7)]
    accounts.take("", message(8)[1])
    accounts.take("edgecam/dev/health", health(12))
    assert account.missing() == []
    assert account.awaited() == [(9, 12)]
    accounts.take("", gap(13, (9, 10))[1])
    assert account.awaited() == []
    assert account.missing() == [(11, 12)]


def test_with_all_numbers_expected_the_first_ones_are_missing_too() -> None:
    account = Account("dev", GEN)
    account.take(4, is_gap=False)
    assert account.missing() == []
    assert account.missing(is_whole=True) == [(1, 3)]


@pytest.mark.parametrize(
    "payload",
    [
        b'{"seq":1}',
        b'{"seq":',
        b"{" * 100_000,
        b'{"seq":true,"gen":"1101d6b23842e45a","id":"dev/1101d6b23842e45a/True"}',
        b'{"seq":0,"gen":"1101d6b23842e45a","id":"dev/1101d6b23842e45a/0"}',
        b'{"seq":9223372036854775808,"gen":"1101d6b23842e45a","id":"dev/1101d6b23842e45a/9223372036854775808"}',
        b'{"seq":1,"gen":"1101d6b23842e45a","id":"dev/1101d6b23842e45a/2"}',
        b'{"seq":1,"gen":"G101d6b23842e45a","id":"dev/G101d6b23842e45a/1"}',
        b'{"seq":1,"gen":["1101d6b23842e45a"],"id":"dev/1101d6b23842e45a/1"}',
        message(4, reason="rows", count=9, ranges=[[3, 1]], **{"from": 1, "to": 3})[1],
        message(4, reason="rows", count=9, ranges=7, **{"from": 1, "to": 3})[1],
        message(4, reason="rows", count=9, **{"from": 1, "to": 3})[1],
        message(4, reason="rows", count=1, ranges=[[1, 1]] * 5000, **{"from": 1, "to": 3})[1],
    ],
)
def test_what_is_not_as_documented_is_counted_and_changes_nothing(payload: bytes) -> None:
    accounts = Accounts()
    accounts.take("edgecam/dev/door/events", payload)
    assert accounts.unreadable == 1
    assert list(accounts) == []


@pytest.mark.parametrize("payload", [b"online", b"", b"[1]", b'{"frame":1}', health("7"), health(0), health(7, "x")])
def test_state_is_no_matter_of_accounts(payload: bytes) -> None:
    accounts = Accounts()
    assert accounts.take("edgecam/dev/health", payload) is None
    assert (accounts.messages, accounts.unreadable, list(accounts)) == (0, 0, [])
