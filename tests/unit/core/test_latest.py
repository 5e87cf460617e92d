import threading

from appliance.core.latest import Latest


def test_newest_item_wins_and_the_dropped_are_counted() -> None:
    slot: Latest[int] = Latest()
    for number in range(5):
        slot.put(number)
    assert slot.take(timeout=0) == 4
    assert slot.dropped == 4
    assert slot.take(timeout=0) is None


def test_a_source_that_can_wait_loses_nothing() -> None:
    slot: Latest[int] = Latest()
    taken: list[int] = []

    def consume() -> None:
        while (item := slot.take(timeout=5)) is not None and item >= 0:
            taken.append(item)

    consumer = threading.Thread(target=consume)
    consumer.start()
    for number in [*range(200), -1]:
        assert slot.put_when_empty(number, timeout=5)
    consumer.join(5)
    assert taken == list(range(200))
    assert slot.dropped == 0


def test_waiting_for_an_empty_slot_ends_at_the_timeout() -> None:
    slot: Latest[int] = Latest()
    slot.put(1)
    assert not slot.put_when_empty(2, timeout=0.01)
    assert slot.take(timeout=0) == 1
