"""An outbox of schema 1, made by the statements that made it then, becomes one of today."""

import sqlite3
from pathlib import Path

import pytest

from appliance.core.errors import StorageError
from appliance.messaging import migration
from appliance.messaging.database import Database
from appliance.messaging.rows import checksum
from tests.unit.messaging.outbox_stage import Hand, draft, gap_records, make, named, numbers

OLD_SCHEMA = """
    CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE boot(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
    CREATE TABLE outbox(seq INTEGER PRIMARY KEY AUTOINCREMENT, priority INTEGER NOT NULL, topic TEXT NOT NULL,
      retain INTEGER NOT NULL, expiry_s INTEGER, boot INTEGER NOT NULL, mono_ns INTEGER NOT NULL,
      time_ns INTEGER NOT NULL, payload BLOB NOT NULL);
    CREATE INDEX evicted_first ON outbox(priority DESC, seq) WHERE priority > 1;
    CREATE TABLE gap(seq INTEGER PRIMARY KEY, reason TEXT NOT NULL, runs TEXT NOT NULL, count INTEGER NOT NULL,
      sealed INTEGER NOT NULL);
"""


def old_outbox(directory: Path, rows: int = 1200) -> None:
    """Make a file as it was before: an open gap, the first 100 delivered, the newest number without a row."""
    connection = sqlite3.connect(directory / "outbox.db", isolation_level=None)
    for pragma in ("page_size=4096", "journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.executescript(f"BEGIN IMMEDIATE; {OLD_SCHEMA} PRAGMA user_version=1; COMMIT;")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO meta VALUES('gen', '00ed789d1c776b0b')")
    connection.execute("INSERT INTO boot(id) VALUES('boot1')")
    insert = (
        "INSERT INTO outbox(seq, priority, topic, retain, expiry_s, boot, mono_ns, time_ns, payload) "
        "VALUES(?,?,?,0,?,1,?,?,?)"
    )
    connection.executemany(
        insert,
        [
            (seq, 2 if seq % 7 == 0 else 1, "door/events", None, seq, seq, b"payload %d" % seq)
            for seq in range(1, rows + 1)
        ],
    )
    payload = b'{"gen": "00ed789d1c776b0b", "seq": %d, "runs": [[901, 905]]}' % (rows + 1)
    connection.execute(insert, (rows + 1, 0, "gap", None, 0, 0, payload))
    connection.execute("INSERT INTO gap VALUES(?, 'inlet', '[[901,905]]', 5, 0)", (rows + 1,))
    connection.execute("DELETE FROM outbox WHERE seq<=100 OR seq BETWEEN 901 AND 905")
    connection.execute("UPDATE sqlite_sequence SET seq=? WHERE name='outbox'", (rows + 3,))
    connection.execute("COMMIT")
    connection.close()


EXPECTED = [seq for seq in range(101, 1202) if not 901 <= seq <= 905]


def test_every_row_its_number_and_the_generation_are_kept(tmp_path: Path) -> None:
    old_outbox(tmp_path)
    store = make(tmp_path)
    store.open()
    assert store.gen == "00ed789d1c776b0b"
    assert numbers(store) == EXPECTED
    assert [row.payload for row in store.pending(100, 2)] == [b"payload 101", b"payload 102"]
    assert store.pending(100, 1)[0].mono_ns == 101
    assert store.last_seq == 1203
    assert store.rows == len(EXPECTED)
    store.append([draft()])
    assert numbers(store)[-1] == 1204
    store.close()


def test_a_gap_record_that_was_open_goes_on(tmp_path: Path) -> None:
    old_outbox(tmp_path)
    store = make(tmp_path)
    store.open()
    store.declare_lost(2, "inlet")
    (record,) = gap_records(store)
    assert named(record) == {901, 902, 903, 904, 905, 1204, 1205}
    store.close()


def test_it_was_closed_in_good_order_as_far_as_anybody_knows(tmp_path: Path) -> None:
    old_outbox(tmp_path)
    store = make(tmp_path)
    store.open()
    assert [record.get("reason") for record in gap_records(store)] == [None]
    store.close()


def test_rows_have_a_checksum_afterwards_and_the_old_table_is_gone(tmp_path: Path) -> None:
    old_outbox(tmp_path)
    store = make(tmp_path)
    store.open()
    store.close()
    connection = sqlite3.connect(tmp_path / "outbox.db")
    rows = connection.execute("SELECT * FROM outbox").fetchall()
    assert all(crc == checksum(tuple(columns), payload) for *columns, crc, payload in rows)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type='table'")}
    assert tables == {"meta", "boot", "generation", "outbox", "kept", "gap"} | tables & {"sqlite_sequence"}
    assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(boot)")}
    assert {"wall_offset_ns", "offset_error_ns", "quality"} <= columns
    connection.close()


@pytest.mark.parametrize("after", [1, 2, 3])
def test_what_was_interrupted_goes_on_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    old_outbox(tmp_path)
    monkeypatch.setattr(migration, "BATCH", 300)
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1
        if beats == after:
            raise StorageError("power is off")

    with pytest.raises(StorageError):
        make(tmp_path).open(beat)
    store = make(tmp_path, Hand())
    store.open()
    assert numbers(store) == EXPECTED
    assert store.last_seq == 1203
    store.close()


def test_a_file_with_no_room_left_is_brought_up_to_date_in_place(tmp_path: Path) -> None:
    old_outbox(tmp_path, rows=30_000)
    size = (tmp_path / "outbox.db").stat().st_size
    store = make(tmp_path, max_bytes=1 << 20)  # smaller than what is there: it may not grow at all
    assert size > (1 << 20) * 15 // 16
    store.open()
    assert store.rows == 30_000 - 100 - 5 + 1
    while store.evict():
        pass
    assert store.used_bytes() <= 1 << 20
    store.close()


def test_the_schema_s_files_are_numbered_without_a_hole() -> None:
    files = sorted((Path(migration.__file__).parent / "schema").glob("*.sql"))
    assert [file.name for file in files] == [f"{number:04}.sql" for number in range(1, len(files) + 1)]
    assert len(Database.scripts()) == len(files)
