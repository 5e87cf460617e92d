from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.fleet import Fleet, served
from tests.simulators.fleet_site import NOW, Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Give a fleet, its web server and one device."""
    fleet = Fleet(tmp_path / "fleet", NOW)
    with served(fleet.folder) as web:
        yield Site(tmp_path, fleet, web)
