from appliance.messaging.suspects import Suspects


def test_one_that_is_in_flight_again_and_again_and_at_last_alone_is_the_one() -> None:
    suspects = Suspects()
    assert suspects.lost({1, 2, 3}, is_blamed=False) is None
    assert not suspects.is_careful
    assert suspects.lost({2, 3, 4}, is_blamed=False) is None
    assert suspects.is_careful, "from now on one by one"
    assert suspects.lost({2}, is_blamed=False) == 2


def test_a_broker_that_restarts_accuses_nobody() -> None:
    suspects = Suspects()
    for first in range(0, 100, 10):
        assert suspects.lost(set(range(first, first + 5)), is_blamed=False) is None
        assert not suspects.is_careful


def test_once_all_suspects_were_taken_no_more_care_is_needed() -> None:
    suspects = Suspects()
    for _ in range(2):
        suspects.lost({1, 2}, is_blamed=False)
    assert suspects.is_careful
    suspects.answered(1)
    assert suspects.is_careful
    suspects.answered(2)
    assert not suspects.is_careful


def test_a_broker_that_says_what_it_objects_to_is_believed() -> None:
    suspects = Suspects()
    assert suspects.lost({7, 8}, is_blamed=True) is None
    assert suspects.is_careful
    suspects.answered(8)
    assert suspects.lost({7}, is_blamed=True) == 7


def test_a_loss_with_nothing_in_flight_is_no_reason_for_care() -> None:
    suspects = Suspects()
    assert suspects.lost(set(), is_blamed=True) is None
    assert not suspects.is_careful
