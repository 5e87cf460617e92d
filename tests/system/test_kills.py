"""A few kills of daemon and broker while events flow: nothing is missing. `make kills` does it 200 times."""

from pathlib import Path

import pytest

from tests.proof.kills import Rampage
from tests.simulators.broker import find_mosquitto


@pytest.mark.skipif(not find_mosquitto(), reason="needs mosquitto")
def test_nothing_is_missing_after_kills_of_daemon_and_broker_and_events_keep_their_order(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the model that sees squares is written with onnx")
    told = Rampage(tmp_path, seed=2).run(4)
    assert set(told["kills"].values()) != {0}
    assert (told["status"], told["disorder"], told["muddled"]) == (0, 0, 0), told
    assert told["events"] > 40
