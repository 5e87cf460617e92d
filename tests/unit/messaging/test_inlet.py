import threading

from appliance.core.clock import ClockQuality
from appliance.core.message import Message
from appliance.messaging.inlet import Arrival, Inlet
from appliance.messaging.parcels import LinkClosing


def arrival(*, durable: bool = True) -> Arrival:
    return Arrival(Message("door/events", durable=durable), 0, 0, ClockQuality.SYNCED)


def test_it_never_holds_more_than_its_bound_and_counts_what_it_dropped() -> None:
    inlet = Inlet(most=3)
    assert [inlet.put(arrival()) for _ in range(3)] == [True, True, True]
    assert not inlet.put(arrival())
    assert not inlet.put(arrival(durable=False))
    assert (inlet.dropped, inlet.lost) == (2, 1)


def test_what_was_taken_out_and_is_not_on_disk_still_counts() -> None:
    inlet = Inlet(most=2)
    inlet.put(arrival())
    inlet.put(arrival())
    assert len(inlet.take()) == 2
    assert not inlet.put(arrival())
    inlet.held -= 2
    assert inlet.put(arrival())


def test_a_waiting_thread_wakes_for_a_message_from_another() -> None:
    inlet = Inlet()
    threading.Timer(0.05, inlet.put, [arrival()]).start()
    inlet.wait(10.0, arrivals=1)
    assert inlet.depth == 1


def test_a_closing_link_is_settled_only_when_the_taker_says_so() -> None:
    inlet = Inlet()
    inlet.tell([LinkClosing()])
    assert inlet.is_settled
    inlet.is_staffed = True
    inlet.tell([LinkClosing()])
    assert not inlet.is_settled
