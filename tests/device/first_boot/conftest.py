"""A card as `make image` makes it. `make test-firstboot` says where system and bundle are."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.device.conftest import roomy
from tests.simulators.card import Card

BUNDLE = os.environ.get("EDGECAM_BUNDLE", "")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # only where nobody asked for them: what a machine lacks is told by the script, before it makes a bundle
    skip = pytest.mark.skip(reason="needs root, a system with cloud-init and the bundle: sudo make test-firstboot")
    for item in items:
        if Path(__file__).parent in item.path.parents and not BUNDLE:
            item.add_marker(skip)


@pytest.fixture
def new_card(bare: Path) -> Iterator[Callable[[str], Card]]:
    """Makes a card with this edgecam-setup.toml."""
    with tempfile.TemporaryDirectory(prefix="edgecam-card-", dir=roomy(), ignore_cleanup_errors=True) as folder:
        made: list[Card] = []

        def make(setup: str) -> Card:
            place = Path(folder, str(len(made)))
            place.mkdir()
            made.append(Card(bare, Path(BUNDLE).resolve(), place, setup))
            return made[-1]

        yield make
