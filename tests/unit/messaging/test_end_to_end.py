import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.messaging.arrivals import ArrivalsInbox
from appliance.messaging.inbox import Received
from appliance.messaging.outbox import Outbox
from appliance.messaging.requests import Arrived, read_arrived
from tests.unit.messaging.outbox_stage import draft, gap_records, make, numbers


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    store = make(tmp_path)
    store.deliveries.is_end_to_end = True
    store.open()
    store.append([draft() for _ in range(20)])
    yield store
    store.close()


def test_what_the_broker_took_waits_until_somebody_says_that_it_is_there(outbox: Outbox) -> None:
    outbox.acknowledge(set(range(1, 11)))
    assert numbers(outbox) == list(range(11, 21))
    assert (outbox.rows, outbox.deliveries.taken, outbox.kept) == (20, 10, 0)
    outbox.deliveries.retake()
    assert numbers(outbox) == list(range(1, 21))
    outbox.acknowledge(set(range(1, 11)))
    assert outbox.deliveries.arrived(outbox.gen, 8, ()) == (8, 0)
    outbox.deliveries.retake()
    assert numbers(outbox) == list(range(9, 21))
    assert outbox.rows == 12


def test_what_is_missing_is_to_be_sent_again_and_the_rest_is_not(outbox: Outbox) -> None:
    outbox.acknowledge(set(range(1, 11)))
    assert outbox.deliveries.arrived(outbox.gen, 10, [(3, 4), (9, 9)]) == (7, 3)
    assert numbers(outbox) == [3, 4, 9, *range(11, 21)]
    assert outbox.rows == 13


def test_nobody_can_have_what_was_never_sent(outbox: Outbox) -> None:
    outbox.acknowledge({1, 2})
    assert outbox.deliveries.arrived(outbox.gen, 1 << 39, ()) == (2, 0)
    assert outbox.deliveries.arrived("0123456789abcdef", 20, ()) == (0, 0)
    assert numbers(outbox) == list(range(3, 21))


def test_the_same_word_twice_writes_nothing(outbox: Outbox) -> None:
    outbox.acknowledge({1, 2, 3})
    outbox.deliveries.arrived(outbox.gen, 3, ())
    before = outbox.commits
    assert outbox.deliveries.arrived(outbox.gen, 3, ()) == (0, 0)
    assert outbox.commits == before


def test_after_a_restart_all_is_sent_again_of_which_nobody_said_that_it_is_there(tmp_path: Path) -> None:
    store = make(tmp_path)
    store.deliveries.is_end_to_end = True
    store.open()
    store.append([draft() for _ in range(6)])
    store.acknowledge({1, 2, 3, 4})
    store.deliveries.arrived(store.gen, 2, ())
    store.close()
    again = make(tmp_path)
    again.open()
    assert numbers(again) == [3, 4, 5, 6]
    again.close()


def test_what_was_taken_and_goes_over_a_bound_is_declared(tmp_path: Path) -> None:
    store = make(tmp_path, max_rows=5)
    store.deliveries.is_end_to_end = True
    store.open()
    store.append([draft() for _ in range(5)])
    store.acknowledge({1, 2, 3})
    store.append([draft() for _ in range(3)])
    while store.evict():
        pass
    (record,) = gap_records(store)
    assert record["first"] == 1
    store.deliveries.retake()
    assert len(numbers(store)) == store.rows
    store.close()


def test_a_gap_record_that_the_broker_took_is_not_urgent_until_it_is_sent_again(outbox: Outbox) -> None:
    outbox.declare_lost(1, "inlet")
    (record,) = outbox.urgent(5)
    outbox.acknowledge({record.seq})
    assert outbox.urgent(5) == []
    outbox.deliveries.retake()
    assert outbox.urgent(5) == [record]
    outbox.acknowledge({record.seq})
    outbox.deliveries.arrived(outbox.gen, record.seq, ())
    outbox.deliveries.retake()
    assert outbox.urgent(5) == []


def test_without_end_to_end_the_word_frees_what_is_kept_for_replay(tmp_path: Path) -> None:
    store = make(tmp_path)
    store.open()
    store.append([draft() for _ in range(6)])
    store.acknowledge({1, 2, 3, 4, 5, 6})
    assert store.deliveries.arrived(store.gen, 6, [(2, 2)]) == (5, 1)
    assert numbers(store) == [2]
    store.close()


GEN = "00ed789d1c776b0b"


def test_a_word_is_read() -> None:
    assert read_arrived(b'{"gen":"00ed789d1c776b0b","upto":17}') == Arrived(GEN, 17)
    assert read_arrived(b'{"gen":"00ed789d1c776b0b","upto":17,"missing":[[3,5]],"new":1}') == Arrived(
        GEN, 17, ((3, 5),)
    )


@pytest.mark.parametrize(
    "fields",
    [
        [],
        {"gen": GEN},
        {"gen": "x", "upto": 1},
        {"gen": GEN, "upto": -1},
        {"gen": GEN, "upto": True},
        {"gen": GEN, "upto": 1 << 60},
        {"gen": GEN, "upto": 1.5},
        {"gen": GEN, "upto": 9, "missing": [[5, 3]]},
        {"gen": GEN, "upto": 9, "missing": [[1, 2, 3]]},
        {"gen": GEN, "upto": 9, "missing": 7},
        {"gen": GEN, "upto": 9, "missing": [[1, 1]] * 1001},
    ],
)
def test_what_is_no_such_word_is_refused(fields: object) -> None:
    with pytest.raises(ValueError, match="an acknowledgement"):
        read_arrived(json.dumps(fields).encode())


@pytest.mark.parametrize("payload", [b"", b"\xff", b"{", b"[" * 60_000])
def test_what_is_no_json_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match="no JSON"):
        read_arrived(payload)


def test_only_sound_words_are_passed_on_and_the_others_counted() -> None:
    words: list[Arrived] = []
    inbox = ArrivalsInbox(lambda word: len(words) < 2 and not words.append(word))
    sound = json.dumps({"gen": GEN, "upto": 1}).encode()
    assert inbox.put(Received("ack", sound))
    assert not inbox.put(Received("ack", sound, is_retained=True))
    assert not inbox.put(Received("ack", b"nonsense"))
    assert not inbox.put(Received("ack", sound + b" " * (1 << 17)))
    assert inbox.put(Received("ack", sound))
    assert not inbox.put(Received("ack", sound)), "there is no room"
    assert (len(words), inbox.taken, inbox.dropped) == (2, 2, 4)
