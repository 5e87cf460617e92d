"""What a card is written from."""

from pathlib import Path

import pytest

from tests.simulators.system_image import make_image


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "system.img"
    make_image(path)
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "card"
    (folder / "edgecam").mkdir(parents=True)
    for name in ("user-data", "network-config", "meta-data", "edgecam-setup.toml", "edgecam/edgecam_1_all.deb"):
        (folder / name).write_text(f"{name} of the bundle\n")
    return folder
