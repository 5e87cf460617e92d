from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.messaging.errands import Errands
from appliance.messaging.requests import Arrived
from tests.unit.messaging.feeder_bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.outbox.close()


def test_words_of_generations_that_were_never_there_are_not_remembered(bench: Bench) -> None:
    errands = Errands(bench.outbox, bench.feeder)
    errands.run([Arrived(f"{number:016x}", 1) for number in range(1000)])
    assert errands.waiting == 0
    errands.run([Arrived(bench.outbox.gen, 1), Arrived(bench.outbox.gen, 2)])
    assert errands.waiting == 1
