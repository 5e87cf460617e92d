"""What a fleet costs its server, measured: the figures that docs/fleet.md computes with."""

import re
from pathlib import Path

import pytest

from appliance.inference.folders import bundled_models
from appliance.updates.checking import check
from appliance.updates.orders import CheckAnswer, CheckOrder, Repository
from appliance.workbench.publishing.rollouts import Order, Plan, Running, begin, moment, published_models, write
from appliance.workbench.publishing.serving import RepositoryServer, serving
from tests.simulators.publishing import Fleet, write_model
from tests.simulators.tcp_proxy import TcpProxy

DOCUMENT = Path(__file__).resolve().parents[4] / "docs" / "fleet.md"


def rolled_out(tmp_path: Path, models: int = 1) -> Fleet:
    fleet = Fleet(tmp_path)
    for number in range(models):
        fleet.add(write_model(tmp_path / str(number) / "mine", f"1.{number}", (0.9 - number / 100,)))
    fleet.publish()
    order = Order([("mine", "1.0", ())])
    rollout = begin(order, published_models(fleet.repository), "salt", fleet.now)
    write(fleet.repository, Running("stable", rollout, Plan(since=moment(fleet.now))), fleet.now)
    fleet.refresh()
    return fleet


def asked(fleet: Fleet, tmp_path: Path, port: int) -> tuple[CheckAnswer, int, int]:
    """Have a device ask once; give its answer, how many requests that took, and bytes of HTTP both ways."""
    (tmp_path / "root.json").write_bytes(fleet.root)
    with TcpProxy(port) as proxy:
        place = Repository(
            url=f"http://127.0.0.1:{proxy.port}", root=tmp_path / "root.json", channel="stable", model="mine"
        )
        answer = check(CheckOrder(repository=place, folder=tmp_path / "device", now=moment(fleet.now)))
        return answer, proxy.connections, proxy.carried


def test_a_check_that_finds_nothing_new_takes_two_requests_and_less_than_three_kilobytes(tmp_path: Path) -> None:
    fleet = rolled_out(tmp_path, 5)
    server = RepositoryServer(fleet.published)
    with serving(server):
        first, _, whole = asked(fleet, tmp_path, server.server_port)
        fleet.pass_time(hours=6)
        same, requests, idle = asked(fleet, tmp_path, server.server_port)
        fleet.refresh()
        later, requests_after, refreshed = asked(fleet, tmp_path, server.server_port)
    assert first.rollout is not None
    assert (same.rollout, same.timestamp) == (first.rollout, first.timestamp)
    assert later.timestamp == first.timestamp + 1
    assert (requests, requests_after) == (2, 2)
    assert max(idle, refreshed) <= 3000
    print(f"\nfirst check {whole} bytes; idle {idle}; after a refresh {refreshed}")
    assert idle == pytest.approx(documented()["bytes of an idle check"], rel=0.03)


def documented() -> dict[str, float]:
    """Give the figures that the page computes with."""
    page = DOCUMENT.read_text(encoding="utf-8")
    found = re.findall(r"(?m)^\| ([a-z ]+) \| ([\d.]+)(?: [A-Za-z]+)? \|$", page)
    return {name: float(value) for name, value in found}


def test_the_documented_sizes_are_those_of_the_bundled_model() -> None:
    folder = bundled_models() / "edgecam-nano"
    files = [folder / "manifest.toml", *folder.glob("*.onnx"), *folder.glob("golden/*")]
    assert documented()["megabytes of a release"] * 1e6 == pytest.approx(sum(map(size_of, files)), rel=0.005)
    page = DOCUMENT.read_text(encoding="utf-8")
    delta = float(re.findall(r"calibrated on 64 other pictures \| ([\d,]+) bytes", page)[0].replace(",", ""))
    small = sum(map(size_of, (folder / "manifest.toml", folder / "golden" / "golden.json")))
    assert documented()["megabytes of its delta"] * 1e6 == pytest.approx(delta + small, rel=0.05)


def size_of(file: Path) -> int:
    return file.stat().st_size


def test_the_documented_costs_follow_from_the_measured_figures() -> None:
    page, measured = DOCUMENT.read_text(encoding="utf-8"), documented()
    requests, idle, interval = measured["requests of an idle check"], measured["bytes of an idle check"], 6 * 3600
    whole, delta, spread = measured["megabytes of a release"], measured["megabytes of its delta"], 24 * 3600
    rows = re.findall(r"(?m)^\| ([\d,]+) devices \|(.*)\|$", page)
    assert [row[0] for row in rows] == ["10,000", "1,000,000", "10,000,000"]
    for name, cells in rows:
        devices = int(name.replace(",", ""))
        told = [float(cell.replace(",", "").strip().split(" ")[0]) for cell in cells.split("|")]
        expected = [
            devices * requests / interval,
            devices * idle * 4 * 30 / 1e9,
            devices * whole / spread,
            devices * delta / spread,
            devices * whole / 1e3,
        ]
        for value, right in zip(told, expected, strict=True):
            assert abs(value - right) <= max(0.02 * right, 0.006), (name, value, right)
