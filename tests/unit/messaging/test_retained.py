from appliance.messaging.parcels import Parcel
from appliance.messaging.retained import MOST_LOSSES, MOST_TOPICS, Retained


class Hand:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def taken(retained: Retained) -> list[bytes]:
    found = []
    while (parcel := retained.take()) is not None:
        found.append(parcel.payload)
    return found


def test_the_newest_of_each_topic_is_sent_once_and_again_when_asked() -> None:
    retained = Retained()
    for payload in (b"1", b"2"):
        retained.put(Parcel("a", payload, 1, retain=True))
    retained.put(Parcel("b", b"3", 1, retain=True))
    assert taken(retained) == [b"2", b"3"]
    assert taken(retained) == []
    retained.bring_out()
    assert taken(retained) == [b"2", b"3"]


def test_a_topic_below_the_devices_root_and_a_whole_topic_are_two() -> None:
    retained = Retained()
    retained.put(Parcel("a", b"1", 1, retain=True))
    retained.put(Parcel("a", b"2", 1, retain=True, is_whole_topic=True))
    assert taken(retained) == [b"1", b"2"]


def test_an_expiry_is_what_is_left_of_it_and_what_has_expired_is_gone() -> None:
    hand = Hand()
    retained = Retained(hand)
    retained.put(Parcel("a", b"1", 1, retain=True, expiry_s=10))
    hand.seconds = 4.0
    parcel = retained.take()
    assert parcel is not None
    assert parcel.expiry_s == 6
    hand.seconds = 11.0
    retained.bring_out()
    assert taken(retained) == []


def test_there_is_a_bound() -> None:
    retained = Retained()
    assert all(retained.put(Parcel(str(number), b"", 1)) for number in range(MOST_TOPICS))
    assert not retained.put(Parcel("more", b"", 1))
    assert retained.put(Parcel("0", b"", 1)), "one that is there may change"


def test_what_ends_the_connection_again_and_again_is_left_out_until_it_is_another() -> None:
    retained = Retained()
    good, bad = Parcel("good", b"1", 1), Parcel("bad", b"2", 1)
    retained.put(good)
    retained.put(bad)
    for _ in range(MOST_LOSSES):
        assert taken(retained)
        retained.lost([bad])
        retained.bring_out()
    assert retained.left_out == ["bad"]
    assert taken(retained) == [b"1"]
    retained.put(Parcel("bad", b"3", 1))
    assert retained.left_out == []
    assert taken(retained) == [b"3"]


def test_losses_that_are_not_in_a_row_leave_nothing_out() -> None:
    retained = Retained()
    one, other = Parcel("one", b"1", 1), Parcel("other", b"2", 1)
    retained.put(one)
    retained.put(other)
    for lost in (one, one, other, one, one, other):
        retained.lost([lost])
    assert retained.left_out == []


def test_a_connection_that_holds_clears_what_was_suspected() -> None:
    retained = Retained()
    bad = Parcel("bad", b"2", 1)
    retained.put(bad)
    for _ in range(MOST_LOSSES):
        retained.lost([bad])
    retained.held()
    assert retained.left_out == []
