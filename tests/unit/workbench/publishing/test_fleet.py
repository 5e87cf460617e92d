"""A real repository from its first keys on, seen through the device's own client."""

import hashlib
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, MetaFile, Root, TargetFile, Targets

from appliance.core.errors import ConfigError, UnavailableError
from appliance.updates.formats import Release
from appliance.updates.refusals import Code, RefusedError
from appliance.workbench.publishing.adding import find_release, withdraw
from appliance.workbench.publishing.ceremony import Holders, begin, draft, rotate
from appliance.workbench.publishing.keys import open_signer, read_public
from appliance.workbench.publishing.repository import Repository, write_metadata
from appliance.workbench.publishing.signing import Staging, changes
from tests.simulators.publishing import Fleet, write_model

MANIFEST = "models/mine/1.0/manifest.toml"
NEXT = "models/mine/1.1/manifest.toml"


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def released(fleet: Fleet, tmp_path: Path) -> Fleet:
    fleet.add(write_model(tmp_path / "mine"))
    fleet.publish()
    return fleet


def refused(fleet: Fleet, folder: Path) -> Code:
    with fleet.device(folder) as trust:
        try:
            trust.refresh()
            trust.find(MANIFEST)
        except RefusedError as error:
            return error.code
    raise AssertionError("nothing was refused")


def test_a_device_finds_a_release_with_what_was_signed_about_it(fleet: Fleet, tmp_path: Path) -> None:
    added = fleet.add(write_model(tmp_path / "mine", scores=(0.9, 0.8)), security_floor=1)
    fleet.publish()
    with fleet.device(tmp_path / "device") as trust:
        trust.refresh()
        found = trust.find(MANIFEST)
        assert found is not None
        assert found.digest == added.released.sha256
        release = Release.model_validate(found.custom["edgecam"])
        weights = trust.find(release.files["fp32.onnx"].path)
    assert (release.counter, release.security_floor, release.licence.spdx) == (1, 1, "Apache-2.0")
    assert release.metrics.figures == {"ap": 3101, "ap50": 5000}
    assert set(release.files) == {"int8.onnx", "fp32.onnx", "golden/golden.json", "golden/grey.png"}
    assert weights is not None
    assert weights.digest == hashlib.sha256((tmp_path / "mine" / "fp32.onnx").read_bytes()).hexdigest()


def test_the_timestamp_tells_when_it_was_signed(fleet: Fleet) -> None:
    fleet.publish()
    fleet.pass_time(hours=6)
    assert fleet.refresh().timestamp == 2
    signed = Metadata.from_file(str(fleet.repository.metadata / "timestamp.json")).signed
    assert signed.unrecognized_fields["x-issued"] == "2026-11-22T18:00:00Z"


def test_nothing_is_published_below_the_threshold_and_an_offline_machine_needs_the_staging_folder_only(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.add(write_model(tmp_path / "mine"))
    carried = tmp_path / "stick"
    shutil.copytree(fleet.repository.staging, carried)
    fleet.sign("root-1", "root-2", "targets-1", "models-1", staging=carried)
    assert [Staging(carried).standing(role).is_enough for role in ("root", "targets", "models")] == [True, True, False]
    shutil.copytree(carried, fleet.repository.staging, dirs_exist_ok=True)
    with pytest.raises(ConfigError, match="models has 1 of 2 signatures"):
        fleet.refresh()
    fleet.sign("models-2", staging=carried)
    shutil.copytree(carried, fleet.repository.staging, dirs_exist_ok=True)
    (fleet.repository.staging / "1.root.json").unlink()  # both were accepted before
    (fleet.repository.staging / "1.targets.json").unlink()
    assert fleet.refresh().accepted == ("models",)


def test_one_key_that_signs_twice_counts_once(fleet: Fleet) -> None:
    fleet.sign("models-1")
    fleet.sign("models-1")
    standing = Staging(fleet.repository.staging).standing("models")
    assert (standing.signed, standing.wanted, standing.is_enough) == (1, 2, False)


def test_a_signer_is_shown_every_file_and_all_that_is_said_about_a_release(fleet: Fleet, tmp_path: Path) -> None:
    fleet.publish()
    added = fleet.add(write_model(tmp_path / "mine"), security_floor=1)
    told = changes(Staging(fleet.repository.staging), "models")
    assert f'  + targets > {MANIFEST} > hashes > sha256 = "{added.released.sha256}"' in told
    assert f"  + targets > {MANIFEST} > custom > edgecam > security_floor = 1" in told
    assert sum("hashes > sha256" in line for line in told) == 4


def test_a_signer_is_shown_paths_that_an_online_role_is_to_get_and_files_of_targets_itself(fleet: Fleet) -> None:
    """A machine that was broken into asks for them, beside something harmless."""
    fleet.publish()
    waiting = draft(fleet.repository, "targets", fleet.now)
    waiting.signed.delegations.roles["rollout-stable"].paths.append("models/*/*/*")
    waiting.signed.targets[MANIFEST] = TargetFile.from_data(MANIFEST, b"evil", ["sha256"])
    fleet.repository.stage("targets", waiting)
    told = changes(Staging(fleet.repository.staging), "targets")
    paths = "delegations > roles > rollout-stable > paths"
    assert f'  - {paths} = ["rollout/stable/*"]' in told
    assert f'  + {paths} = ["rollout/stable/*", "models/*/*/*"]' in told
    assert f"  + targets > {MANIFEST} > length = 4" in told


def test_no_field_hides_another_one_by_its_name(fleet: Fleet, tmp_path: Path) -> None:
    fleet.publish()
    fleet.add(write_model(tmp_path / "mine"))
    waiting = draft(fleet.repository, "models", fleet.now)
    waiting.signed.targets[MANIFEST].unrecognized_fields["hashes > sha256"] = "0" * 64
    fleet.repository.stage("models", waiting)
    told = "\n".join(changes(Staging(fleet.repository.staging), "models"))
    assert f"{MANIFEST} > hashes > sha256 = " in told
    assert f'{MANIFEST} > hashes \\u003e sha256 = "{"0" * 64}"' in told


def test_a_signer_with_a_root_of_their_own_is_shown_what_a_forged_before_would_hide(
    fleet: Fleet, tmp_path: Path
) -> None:
    released(fleet, tmp_path)
    fleet.add(write_model(tmp_path / "next" / "mine", "1.1", (0.8,)))
    staging, own = Staging(fleet.repository.staging), Metadata[Root].from_bytes(fleet.root)
    true = changes(staging, "models", own)
    assert true == changes(staging, "models")
    assert not any(MANIFEST in line for line in true)
    assert any(NEXT in line for line in true)
    before = staging.folder / "before" / "models.json"
    kept, forged = before.read_bytes(), staging.staged("models")
    forged.signed.version -= 1
    write_metadata(before, forged)
    assert not any(NEXT in line for line in changes(staging, "models"))
    told = changes(staging, "models", own)
    assert any(NEXT in line for line in told)
    assert any(MANIFEST in line for line in told)  # nothing is known for sure: all is shown
    before.write_bytes(kept)
    fleet.publish()
    fleet.add(write_model(tmp_path / "third" / "mine", "1.2", (0.7,)))
    before.write_bytes(kept)  # signed once, and replaced since: what was withdrawn and comes back would not show
    assert any(MANIFEST in line for line in changes(staging, "models", own))


def test_a_root_that_others_have_made_vouches_for_nothing(fleet: Fleet, tmp_path: Path) -> None:
    released(fleet, tmp_path)
    other = Fleet(tmp_path / "other")
    other.publish()
    fleet.add(write_model(tmp_path / "next" / "mine", "1.1", (0.8,)))
    staging = Staging(fleet.repository.staging)
    assert staging.vouched(Metadata[Root].from_bytes(other.root)) == {}
    assert list(staging.vouched(Metadata[Root].from_bytes(fleet.root))) == ["root", "targets", "models"]


def test_what_a_signer_is_shown_commands_no_terminal(fleet: Fleet) -> None:
    fleet.publish()
    waiting = draft(fleet.repository, "models", fleet.now)
    path = "models/mine/1.0/\x1b[2J\u202eevil"
    waiting.signed.targets[path] = TargetFile.from_data(path, b"evil", ["sha256"])
    fleet.repository.stage("models", waiting)
    told = "".join(changes(Staging(fleet.repository.staging), "models"))
    assert told.isprintable()
    assert told.isascii()
    assert "u001b[2J" in told


def test_whoever_has_the_online_key_cannot_bring_a_model_that_was_not_signed_offline(
    fleet: Fleet, tmp_path: Path
) -> None:
    released(fleet, tmp_path)
    signer = open_signer(fleet.address("online"), fleet.keys["online"])
    forged = fleet.repository.models()
    forged.signed.version += 1
    forged.signed.targets[MANIFEST] = TargetFile.from_data(MANIFEST, b"evil", ["sha256"])
    forged.sign(signer)
    fleet.repository.publish("models", forged)
    fleet.refresh()  # the thief signs snapshot and timestamp as well
    assert refused(fleet, tmp_path / "device") is Code.BAD_SIGNATURE


def test_whoever_has_the_online_key_cannot_sign_a_model_as_part_of_a_rollout(fleet: Fleet, tmp_path: Path) -> None:
    released(fleet, tmp_path)
    signer = open_signer(fleet.address("online"), fleet.keys["online"])
    rollouts: Metadata[Targets] = fleet.repository.current("rollout-stable")  # type: ignore[assignment]
    rollouts.signed.version += 1
    for path in ("models/mine/9.9/manifest.toml", "rollout/beta/mine.json", "rollout/stable/mine.json"):
        rollouts.signed.targets[path] = TargetFile.from_data(path, b"evil", ["sha256"])
    rollouts.sign(signer)
    fleet.repository.publish("rollout-stable", rollouts)
    fleet.refresh()
    with fleet.device(tmp_path / "device") as trust:
        trust.refresh()
        assert trust.find("models/mine/9.9/manifest.toml") is None
        assert trust.find("rollout/beta/mine.json") is None
        assert trust.find("rollout/stable/mine.json") is not None


def test_one_of_two_model_keys_is_not_enough_for_a_device(fleet: Fleet, tmp_path: Path) -> None:
    released(fleet, tmp_path)
    forged = draft(fleet.repository, "models", fleet.now)
    forged.sign(open_signer(fleet.address("models-1"), fleet.keys["models-1"]))
    fleet.repository.publish("models", forged)
    fleet.refresh()
    assert refused(fleet, tmp_path / "device") is Code.BAD_SIGNATURE


def test_a_fleet_that_is_not_refreshed_expires_and_one_that_is_does_not(fleet: Fleet, tmp_path: Path) -> None:
    released(fleet, tmp_path)
    fleet.pass_time(days=8)
    assert refused(fleet, tmp_path / "device") is Code.EXPIRED
    fleet.refresh()
    with fleet.device(tmp_path / "device") as trust:
        trust.refresh()
        assert trust.find(MANIFEST) is not None


def test_refreshing_keeps_a_fleet_alive_for_months_and_reminds_of_what_is_signed_offline(
    fleet: Fleet, tmp_path: Path
) -> None:
    released(fleet, tmp_path)
    for _ in range(26):
        fleet.pass_time(days=5)
        done = fleet.refresh()
    assert [one for one in done.reminders if one.startswith("models expires in 50 days")]
    with fleet.device(tmp_path / "device") as trust:
        trust.refresh()
        assert trust.find("rollout/stable/none.json") is None
    snapshots = len(list(fleet.repository.metadata.glob("*.snapshot.json")))
    assert snapshots < 26


def test_older_metadata_is_known_for_what_it_is(fleet: Fleet, tmp_path: Path) -> None:
    released(fleet, tmp_path)
    before = (fleet.repository.metadata / "timestamp.json").read_bytes()
    fleet.refresh()
    with fleet.device(tmp_path / "device") as trust:
        trust.refresh()
    (fleet.repository.metadata / "timestamp.json").write_bytes(before)
    assert refused(fleet, tmp_path / "device") is Code.ROLLBACK


def test_other_root_keys_are_followed_and_need_the_old_ones_and_the_new_ones(fleet: Fleet, tmp_path: Path) -> None:
    released(fleet, tmp_path)
    for name in ("fresh-1", "fresh-2"):
        fleet.new_key(name)
    holders = Holders([fleet.keys["fresh-1"], fleet.keys["fresh-2"]], 2)
    assert rotate(fleet.repository, "root", holders, None, fleet.now) == ["root"]
    fleet.sign("fresh-1", "fresh-2", "root-1")
    assert not Staging(fleet.repository.staging).standing("root").is_enough
    assert fleet.refresh().accepted == ()
    fleet.sign("root-2")
    assert fleet.refresh().accepted == ("root",)
    with fleet.device(tmp_path / "device") as trust:  # it has version 1 of root in its package
        trust.refresh()
        assert trust.find(MANIFEST) is not None


def test_an_online_key_that_was_stolen_is_worth_nothing_after_its_rotation(fleet: Fleet, tmp_path: Path) -> None:
    released(fleet, tmp_path)
    fleet.new_key("online-2")
    for role in ("timestamp", "snapshot", "rollout-stable"):
        holders = Holders([fleet.keys["online-2"]], 1)
        rotate(fleet.repository, role, holders, fleet.address("online-2"), fleet.now)
    assert set(fleet.publish().signed) == {"rollout-stable", "snapshot", "timestamp"}
    with fleet.device(tmp_path / "device") as trust:
        trust.refresh()
        assert trust.find(MANIFEST) is not None
    stolen = open_signer(fleet.address("online"), fleet.keys["online"])
    timestamp = fleet.repository.current("timestamp")
    assert timestamp is not None
    timestamp.signed.version += 1
    timestamp.signed.snapshot_meta = MetaFile(999)
    timestamp.sign(stolen)
    fleet.repository.publish("timestamp", timestamp)
    assert refused(fleet, tmp_path / "other-device") is Code.BAD_SIGNATURE


def test_with_other_model_keys_the_releases_are_signed_anew_and_the_old_keys_end(fleet: Fleet, tmp_path: Path) -> None:
    released(fleet, tmp_path)
    fleet.new_key("models-3")
    rotate(fleet.repository, "models", Holders([fleet.keys["models-3"]], 1), None, fleet.now)
    waiting = Staging(fleet.repository.staging)
    assert waiting.roles_of(fleet.keys["models-1"]) == []
    assert waiting.roles_of(fleet.keys["models-3"]) == ["models"]
    fleet.publish()
    with fleet.device(tmp_path / "device") as trust:
        trust.refresh()
        assert trust.find(MANIFEST) is not None


def test_a_new_channel_is_delegated_offline_and_signed_online(fleet: Fleet, tmp_path: Path) -> None:
    released(fleet, tmp_path)
    rotate(fleet.repository, "rollout-beta", Holders([fleet.keys["online"]], 1), fleet.address("online"), fleet.now)
    assert "rollout-beta" in fleet.publish().signed


def test_a_refresh_that_was_cut_short_after_it_published_is_made_good_by_the_next(fleet: Fleet) -> None:
    fleet.publish()
    holders = Holders([fleet.keys[f"root-{number}"] for number in (1, 2)], 2)
    rotate(fleet.repository, "root", holders, None, fleet.now)
    fleet.sign()
    staged = fleet.repository.staging / "2.root.json"
    content = staged.read_bytes()
    assert fleet.refresh().accepted == ("root",)
    staged.write_bytes(content)  # the power went before it was removed
    done = fleet.refresh()
    assert (done.accepted, done.waiting) == ((), ())
    assert not staged.exists()


def test_a_release_that_was_withdrawn_is_signed_by_nobody(fleet: Fleet, tmp_path: Path) -> None:
    released(fleet, tmp_path)
    withdraw(fleet.repository, "mine", "1.0", fleet.now)
    fleet.publish()
    with fleet.device(tmp_path / "device") as trust:
        trust.refresh()
        assert trust.find(MANIFEST) is None
        assert trust.find("models/mine/1.0/int8.onnx") is None


def test_a_release_that_comes_after_a_withdrawn_one_does_not_get_its_counter(fleet: Fleet, tmp_path: Path) -> None:
    released(fleet, tmp_path)
    for version, score in (("1.1", 0.8), ("1.2", 0.7)):
        fleet.add(write_model(tmp_path / version / "mine", version, (score,)))
    for version in ("1.2", "1.1"):
        withdraw(fleet.repository, "mine", version, fleet.now)
    fleet.publish()
    added = fleet.add(write_model(tmp_path / "1.3" / "mine", "1.3", (0.6,)), security_floor=4)
    assert added.released.release.counter == 4
    fleet.publish()
    with fleet.device(tmp_path / "device") as trust:
        trust.refresh()
        assert trust.find("models/mine/1.3/manifest.toml") is not None


def test_a_delta_that_another_release_names_too_outlives_the_withdrawal_of_one(fleet: Fleet, tmp_path: Path) -> None:
    released(fleet, tmp_path)
    fleet.add(write_model(tmp_path / "1.1" / "mine", "1.1", (0.8,)))
    kept = fleet.add(write_model(tmp_path / "1.2" / "mine", "1.2", (0.8,)))  # the same weights
    withdraw(fleet.repository, "mine", "1.1", fleet.now)
    signed = fleet.repository.models().signed.targets
    paths = {delta.path for file in kept.released.release.files.values() for delta in file.deltas}
    assert paths
    assert paths <= signed.keys()
    withdraw(fleet.repository, "mine", "1.2", fleet.now)
    assert not any(path.startswith("deltas/") for path in fleet.repository.models().signed.targets)


def test_counters_rise_and_a_version_never_changes(fleet: Fleet, tmp_path: Path) -> None:
    fleet.add(write_model(tmp_path / "a" / "mine"))
    with pytest.raises(ConfigError, match="give the manifest another version"):
        fleet.add(write_model(tmp_path / "b" / "mine", scores=(0.5,)))
    added = fleet.add(write_model(tmp_path / "c" / "mine", "1.1", (0.7,)), may_return_to=("1.0",))
    assert added.released.release.counter == 2
    before = find_release(fleet.repository.models().signed, "mine", "1.0")
    assert added.released.release.may_downgrade_to == (before.sha256,)
    with pytest.raises(ConfigError, match=r"no release 3.0 of mine; known: 1.0, 1.1"):
        fleet.add(write_model(tmp_path / "d" / "mine", "1.2", (0.6,)), may_return_to=("3.0",))
    with pytest.raises(ConfigError, match="would forbid this release itself"):
        fleet.add(write_model(tmp_path / "e" / "mine", "1.3", (0.65,)), security_floor=4)


def test_a_fleet_is_begun_once_and_with_keys_that_can_sign(fleet: Fleet, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has a fleet already"):
        begin(fleet.repository, {}, online=fleet.keys["online"], address="file2:x", channels=(), now=fleet.now)
    key = read_public(tmp_path / "keys" / "root-1.pem.pub")
    with pytest.raises(ConfigError, match="accepted: 1 to 1"):
        Holders([key], 2).check("root")
    with pytest.raises(ConfigError, match="a key is there twice"):
        Holders([key, key], 2).check("root")
    with pytest.raises(ConfigError, match="is no role; known: root, targets, snapshot, timestamp, models"):
        rotate(fleet.repository, "snapshots", Holders([key], 1), None, fleet.now)
    with pytest.raises(ConfigError, match="is signed offline"):
        rotate(fleet.repository, "models", Holders([key], 1), "file2:x", fleet.now)


def test_two_commands_do_not_work_in_one_folder(fleet: Fleet) -> None:
    other = Repository(fleet.repository.folder).locked()
    with fleet.repository.locked(), pytest.raises(UnavailableError, match="another command is at work"):
        other.__enter__()


def test_metadata_names_its_expiry(fleet: Fleet) -> None:
    fleet.publish()
    left = {
        role: fleet.repository.current(role).signed.expires - fleet.now  # type: ignore[union-attr]
        for role in ("root", "targets", "models", "snapshot", "timestamp", "rollout-stable")
    }
    days = {"root": 365, "targets": 365, "models": 180, "snapshot": 21, "timestamp": 7, "rollout-stable": 14}
    assert left == {role: timedelta(days=count) for role, count in days.items()}
