import random

from appliance.core.backoff import Backoff


class Hand:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_ceiling_doubles_up_to_the_most_and_waits_are_spread() -> None:
    backoff = Backoff(least=0.5, most=8.0, random_source=random.Random(1))
    for ceiling in [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]:
        assert 0.1 <= backoff.next_wait() <= ceiling


def test_even_the_first_waits_of_a_fleet_are_spread() -> None:
    waits = {round(Backoff(least=0.5, random_source=random.Random(seed)).next_wait(), 3) for seed in range(50)}
    assert len(waits) > 40


def test_a_peer_that_drops_us_at_once_does_not_reset_the_ceiling() -> None:
    hand = Hand()
    backoff = Backoff(least=1.0, most=64.0, stable=60.0, monotonic=hand)
    for _ in range(5):
        backoff.next_wait()
        backoff.succeeded()
        hand.seconds += 1.0
    backoff.next_wait()
    assert backoff.failures == 6
    backoff.succeeded()
    hand.seconds += 61.0
    assert backoff.next_wait() <= 1.0
