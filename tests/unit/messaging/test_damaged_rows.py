"""A bit that flipped inside a row, which SQLite does not notice: the row is never delivered, and it is named."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance.messaging.outbox import Outbox
from tests.unit.messaging.outbox_stage import draft, gap_records, make, named, numbers


def filled(directory: Path, count: int) -> Outbox:
    store = make(directory)
    store.open()
    store.append([draft() for _ in range(count)])
    return store


def change(directory: Path, statement: str) -> None:
    with closing(sqlite3.connect(directory / "outbox.db")) as file, file:
        file.execute(statement)


@pytest.mark.parametrize(
    "what",
    ["payload=CAST(payload || 'x' AS BLOB)", "payload=x''", "payload='text'", "topic='floor/events'", "crc=crc+1"],
)
def test_a_damaged_row_is_not_delivered_but_named_and_the_others_are_delivered(tmp_path: Path, what: str) -> None:
    filled(tmp_path, 50).close()
    change(tmp_path, f"UPDATE outbox SET {what} WHERE seq IN (7, 8, 30)")  # noqa: S608 - from the list above
    store = make(tmp_path)
    store.open()
    assert store.rows == 50
    assert len(store.pending(0, 20)) == 20, "fewer would mean that there are no more"
    store.pending(0, 100)
    assert store.damaged == 3
    records = gap_records(store)
    assert [named(record) for record in records] == [{7, 8}, {30}], "an open record may be on its way as it was"
    assert {record["reason"] for record in records} == {"corrupt"}
    assert set(numbers(store)) == set(range(1, 53)) - {7, 8, 30}
    assert store.rows == 49
    store.close()


def test_a_damaged_gap_record_is_written_anew_from_what_it_was_made_of(tmp_path: Path) -> None:
    store = filled(tmp_path, 5)
    store.declare_lost(3, "inlet")
    store.close()
    change(tmp_path, "UPDATE outbox SET payload=x'00' WHERE seq=9")
    store = make(tmp_path)
    store.open()
    store.urgent(10)
    (record,) = gap_records(store)
    assert named(record) == {6, 7, 8}
    assert store.damaged == 0
    store.close()


@pytest.mark.parametrize("what", ["topic='gaq'", "priority=3", "payload=x'00'"])
def test_a_damaged_gap_record_is_one_again_in_all_its_columns_and_takes_in_nothing_more(
    tmp_path: Path, what: str
) -> None:
    store = filled(tmp_path, 5)
    store.declare_lost(3, "inlet")
    store.seal([9])
    store.close()
    change(tmp_path, f"UPDATE outbox SET {what} WHERE seq=9")  # noqa: S608 - from the list above
    store = make(tmp_path)
    store.open()
    assert [row.topic for row in store.pending(8, 1)] == ["gap"]
    assert [row.seq for row in store.urgent(10)] == [9]
    store.declare_lost(2, "inlet")
    first, second = gap_records(store)
    assert (first["seq"], named(first), named(second)) == (9, {6, 7, 8}, {10, 11})
    assert store.rows == 7
    store.close()
