"""Deltas are made against the releases before, and published where they pay."""

import random
from pathlib import Path

import bsdiff4

from appliance.updates.formats import Release
from appliance.workbench.publishing.deltas import make_delta
from tests.simulators.publishing import Fleet, write_model


def test_a_delta_leads_from_one_file_to_the_other() -> None:
    made = make_delta(b"a" * 5000 + b"one", b"a" * 5000 + b"two")
    assert bsdiff4.patch(b"a" * 5000 + b"one", made.content) == b"a" * 5000 + b"two"


def test_a_delta_above_sixty_per_cent_of_the_compressed_file_is_not_worth_it() -> None:
    noise = random.Random(1)
    base, other = noise.randbytes(50_000), noise.randbytes(50_000)
    assert not make_delta(base, other).is_worth_it
    half = make_delta(base, base[:25_000] + other[:25_000])
    assert 0.4 < half.size / half.packed < 0.6
    assert half.is_worth_it
    most = make_delta(base, base[:15_000] + other[:35_000])
    assert most.size / most.packed > 0.6
    assert not most.is_worth_it


def test_a_device_can_come_from_each_of_the_last_three_releases(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    contents = {}
    for number in range(5):
        model = write_model(tmp_path / str(number) / "mine", f"1.{number}", (0.9 - number / 100,))
        contents[f"1.{number}"] = (model / "int8.onnx").read_bytes()
        added = fleet.add(model)
    assert [(one.version, one.is_kept) for one in added.deltas] == [("1.3", True), ("1.2", True), ("1.1", True)]
    fleet.publish()
    with fleet.device(tmp_path / "device") as trust:
        trust.refresh()
        found = trust.find("models/mine/1.4/manifest.toml")
        assert found is not None
        deltas = Release.model_validate(found.custom["edgecam"]).files["int8.onnx"].deltas
        for delta, version in zip(deltas, ("1.3", "1.2", "1.1"), strict=True):
            target = trust.find(delta.path)
            assert target is not None
            folder, _, name = delta.path.rpartition("/")
            patch = (fleet.published / "targets" / folder / f"{target.digest}.{name}").read_bytes()
            assert bsdiff4.patch(contents[version], patch) == contents["1.4"]


def test_weights_that_did_not_change_need_no_delta(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.add(write_model(tmp_path / "a" / "mine", "1.0"))
    assert fleet.add(write_model(tmp_path / "b" / "mine", "1.1")).deltas == ()
