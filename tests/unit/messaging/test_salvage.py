"""Corrupt outboxes of every kind: what can be read is saved under its old numbers, and the rest is named."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.messaging import quarantine
from appliance.messaging.database import SMALL_PAGE_BYTES
from appliance.messaging.outbox import Outbox
from appliance.messaging.rows import Draft, place_of, seq_of
from tests.unit.messaging.outbox_stage import draft, gap_records, make, named

PAGE = 4096
Damage = Callable[[bytearray], None]


def event(gen: str, seq: int) -> bytes:
    return json.dumps({"gen": gen, "seq": seq, "pad": "x" * 250}).encode()


def fill(directory: Path, count: int, *, acknowledged: int = 0, mode: str = "grouped") -> tuple[str, set[int]]:
    """Make an outbox; give its generation and the numbers that wait in it."""
    store = make(directory, mode=mode)  # type: ignore[arg-type]
    store.open()
    for _ in range(0, count, 32):
        store.append([Draft("door/events", event, 0, 0, priority=2 if n % 5 == 0 else 1) for n in range(32)])
    store.acknowledge(set(range(1, acknowledged + 1)))
    waiting = {row.seq for row in store.pending(0, 100_000)}
    store.close()
    return store.gen, waiting


def damaged(directory: Path, damage: Damage) -> Outbox:
    path = directory / "outbox.db"
    content = bytearray(path.read_bytes())
    damage(content)
    path.write_bytes(content)
    store = make(directory)
    store.open()
    return store


def rescue(store: Outbox) -> None:
    while store.rescued.is_due:
        store.rescue()


def saved(store: Outbox, place: int = 0) -> set[int]:
    rows = [row for row in store.pending(0, 1_000_000) if place_of(row.seq) == place and row.topic != "gap"]
    assert all(json.loads(row.payload)["seq"] == seq_of(row.seq) for row in rows)
    assert [row.seq for row in rows] == sorted(row.seq for row in rows)
    return {seq_of(row.seq) for row in rows}


def declared(store: Outbox, gen: str) -> set[int]:
    records = [record for record in gap_records(store) if record["gen"] == gen]
    return set().union(*(named(record) for record in records))


def overwrite(*pages: int, with_bytes: bytes | None = None) -> Damage:
    chance = random.Random(7)

    def damage(content: bytearray) -> None:
        for page in pages:
            content[(page - 1) * PAGE : page * PAGE] = with_bytes or chance.randbytes(PAGE)

    return damage


def some_pages(seed: int) -> Damage:
    def damage(content: bytearray) -> None:
        chance = random.Random(seed)
        for page in chance.sample(range(1, len(content) // PAGE), 5):
            content[page * PAGE : (page + 1) * PAGE] = chance.randbytes(PAGE)

    return damage


@pytest.mark.parametrize("seed", range(8))
def test_of_five_overwritten_pages_at_least_98_of_100_rows_are_saved_and_the_rest_is_named(
    tmp_path: Path, seed: int
) -> None:
    gen, waiting = fill(tmp_path, 5024)
    store = damaged(tmp_path, some_pages(seed))
    rescue(store)
    came = saved(store)
    assert len(came) >= 0.98 * len(waiting)
    assert came <= waiting
    assert declared(store, gen) >= waiting - came
    assert not declared(store, gen) & came
    assert store.rescued.rows == len(came)
    store.close()


@pytest.mark.parametrize(
    "content",
    [b"\0" * PAGE, b"SQLite format 3\0" + b"\xff" * (PAGE - 16), b"\xa5" * PAGE],
    ids=["zeros", "all but the magic", "noise"],
)
def test_with_the_first_page_destroyed_every_row_is_saved(tmp_path: Path, content: bytes) -> None:
    gen, waiting = fill(tmp_path, 4992)
    store = damaged(tmp_path, overwrite(1, with_bytes=content))
    rescue(store)
    assert store.gen != gen
    assert saved(store) == waiting
    assert not declared(store, gen) & waiting
    store.append([draft()])
    assert seq_of(store.pending(0, 10_000)[-1].seq) == store.last_seq
    store.close()


def test_with_its_first_page_intact_but_the_tree_s_root_gone_every_row_is_saved(tmp_path: Path) -> None:
    gen, waiting = fill(tmp_path, 4992)

    def damage(content: bytearray) -> None:
        pages = range(1, len(content) // PAGE)
        roots = [page for page in pages if content[page * PAGE] == 5]
        assert roots
        for page in roots:
            content[page * PAGE : (page + 1) * PAGE] = b"\xff" * PAGE

    store = damaged(tmp_path, damage)
    rescue(store)
    assert saved(store) == waiting
    # nobody can know that the last page is the last: numbers behind it, which may have been given out, are named
    assert min(declared(store, gen)) > max(waiting)
    store.close()


def test_single_bits_cost_single_rows(tmp_path: Path) -> None:
    gen, waiting = fill(tmp_path, 4992)

    def damage(content: bytearray) -> None:
        chance = random.Random(3)
        for _ in range(20):
            content[chance.randrange(PAGE, len(content))] ^= 1 << chance.randrange(8)
        content[5 * PAGE] = 0xEE  # and one page that SQLite notices

    store = damaged(tmp_path, damage)
    rescue(store)
    came = saved(store)
    assert len(came) >= 0.99 * len(waiting)
    assert declared(store, gen) >= waiting - came
    store.close()


def test_of_a_file_that_was_cut_short_what_is_left_is_saved_and_the_rest_named(tmp_path: Path) -> None:
    gen, waiting = fill(tmp_path, 4992)

    def damage(content: bytearray) -> None:
        del content[len(content) * 7 // 10 // PAGE * PAGE :]

    store = damaged(tmp_path, damage)
    rescue(store)
    came = saved(store)
    assert 0.6 * len(waiting) < len(came) < 0.75 * len(waiting)
    assert declared(store, gen) >= waiting - came
    store.close()


def test_what_the_broker_had_is_neither_saved_nor_named(tmp_path: Path) -> None:
    gen, waiting = fill(tmp_path, 4992, acknowledged=2000)
    store = damaged(tmp_path, some_pages(2))
    rescue(store)
    came = saved(store)
    assert came <= waiting == set(range(2001, 4993))
    assert declared(store, gen) >= waiting - came
    assert not declared(store, gen) & set(range(1, 2001))
    store.close()


def test_what_is_only_in_the_log_is_saved_as_well(tmp_path: Path) -> None:
    made = tmp_path / "made"
    store = make(made)
    store.open()
    gen = store.gen
    for _ in range(40):
        store.append([Draft("door/events", event, 0, 0) for _ in range(32)])
    (tmp_path / "cut").mkdir()
    for file in made.iterdir():  # as a power cut leaves it
        shutil.copy(file, tmp_path / "cut")
    store.close()
    assert (tmp_path / "cut" / "outbox.db-wal").stat().st_size > 100_000
    again = damaged(tmp_path / "cut", overwrite(1, with_bytes=b"\xa5" * PAGE))
    if again.rescued.source is not None:  # else SQLite had the page in its log, and nothing is lost at all
        rescue(again)
        assert again.gen != gen
    came = {seq_of(row.seq) for row in again.pending(0, 10_000) if row.topic == "door/events"}
    assert came == set(range(1, 1281))
    again.close()


def test_saved_rows_go_before_new_ones_and_a_gap_of_the_old_generation_first_of_all(tmp_path: Path) -> None:
    gen, _ = fill(tmp_path, 320)
    store = damaged(tmp_path, overwrite(20))
    store.append([draft()])
    rescue(store)
    (record,) = store.urgent(10)
    body = json.loads(record.payload)
    assert (body["gen"], body["reason"]) == (gen, "corrupt")
    assert body["seq"] == seq_of(record.seq) > 320
    rows = store.pending(0, 1000)
    assert [place_of(row.seq) for row in rows] == sorted(place_of(row.seq) for row in rows)
    assert place_of(rows[-1].seq) == 1
    assert seq_of(rows[-1].seq) == 1
    store.close()


def test_a_salvage_that_is_interrupted_goes_on_and_saves_nothing_twice(tmp_path: Path) -> None:
    gen, waiting = fill(tmp_path, 4992)
    store = damaged(tmp_path, some_pages(4))
    store.rescue()
    store.rescue()
    first = saved(store)
    assert 0 < len(first) < len(waiting)
    some = {row.seq for row in store.pending(0, 200)}
    store.acknowledge(some)
    store.close()
    again = make(tmp_path)
    again.open()
    assert again.rescued.is_due
    rescue(again)
    came = saved(again) | {seq_of(key) for key in some}
    assert len(came) >= 0.98 * len(waiting)
    assert declared(again, gen) >= waiting - came
    assert not declared(again, gen) & came
    assert not {seq_of(key) for key in some} & saved(again)
    again.close()


def test_a_power_cut_between_putting_aside_and_the_new_outbox_forgets_nothing(tmp_path: Path) -> None:
    _, waiting = fill(tmp_path, 320)
    quarantine.put_aside(tmp_path / "outbox.db")
    store = make(tmp_path)
    store.open()
    rescue(store)
    assert saved(store) == waiting
    store.close()
    (tmp_path / "outbox.db").unlink()
    again = make(tmp_path)
    again.open()
    assert not again.rescued.is_due, "it is saved once"
    again.close()


def test_a_second_corruption_saves_what_the_first_one_saved(tmp_path: Path) -> None:
    gen, waiting = fill(tmp_path, 320)
    store = damaged(tmp_path, overwrite(1))
    rescue(store)
    store.append([Draft("door/events", event, 0, 0) for _ in range(32)])
    second = store.gen
    store.close()
    again = damaged(tmp_path, overwrite(1))
    rescue(again)
    assert saved(again) == waiting
    assert saved(again, place=1) >= set(range(1, 33))
    assert len({gen, second, again.gen}) == 3
    again.close()


def test_no_more_than_three_files_are_kept_aside(tmp_path: Path) -> None:
    for _ in range(5):
        fill(tmp_path, 32)
        damaged(tmp_path, overwrite(1)).close()
    aside = {file.name for file in tmp_path.glob("*corrupt-*") if not file.name.endswith((".hdr", "-wal"))}
    assert aside == {f"outbox.db.corrupt-{number}" for number in (3, 4, 5)}


def test_garbage_that_was_never_an_outbox_saves_nothing_and_names_nothing(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(random.Random(1).randbytes(40 * PAGE))
    store = make(tmp_path)
    store.open()
    assert store.quarantined is not None
    assert not store.rescued.is_due
    assert gap_records(store) == []
    store.close()


@pytest.mark.parametrize("page", [0, 100])
def test_of_an_outbox_with_small_pages_as_much_is_saved(tmp_path: Path, page: int) -> None:
    gen, waiting = fill(tmp_path, 960, mode="strict")
    small = SMALL_PAGE_BYTES

    def damage(content: bytearray) -> None:
        assert int.from_bytes(content[16:18], "big") == small
        content[page * small : (page + 1) * small] = random.Random(page).randbytes(small)

    store = damaged(tmp_path, damage)
    rescue(store)
    came = saved(store)
    assert len(waiting) - len(came) <= (6 if page else 0)
    assert declared(store, gen) >= waiting - came
    store.close()


@pytest.mark.parametrize("steps", [1, 100], ids=["while they are being saved", "when all are saved"])
def test_a_gap_record_of_an_old_generation_never_takes_a_number_that_was_given_out(tmp_path: Path, steps: int) -> None:
    gen, waiting = fill(tmp_path, 1024)
    content = bytearray((tmp_path / "outbox.db").read_bytes())
    overwrite(1, with_bytes=b"\xa5" * PAGE)(content)
    (tmp_path / "outbox.db").write_bytes(content)
    store = make(tmp_path, max_rows=400)
    store.open()
    for _ in range(steps):
        store.rescue()
    while store.evict():
        pass
    rescue(store)
    records = [record for record in gap_records(store) if record["gen"] == gen]
    assert records
    assert all(int(str(record["seq"])) > max(waiting) for record in records)
    assert saved(store) | declared(store, gen) >= waiting
    store.close()


def test_a_damaged_row_at_the_very_end_is_named_and_its_number_not_given_out_again(tmp_path: Path) -> None:
    gen, waiting = fill(tmp_path, 320)

    def damage(content: bytearray) -> None:
        last = content.rindex(b'"seq": 320')
        content[last + 20] ^= 1
        content[:PAGE] = b"\xa5" * PAGE

    store = damaged(tmp_path, damage)
    rescue(store)
    assert saved(store) == waiting - {320}
    assert 320 in declared(store, gen)
    assert all(int(str(record["seq"])) > 320 for record in gap_records(store) if record["gen"] == gen)
    store.close()
