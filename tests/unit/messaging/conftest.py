from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.messaging.outbox import Outbox
from tests.unit.messaging.outbox_stage import make


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """Give an outbox that is open and empty."""
    store = make(tmp_path)
    store.open()
    yield store
    store.close()
