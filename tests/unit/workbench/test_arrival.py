"""The word that messages have arrived: only of what is safe, only when there is news, and bounded."""

import json

import pytest

from appliance.workbench import arrival
from appliance.workbench.accounts import Account, Accounts
from appliance.workbench.arrival import ArrivalNotes, ReplayWishes, word_of
from tests.simulators.deliveries import GEN, gap, message


def test_a_word_tells_what_came_or_was_named_and_what_is_missing_from_the_first_number_on() -> None:
    accounts = Accounts()
    for _, payload in (message(3), message(4), gap(9, (5, 6))):
        accounts.take("", payload)
    (account,) = accounts
    assert json.loads(word_of(account)) == {"gen": GEN, "upto": 9, "missing": [[1, 2], [7, 8]]}


def test_with_too_many_holes_a_word_speaks_only_of_the_numbers_before_the_next_one() -> None:
    account = Account("dev", GEN)
    for seq in range(1, 1001, 2):
        account.take(seq, is_gap=False)
    word = json.loads(word_of(account))
    assert len(word["missing"]) == arrival.MOST_MISSING
    assert word["missing"][-1] == [512, 512]
    assert word["upto"] == 513


def test_nothing_is_said_before_it_is_safe_nor_twice_and_what_is_missing_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accounts, done = Accounts(), list[str]()
    notes = ArrivalNotes(accounts, lambda: done.append("safe"), lambda topic, _: done.append(topic))
    monkeypatch.setattr(arrival, "SAY_INTERVAL", 0.0)
    notes.look()
    assert done == []
    accounts.take("", message(2)[1])
    notes.look()
    notes.look()
    assert done == ["safe", "edgecam/dev/ack"]
    monkeypatch.setattr(arrival, "REPEAT_INTERVAL", 0.0)
    notes._repeat_at = 0.0
    notes.look()
    assert done == ["safe", "edgecam/dev/ack"] * 2
    accounts.take("", message(1)[1])
    notes.look()
    notes.look()
    assert done == ["safe", "edgecam/dev/ack"] * 3, "complete is said once"


def test_what_is_missing_twice_in_a_row_is_asked_for_a_few_runs_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    accounts, said = Accounts(), list[tuple[str, bytes]]()
    wishes = ReplayWishes(accounts, lambda topic, payload: said.append((topic, payload)))
    monkeypatch.setattr(arrival, "ASK_INTERVAL", 0.0)
    for seq in range(2, 40, 3):
        accounts.take("", message(seq)[1])
    wishes.look(is_whole=True)
    assert said == [], "it may be on its way"
    accounts.take("", message(1)[1])
    wishes.look(is_whole=True)
    assert [topic for topic, _ in said] == ["edgecam/dev/cmd/replay/-"] * 3
    assert [json.loads(payload) for _, payload in said] == [
        {"gen": GEN, "from": first, "to": first + 1} for first in (3, 6, 9)
    ]
    assert wishes.asked == 3
