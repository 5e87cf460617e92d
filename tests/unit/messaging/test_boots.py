import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ClockQuality
from appliance.core.message import Message
from appliance.messaging.boots import UNKNOWN, Boots
from appliance.messaging.database import Database
from appliance.messaging.payloads import Identity, Origin, parse_utc, render
from appliance.messaging.stamping import Offset

SECOND = 1_000_000_000
DAY = 86400 * SECOND
FIRST, THIRD = 1_769_860_800 * SECOND, 1_769_860_800 * SECOND + 30 * DAY  # UTC of two boots


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "outbox.db", Database.scripts(), 1000)
    database.open()
    yield database
    database.close()


def boot(db: Database, boot_id: str, offset: Offset | None = None) -> Boots:
    boots = Boots(db)
    with db.transaction(lambda: None):
        boots.load(boot_id)
        if offset is not None:
            boots.keep(offset)
    return boots


def queued(mono_ns: int) -> bytes:
    origin = Origin(mono_ns, mono_ns, ClockQuality.UNSYNCED, "b007")  # the clock was at 1970
    return render("dev", Message("door/events"), origin, Identity("00", 1))


def test_a_boots_offset_is_known_to_the_next_run_in_it(db: Database) -> None:
    assert boot(db, "one").offset is None
    known = Offset(FIRST, 25_000_000, 5 * SECOND)
    boot(db, "one", known)
    assert boot(db, "one").offset == known
    assert boot(db, "two").offset is None


def test_what_an_earlier_boot_queued_before_it_knew_the_time_is_dated_by_that_boot(db: Database) -> None:
    first = boot(db, "one", Offset(FIRST, 25_000_000, 300 * SECOND)).number
    for later in (boot(db, "two"), boot(db, "three", Offset(THIRD, 25_000_000, SECOND))):
        told = json.loads(later.dated(first, queued(10 * SECOND)))
        assert parse_utc(told["time"]) == FIRST + 10 * SECOND
        assert told["time_source"] == "corrected"


def test_a_boot_without_the_time_is_dated_between_its_neighbours_once_they_know_theirs(db: Database) -> None:
    boot(db, "one", Offset(FIRST, 25_000_000, 300 * SECOND))
    second = boot(db, "two")
    assert json.loads(second.dated(second.number, queued(SECOND))) == json.loads(queued(SECOND)), "it may still learn"
    told = json.loads(boot(db, "three").dated(second.number, queued(SECOND)))
    assert "time_before" not in told
    told = json.loads(boot(db, "three", Offset(THIRD, 25_000_000, SECOND)).dated(second.number, queued(SECOND)))
    assert told["clock"] == "unsynced"
    assert FIRST + 299 * SECOND < parse_utc(told["time_after"]) <= FIRST + 300 * SECOND
    assert THIRD <= parse_utc(told["time_before"]) < THIRD + SECOND


def test_boots_of_a_rescued_outbox_come_before_all_others_and_keep_what_they_knew(db: Database) -> None:
    here = boot(db, "now", Offset(THIRD, 25_000_000, SECOND))
    with db.transaction(lambda: None):
        known = here.adopt(7, ["old", FIRST, 25_000_000, "synced", 300 * SECOND])
        later = here.adopt(8, ["old too"])
        assert here.adopt(9, ["now"]) == here.number
        assert here.adopt(9, [b"torn"]) == UNKNOWN
    assert known < later < here.number
    assert json.loads(here.dated(known, queued(10 * SECOND)))["time_source"] == "corrected"
    told = json.loads(here.dated(later, queued(SECOND)))
    assert parse_utc(told["time_after"]) <= FIRST + 300 * SECOND
    assert parse_utc(told["time_before"]) >= THIRD
    assert here.dated(UNKNOWN, queued(SECOND)) == queued(SECOND)
    again = boot(db, "now")
    assert json.loads(again.dated(known, queued(10 * SECOND)))["time_source"] == "corrected"


def test_ages_are_exact_where_both_boots_know_the_time_and_else_those_of_this_boot(db: Database) -> None:
    first = boot(db, "one", Offset(FIRST, 25_000_000, 300 * SECOND)).number
    second = boot(db, "two").number
    third = boot(db, "three")
    now_ns = 7 * SECOND
    assert third.age(third.number, 2 * SECOND, now_ns) == 5 * SECOND
    assert third.age(first, 10 * SECOND, now_ns) == now_ns, "this boot does not know the time"
    third = boot(db, "three", Offset(THIRD, 25_000_000, SECOND))
    assert third.age(first, 10 * SECOND, now_ns) == 30 * DAY - 10 * SECOND + now_ns
    assert third.age(second, 10 * SECOND, now_ns) == now_ns


def test_an_earlier_boot_whose_clock_was_ahead_makes_no_age_negative(db: Database) -> None:
    ahead = boot(db, "one", Offset(THIRD, 25_000_000, SECOND)).number
    second = boot(db, "two", Offset(FIRST, 25_000_000, SECOND))
    assert second.here(ahead, SECOND) is None
    assert second.age(ahead, SECOND, 7 * SECOND) == 7 * SECOND


def test_a_number_that_two_boots_of_a_damaged_outbox_lay_claim_to_is_the_first_ones(db: Database) -> None:
    boots = boot(db, "now")
    with db.transaction(lambda: None):
        number = boots.adopt(3, ["one", FIRST, 25_000_000, "synced", 5 * SECOND])
        assert boots.adopt(3, ["two", None, None, None, None]) == UNKNOWN
        assert boots.adopt(3, ["one", FIRST, 25_000_000, "synced", 5 * SECOND]) == number != UNKNOWN
