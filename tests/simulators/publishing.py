"""A fleet of one's own: keys, a publisher's folder, models to release, and what a device would see of it."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
from click.testing import CliRunner
from numpy.typing import NDArray

from appliance.updates.trust import Trust
from appliance.workbench.golden import golden
from appliance.workbench.publishing.adding import Added, add
from appliance.workbench.publishing.ceremony import Holders, begin
from appliance.workbench.publishing.keys import make_key, open_signer, public_of
from appliance.workbench.publishing.refreshing import Refreshed, refresh
from appliance.workbench.publishing.release import read_contents
from appliance.workbench.publishing.repository import Repository
from appliance.workbench.publishing.serving import RepositoryServer, serving
from appliance.workbench.publishing.signing import Staging
from tests.simulators.models import write_folder, yolox, yolox_answer

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
CAR = 2


class Fleet:
    """A publisher's folder with its keys beside it; nothing is published before `publish`."""

    def __init__(self, folder: Path, channels: tuple[str, ...] = ("stable",), now: datetime = START) -> None:
        self.folder = folder
        self.now = now
        self.repository = Repository(folder / "fleet")
        names = ("root-1", "root-2", "root-3", "targets-1", "models-1", "models-2", "online")
        self.keys = {name: make_key(folder / "keys" / f"{name}.pem", "") for name in names}
        offline = {
            "root": Holders([self.keys[f"root-{number}"] for number in (1, 2, 3)], 2),
            "targets": Holders([self.keys["targets-1"]], 1),
            "models": Holders([self.keys["models-1"], self.keys["models-2"]], 2),
        }
        begin(
            self.repository,
            offline,
            online=self.keys["online"],
            address=self.address("online"),
            channels=channels,
            now=self.now,
        )

    @property
    def published(self) -> Path:
        return self.repository.published

    @property
    def root(self) -> bytes:
        """What devices have in their package."""
        return (self.repository.metadata / "1.root.json").read_bytes()

    def address(self, key: str) -> str:
        return f"file2:{self.folder / 'keys' / f'{key}.pem'}"

    def new_key(self, name: str) -> None:
        self.keys[name] = make_key(self.folder / "keys" / f"{name}.pem", "")

    def sign(self, *keys: str, staging: Path | None = None) -> None:
        """Sign what waits, with these keys, or with all of them."""
        waiting = Staging(staging or self.repository.staging)
        for key in keys or list(self.keys):
            public = public_of(self.address(key), None)
            for role in waiting.roles_of(public):
                waiting.sign(role, open_signer(self.address(key), public))

    def refresh(self) -> Refreshed:
        return refresh(self.repository, self.now)

    def publish(self) -> Refreshed:
        """Sign all that waits, and publish it."""
        self.sign()
        return self.refresh()

    def pass_time(self, **time: float) -> None:
        self.now += timedelta(**time)

    def add(self, model: Path, **choices: object) -> Added:
        return add(self.repository, read_contents(model, metrics_of(model)), self.now, **choices)  # type: ignore[arg-type]

    @contextmanager
    def device(self, folder: Path, now: Callable[[], datetime] | None = None) -> Iterator[Trust]:
        """Give a device's client of what is published, with what it knows in a folder."""
        with serving(RepositoryServer(self.published)) as url:
            yield self.client(url, folder, now)

    def client(self, url: str, folder: Path, now: Callable[[], datetime] | None = None) -> Trust:
        return Trust(folder, f"{url}/metadata/", f"{url}/targets/", self.root, now=now or (lambda: self.now))


def write_model(
    folder: Path, version: str = "1.0", scores: Iterable[float] = (0.9,), licence: str = "Apache-2.0", cell: int = 0
) -> Path:
    """Write a model's folder that is fit for a release; a model for each score."""
    names = ("int8", "fp32", "fp16")
    weights = {name: yolox(_answer(cell, score)) for name, score in zip(names, scores, strict=False)}
    write_folder(folder, weights)
    manifest = folder / "manifest.toml"
    text = manifest.read_text(encoding="utf-8").replace('licence = "Apache-2.0"', f'licence = "{licence}"')
    lines = [f'version = "{version}"' if line.startswith("version = ") else line for line in text.split("\n")]
    manifest.write_text("\n".join(lines), encoding="utf-8")
    pictures = folder.with_name(f"{folder.name}-pictures")
    pictures.mkdir(exist_ok=True)
    cv2.imwrite(str(pictures / "grey.png"), np.full((64, 64, 3), 90, np.uint8))
    done = CliRunner().invoke(golden, [str(folder), "--frames", str(pictures)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return folder


def _answer(cell: int, score: float) -> NDArray[np.float32]:
    """Give what a model finds, with numbers where nothing is found that pack as badly as weights do."""
    answer = yolox_answer((cell, CAR, score))
    answer[0, cell + 1 :, :4] = np.random.default_rng(7).random(answer[0, cell + 1 :, :4].shape, np.float32)
    return answer


def metrics_of(model: Path) -> Path:
    """Write what `evaluate --json` would have printed of a model."""
    file = model.with_name(f"{model.name}-metrics.json")
    weights = sorted(model.glob("*.onnx"), key=lambda one: "int8" not in one.name)
    digest = hashlib.sha256(weights[0].read_bytes()).hexdigest()
    told = {
        "digest": digest,
        "dataset": "/data/street",
        "pictures": 5,
        "figures": {"ap": 0.3101, "ap50": 0.5, "ap75": -1.0},
    }
    file.write_text(json.dumps(told), encoding="utf-8")
    return file
