from appliance.messaging.inbox import MOST_BYTES, Inbox, Received


def test_messages_come_out_in_order_and_beyond_its_bound_they_are_counted() -> None:
    inbox = Inbox(most=2)
    assert [inbox.put(Received(str(number), b"")) for number in range(3)] == [True, True, False]
    assert (inbox.taken, inbox.dropped) == (2, 1)
    topics = [received.topic for _ in range(2) if (received := inbox.take(0.0))]
    assert topics == ["0", "1"]
    assert inbox.take(0.0) is None


def test_where_the_newest_says_all_the_oldest_goes_and_is_counted() -> None:
    inbox = Inbox(most=1, keeps_newest=True)
    assert [inbox.put(Received(str(number), b"")) for number in range(3)] == [True, True, True]
    assert (inbox.taken, inbox.dropped) == (3, 2)
    assert not inbox.put(Received("large", b"x" * (MOST_BYTES + 1)))
    found = inbox.take(0.0)
    assert found is not None
    assert found.topic == "2"
    assert inbox.take(0.0) is None


def test_a_payload_that_is_too_large_is_not_kept() -> None:
    inbox = Inbox()
    assert inbox.put(Received("a", b"x" * MOST_BYTES))
    assert not inbox.put(Received("a", b"x" * (MOST_BYTES + 1)))
    assert inbox.dropped == 1
