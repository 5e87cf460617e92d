"""`make fleet-cost`: what a fleet costs its server, measured on the wire; docs/fleet.md computes with these figures.

The bundled edgecam-nano is published by the workbench, served by its web server, and asked for and brought by a
device's own client through a proxy that counts the bytes of HTTP both ways. ``--pictures FOLDER``, of at least 128:
also the delta to the same model calibrated anew with ``--steady``; that takes minutes.
"""

import argparse
import hashlib
import json
import random
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from appliance.cameras.pictures import list_pictures
from appliance.core.manifest import read_manifest
from appliance.inference.folders import bundled_models
from appliance.updates.bringing import bring
from appliance.updates.checking import check
from appliance.updates.orders import BringOrder, CheckAnswer, CheckOrder, Repository
from appliance.updates.pieces import files_of, pieces_of
from appliance.updates.store import TRUST, Store, StoredFile
from appliance.workbench.publishing.rollouts import Order, Plan, Running, moment, published_models, write
from appliance.workbench.publishing.rollouts import begin as begin_rollout
from appliance.workbench.publishing.serving import RepositoryServer, serving
from tests.bench.deltas import NAME, PICTURES, in_8_bits, inputs
from tests.simulators.publishing import Fleet
from tests.simulators.tcp_proxy import TcpProxy


class Device:
    """A device of a fleet, and what its requests cost."""

    def __init__(self, fleet: Fleet, folder: Path, port: int) -> None:
        self.store, self._fleet, self._port = Store(folder), fleet, port
        self._root = folder / "root.json"
        self._root.write_bytes(fleet.root)

    def ask(self) -> tuple[CheckAnswer, int, int]:
        """Ask the fleet; give its answer, how many requests that took, and bytes."""
        with TcpProxy(self._port) as proxy:
            return check(self._order(proxy)), proxy.connections, proxy.carried

    def bring(self) -> int:
        """Bring the release that the fleet names, and have it here; give how many bytes that took."""
        with TcpProxy(self._port) as proxy:
            ((sha256, offer),) = check(self._order(proxy)).offers.items()
            before = proxy.carried
            bring(
                BringOrder(folder=self.store.incoming_folder(sha256), pieces=pieces_of(offer, self.store)),
                lambda *_: None,
            )
            files = {name: StoredFile(sha256=one.sha256, size=one.size) for name, one in files_of(offer).items()}
            self.store.adopt(sha256, offer.release, files)
            return proxy.carried - before

    def _order(self, proxy: TcpProxy) -> CheckOrder:
        url = f"http://127.0.0.1:{proxy.port}"
        place = Repository(url=url, root=self._root, channel="stable", model=NAME)
        return CheckOrder(repository=place, folder=self.store.folder / TRUST, now=moment(self._fleet.now))


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(prog="fleet-cost", description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    options = parser.parse_args()
    forms = [(bundled_models() / NAME / f"{NAME}-int8.onnx").read_bytes()]
    if options.pictures:
        forms = _calibrated(options.pictures)
    with tempfile.TemporaryDirectory(prefix="fleet-cost-") as folder:
        figures = _measured(forms, Path(folder))
    for name, value in figures.items():
        print(f"{name}: {value}")
    if options.json:
        print(json.dumps(figures))


def _calibrated(folder: Path) -> list[bytes]:
    """Give two forms of the model in 8 bits, each calibrated on pictures of its own."""
    cv2.setNumThreads(1)
    files = list_pictures(folder)
    random.Random(1).shuffle(files)
    nano = bundled_models() / NAME
    weights, manifest = (nano / f"{NAME}-fp32.onnx").read_bytes(), read_manifest(nano)
    parts = (files[:PICTURES], files[PICTURES : 2 * PICTURES])
    return [in_8_bits(weights, inputs(manifest, part), is_steady=True) for part in parts]


def _measured(forms: Sequence[bytes], folder: Path) -> dict[str, Any]:
    fleet, figures = Fleet(folder / "publisher"), {}
    _publish(fleet, folder, "1.0", forms[0])
    server = RepositoryServer(fleet.published)
    (folder / "device").mkdir()
    with serving(server):
        device = Device(fleet, folder / "device", server.server_port)
        figures["bytes of a first check"] = device.ask()[2]
        _, figures["requests of an idle check"], figures["bytes of an idle check"] = device.ask()
        figures["megabytes of a release"] = device.bring() / 1e6
        if len(forms) > 1:
            _publish(fleet, folder, "1.1", forms[1])
            figures["bytes of a check that finds a release"] = device.ask()[2]
            figures["megabytes of its delta"] = device.bring() / 1e6
    return figures


def _publish(fleet: Fleet, folder: Path, version: str, weights: bytes) -> None:
    """Publish the bundled model with other weights in 8 bits, and roll it out to all."""
    nano, model = bundled_models() / NAME, folder / version / NAME
    shutil.copytree(nano, model)
    name = f"{NAME}-int8.onnx"
    old = (nano / name).read_bytes()
    (model / name).write_bytes(weights)
    changes = {
        hashlib.sha256(old).hexdigest(): hashlib.sha256(weights).hexdigest(),
        f"size = {len(old)}": f"size = {len(weights)}",
        f'version = "{read_manifest(nano).version}"': f'version = "{version}"',
    }
    for file in (model / "manifest.toml", model / "golden" / "golden.json"):
        text = file.read_text(encoding="utf-8")
        for before, after in changes.items():
            text = text.replace(before, after)
        file.write_text(text, encoding="utf-8")
    fleet.add(model)
    fleet.publish()
    order = Order([(NAME, version, ())])
    rollout = begin_rollout(order, published_models(fleet.repository), f"salt-{version}", fleet.now)
    write(fleet.repository, Running("stable", rollout, Plan(since=moment(fleet.now))), fleet.now)
    fleet.refresh()


if __name__ == "__main__":
    main()
