from appliance.core.backoff import Backoff
from appliance.messaging.holds import MOST_HOLDS, Holds

DENIED, TOO_LARGE, QUOTA = 0x87, 0x95, 0x97


class Hand:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def holds_of(hand: Hand) -> Holds:
    return Holds(hand, lambda: Backoff(least=5.0, most=5.0))


def test_a_denied_topic_waits_and_the_others_go_on() -> None:
    holds = holds_of(Hand())
    assert holds.may_send(1, "a")
    holds.refused(1, "a", DENIED)
    assert not holds.may_send(2, "a")
    assert holds.may_send(3, "b")
    assert holds.topics() == ["a"]


def test_after_the_wait_one_message_tries_and_its_success_sends_all_that_was_held() -> None:
    hand = Hand()
    holds = holds_of(hand)
    holds.refused(4, "a", DENIED)
    holds.refused(2, "a", DENIED)
    assert holds.due() is None
    hand.seconds = 5.0
    assert holds.due() == 2
    assert holds.may_send(2, "a")
    assert not holds.may_send(4, "a")
    assert holds.accepted(2, "a") == 2
    assert holds.may_send(4, "a")
    assert len(holds) == 0


def test_a_failed_trial_waits_again() -> None:
    hand = Hand()
    holds = holds_of(hand)
    holds.refused(1, "a", DENIED)
    hand.seconds = 5.0
    assert holds.may_send(1, "a")
    holds.refused(1, "a", DENIED)
    assert not holds.may_send(1, "a")
    assert 5.0 < (holds.next_trial() or 0.0) <= 15.0


def test_one_bad_message_holds_back_nothing_but_itself() -> None:
    holds = holds_of(Hand())
    holds.refused(1, "a", TOO_LARGE)
    assert not holds.may_send(1, "a")
    assert holds.may_send(2, "a")


def test_a_quota_holds_back_everything() -> None:
    holds = holds_of(Hand())
    holds.refused(1, "a", QUOTA)
    assert not holds.may_send(2, "b")


def test_a_lost_link_makes_trials_anew_from_the_oldest() -> None:
    hand = Hand()
    holds = holds_of(hand)
    holds.refused(5, "a", DENIED)
    hand.seconds = 5.0
    assert holds.may_send(5, "a")
    holds.start_over()
    assert holds.due() == 0
    assert holds.may_send(3, "a")
    assert holds.accepted(3, "a") == 0


def test_a_hold_without_a_message_left_is_forgotten() -> None:
    hand = Hand()
    holds = holds_of(hand)
    holds.refused(5, "a", TOO_LARGE)
    holds.sweep()
    assert len(holds) == 1
    hand.seconds = 5.0
    holds.sweep()
    assert len(holds) == 0
    assert holds.due() is None


def test_holds_are_bounded() -> None:
    holds = holds_of(Hand())
    for seq in range(1500):
        holds.refused(seq, "a", TOO_LARGE)
    assert len(holds) == 1000


def test_what_is_let_go_because_too_much_is_held_back_is_looked_for_all_the_same() -> None:
    hand = Hand()
    holds = holds_of(hand)
    for seq in range(1, MOST_HOLDS + 2):
        holds.refused(seq, "a", TOO_LARGE)
    assert len(holds) == MOST_HOLDS
    hand.seconds = 5.0
    assert holds.due() == 1
