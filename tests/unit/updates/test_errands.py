"""What the process that speaks to the fleet makes of a real repository on a real web server, and of bad ones."""

import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from appliance.core.child import OverdueError, StoppedError
from appliance.core.errors import ConfigError, UnavailableError
from appliance.updates.errands import Errands
from appliance.updates.formats import Licence
from appliance.updates.orders import BringOrder, CheckAnswer, CheckOrder, Piece, Progress, Repository
from appliance.updates.places import address
from appliance.updates.refusals import Code, RefusedError, UnreachedError
from tests.simulators.fleet import Fleet, Web, served, text
from tests.simulators.updating import Direct

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
WEIGHTS = bytes(range(256)) * 400


@pytest.fixture
def errands() -> Errands:
    return Errands(threading.Event())


@pytest.fixture
def direct() -> Direct:
    return Direct()


def model(folder: Path, version: str = "2", weights: bytes = WEIGHTS) -> Path:
    (folder / "golden").mkdir(parents=True)
    (folder / "manifest.toml").write_text(f'name = "persons"\nversion = "{version}"\n')
    (folder / "weights.onnx").write_bytes(weights)
    (folder / "golden/golden.json").write_bytes(b"{}")
    return folder


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    fleet = Fleet(tmp_path / "fleet", NOW)
    fleet.roll_out("persons", fleet.release(model(tmp_path / "model"), 2))
    fleet.sign()
    return fleet


@pytest.fixture
def web(fleet: Fleet) -> Iterator[Web]:
    with served(fleet.folder) as web:
        yield web


def order(fleet: Fleet, url: str, folder: Path, now: datetime = NOW) -> CheckOrder:
    repository = Repository(url=url, root=fleet.root, channel="stable", model="persons")
    return CheckOrder(repository=repository, folder=folder, now=text(now))


def bring_all(answer: CheckAnswer, folder: Path) -> BringOrder:
    offer = next(iter(answer.offers.values()))
    files = {"manifest.toml": offer.manifest, **offer.files}
    return BringOrder(folder=folder, pieces=tuple(Piece(name=name, known=one) for name, one in files.items()))


def test_a_release_is_found_and_brought(fleet: Fleet, web: Web, errands: Errands, tmp_path: Path) -> None:
    answer = errands.check(order(fleet, web.url, tmp_path / "trust"))
    assert answer.rollout is not None
    assert answer.rollout.choose[0].sha256 in answer.offers
    assert answer.issued == text(NOW)
    told: list[Progress] = []
    brought = errands.bring(bring_all(answer, tmp_path / "in"), told.append)
    assert (tmp_path / "in/weights.onnx").read_bytes() == WEIGHTS
    assert (tmp_path / "in/golden/golden.json").read_bytes() == b"{}"
    assert brought.brought == told[-1].done == told[-1].whole
    before = web.sent
    assert errands.bring(bring_all(answer, tmp_path / "in"), told.append).brought == 0
    assert web.sent == before


def test_a_check_that_finds_nothing_new_costs_two_requests_and_three_kilobytes(
    fleet: Fleet, web: Web, direct: Direct, tmp_path: Path
) -> None:
    direct.check(order(fleet, web.url, tmp_path / "trust"))
    web.asked.clear()
    web.sent = 0
    direct.check(order(fleet, web.url, tmp_path / "trust"))
    assert sorted(web.asked) == ["/metadata/2.root.json", "/metadata/timestamp.json"]
    assert web.sent <= 3000


def test_a_folder_that_was_carried_here_is_checked_alike(fleet: Fleet, direct: Direct, tmp_path: Path) -> None:
    url = address(str(fleet.folder))
    answer = direct.check(order(fleet, url, tmp_path / "trust"))
    direct.bring(bring_all(answer, tmp_path / "in"), lambda _: None)
    assert (tmp_path / "in/weights.onnx").read_bytes() == WEIGHTS
    fleet.stored("models/persons/2/weights.onnx").write_bytes(b"x" * len(WEIGHTS))
    with pytest.raises(RefusedError) as refused:
        direct.bring(bring_all(answer, tmp_path / "again"), lambda _: None)
    assert refused.value.code is Code.HASH
    with pytest.raises(RefusedError) as refused:
        direct.check(order(fleet, url, tmp_path / "trust", NOW + timedelta(days=8)))
    assert refused.value.code is Code.EXPIRED


def test_an_older_repository_is_refused(fleet: Fleet, web: Web, errands: Errands, tmp_path: Path) -> None:
    old = (fleet.folder / "metadata/timestamp.json").read_bytes()
    fleet.sign()
    errands.check(order(fleet, web.url, tmp_path / "trust"))
    (fleet.folder / "metadata/timestamp.json").write_bytes(old)
    with pytest.raises(RefusedError) as refused:
        errands.check(order(fleet, web.url, tmp_path / "trust"))
    assert refused.value.code is Code.ROLLBACK


def test_another_fleet_s_signatures_are_refused(web: Web, direct: Direct, tmp_path: Path) -> None:
    other = Fleet(tmp_path / "other", NOW)
    with pytest.raises(RefusedError) as refused:
        direct.check(order(other, web.url, tmp_path / "trust"))
    assert refused.value.code is Code.BAD_SIGNATURE


def test_a_rollout_key_cannot_sign_a_model(fleet: Fleet, web: Web, direct: Direct, tmp_path: Path) -> None:
    digest = fleet.put("rollout-stable", "models/persons/3/manifest.toml", b"evil", {"edgecam": {}})
    fleet.roll_out("persons", {"path": "models/persons/3/manifest.toml", "sha256": digest})
    fleet.sign()
    answer = direct.check(order(fleet, web.url, tmp_path / "trust"))
    assert answer.offers == {}
    assert "signed by nobody who may" in answer.unsigned[digest]


def test_a_rollout_cannot_name_another_digest_than_is_signed(
    fleet: Fleet, web: Web, direct: Direct, tmp_path: Path
) -> None:
    fleet.roll_out("persons", {"path": "models/persons/2/manifest.toml", "sha256": "0" * 64})
    fleet.sign()
    answer = direct.check(order(fleet, web.url, tmp_path / "trust"))
    assert answer.offers == {}
    assert "is signed as" in answer.unsigned["0" * 64]


@pytest.mark.parametrize(
    "changes",
    [{"share_ppm": 2_000_000}, {"schema": 2}, {"salt": 1.5}, {"more": 1}, {"not_before": "2026-02-30T00:00:00Z"}],
)
def test_a_rollout_that_is_not_understood_is_refused(
    fleet: Fleet, web: Web, direct: Direct, tmp_path: Path, changes: dict[str, object]
) -> None:
    fleet.roll_out("persons", fleet.release(model(tmp_path / "other"), 2), **changes)
    fleet.sign()
    with pytest.raises(RefusedError) as refused:
        direct.check(order(fleet, web.url, tmp_path / "trust"))
    assert refused.value.code is Code.INVALID


def test_a_day_that_no_calendar_has_ends_no_worker(fleet: Fleet, web: Web, direct: Direct, tmp_path: Path) -> None:
    licence = {"spdx": "MIT", "expires": "2027-02-30"}
    fleet.roll_out("persons", fleet.release(model(tmp_path / "other"), 2, licence=licence))
    fleet.sign()
    answer = direct.check(order(fleet, web.url, tmp_path / "trust"))
    assert "expires" in next(iter(answer.unsigned.values()))


def test_no_rollout_is_no_trouble(web: Web, errands: Errands, tmp_path: Path, fleet: Fleet) -> None:
    wanted = order(fleet, web.url, tmp_path / "trust")
    other = wanted.repository.model_copy(update={"model": "cars"})
    assert errands.check(wanted.model_copy(update={"repository": other})).rollout is None


@pytest.mark.parametrize("status", [403, 500, 503])
def test_a_server_in_trouble_is_asked_again_later_and_as_it_says(
    fleet: Fleet, web: Web, direct: Direct, tmp_path: Path, status: int
) -> None:
    web.statuses["timestamp"] = (status, "120")
    with pytest.raises(UnavailableError) as unavailable:
        direct.check(order(fleet, web.url, tmp_path / "trust"))
    assert unavailable.value.retry_after == 120
    answer_before_trouble = web.statuses.pop("timestamp")
    answer = direct.check(order(fleet, web.url, tmp_path / "trust"))
    web.statuses["weights"] = answer_before_trouble
    with pytest.raises(UnavailableError) as unavailable:
        direct.bring(bring_all(answer, tmp_path / "in"), lambda _: None)
    assert unavailable.value.retry_after == 120


def test_a_captive_portal_is_no_fleet_and_told_as_what_it_is(
    fleet: Fleet, web: Web, direct: Direct, tmp_path: Path
) -> None:
    answer = direct.check(order(fleet, web.url, tmp_path / "before"))
    web.replaced[""] = b"<html>please pay</html>"
    for ask in (
        lambda: direct.check(order(fleet, web.url, tmp_path / "trust")),
        lambda: direct.bring(bring_all(answer, tmp_path / "in"), lambda _: None),
    ):
        with pytest.raises(UnreachedError, match="want somebody to log in") as unreached:
            ask()
        assert unreached.value.code is Code.PORTAL
    web.replaced.clear()
    direct.check(order(fleet, web.url, tmp_path / "trust"))
    direct.bring(bring_all(answer, tmp_path / "in"), lambda _: None)


def test_a_portal_that_does_not_say_what_it_sends_is_no_fleet_either(
    fleet: Fleet, web: Web, direct: Direct, tmp_path: Path
) -> None:
    answer = direct.check(order(fleet, web.url, tmp_path / "before"))
    web.replaced[""], web.kind = b"<html>please pay</html>", "application/octet-stream"
    with pytest.raises(RefusedError) as refused:
        direct.check(order(fleet, web.url, tmp_path / "trust"))
    assert refused.value.code is Code.INVALID
    with pytest.raises(RefusedError) as refused:
        direct.bring(bring_all(answer, tmp_path / "in"), lambda _: None)
    assert refused.value.code is Code.HASH


def test_a_check_that_finds_nothing_new_writes_nothing(fleet: Fleet, web: Web, direct: Direct, tmp_path: Path) -> None:
    fleet.renew_root()
    direct.check(order(fleet, web.url, tmp_path / "trust"))

    def written() -> dict[str, tuple[int, int]]:
        files = [file for file in (tmp_path / "trust").rglob("*") if file.is_file()]
        return {str(file): (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}

    before = written()
    assert len(before) == 9
    direct.check(order(fleet, web.url, tmp_path / "trust"))
    assert written() == before


def test_endless_metadata_is_cut_off(fleet: Fleet, web: Web, direct: Direct, tmp_path: Path) -> None:
    web.replaced["timestamp"], web.kind = b"x" * (1 << 20), "application/json"
    with pytest.raises(RefusedError) as refused:
        direct.check(order(fleet, web.url, tmp_path / "trust"))
    assert refused.value.code is Code.ENDLESS


def test_a_missing_root_of_trust_is_the_owner_s_to_mend(fleet: Fleet, errands: Errands, tmp_path: Path) -> None:
    wanted = order(fleet, "http://127.0.0.1:9", tmp_path / "trust")
    repository = wanted.repository.model_copy(update={"root": tmp_path / "none.json"})
    with pytest.raises(ConfigError, match="that the fleet's owner"):
        errands.check(wanted.model_copy(update={"repository": repository}))


def test_a_delta_brings_little_and_a_bad_one_costs_only_itself(
    fleet: Fleet, web: Web, direct: Direct, tmp_path: Path
) -> None:
    bsdiff4 = pytest.importorskip("bsdiff4")
    old = tmp_path / "old.onnx"
    old.write_bytes(WEIGHTS)
    newer = WEIGHTS[:50_000] + b"recalibrated" + WEIGHTS[50_012:]
    delta = bsdiff4.diff(WEIGHTS, newer)
    for content, is_used in ((delta, True), (b"BSDIFF40" + bytes(40), False), (bsdiff4.diff(newer, WEIGHTS), False)):
        paths = {name: f"deltas/{name}" for name in ("delta", "weights")}
        fleet.put("models", paths["delta"], content)
        fleet.put("models", paths["weights"], newer)
        known = {
            name: {
                "url": f"{web.url}/targets/deltas/{fleet.stored(path).name}",
                "sha256": sha256(fleet.stored(path).read_bytes()).hexdigest(),
                "size": fleet.stored(path).stat().st_size,
            }
            for name, path in paths.items()
        }
        piece = Piece.model_validate(
            {
                "name": "weights.onnx",
                "known": known["weights"],
                "delta": known["delta"],
                "base": old,
                "base_sha256": sha256(WEIGHTS).hexdigest(),
            }
        )
        folder = tmp_path / sha256(content).hexdigest()
        answer = direct.bring(BringOrder(folder=folder, pieces=(piece,)), lambda _: None)
        assert (folder / "weights.onnx").read_bytes() == newer
        assert [file.name for file in folder.iterdir()] == ["weights.onnx"]
        assert (answer.brought == len(delta)) is is_used
        assert bool(answer.refused_deltas) is not is_used


def test_what_another_release_has_is_not_brought(fleet: Fleet, web: Web, direct: Direct, tmp_path: Path) -> None:
    answer = direct.check(order(fleet, web.url, tmp_path / "trust"))
    here = tmp_path / "here.onnx"
    here.write_bytes(WEIGHTS)
    wanted = bring_all(answer, tmp_path / "in")
    pieces = tuple(
        piece.model_copy(update={"have": here}) if piece.name == "weights.onnx" else piece for piece in wanted.pieces
    )
    assert direct.bring(wanted.model_copy(update={"pieces": pieces}), lambda _: None).brought < 200
    assert (tmp_path / "in/weights.onnx").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    "script", ["import sys; sys.exit(3)", "print('what')", "print('{}')", "import os; os.kill(os.getpid(), 11)"]
)
def test_a_process_that_does_not_answer_is_told_of(fleet: Fleet, tmp_path: Path, script: str) -> None:
    errands = Errands(threading.Event(), command=(sys.executable, "-c", script))
    with pytest.raises(UnavailableError):
        errands.check(order(fleet, "http://127.0.0.1:9", tmp_path / "trust"))


def test_the_end_of_the_daemon_ends_an_errand_at_once(fleet: Fleet, tmp_path: Path) -> None:
    stop = threading.Event()
    errands = Errands(stop, beat=stop.set, command=(sys.executable, "-c", "import time; time.sleep(60)"))
    with pytest.raises(StoppedError):
        errands.check(order(fleet, "http://127.0.0.1:9", tmp_path / "trust"))


def test_an_errand_that_hangs_is_ended(fleet: Fleet, tmp_path: Path) -> None:
    errands = Errands(threading.Event(), command=(sys.executable, "-c", "import time; time.sleep(60)"))
    with pytest.raises(OverdueError):
        errands.check(order(fleet, "http://127.0.0.1:9", tmp_path / "trust"), within=0.1)


def test_trouble_crosses_the_border_of_the_process_as_what_it_is(
    fleet: Fleet, web: Web, errands: Errands, tmp_path: Path
) -> None:
    web.statuses["timestamp"] = (503, "120")
    with pytest.raises(UnreachedError, match="503") as unreached:
        errands.check(order(fleet, web.url, tmp_path / "trust"))
    assert (unreached.value.retry_after, unreached.value.code) == (120, Code.SERVER)


@pytest.mark.parametrize("said", ["9999-12-31T23:59:59Z", "2026-99-99T00:00:00Z", "tomorrow"])
def test_whoever_has_the_online_key_cannot_have_devices_believe_in_a_time_after_which_nothing_is_signed(
    fleet: Fleet, direct: Direct, tmp_path: Path, said: str
) -> None:
    fleet.issued = said
    fleet.sign()
    with pytest.raises(RefusedError, match="accepted: a time in UTC until") as refused:
        direct.check(order(fleet, address(str(fleet.folder)), tmp_path / "trust"))
    assert refused.value.code is Code.INVALID
    fleet.issued = True  # by another key
    fleet.sign()
    assert direct.check(order(fleet, address(str(fleet.folder)), tmp_path / "trust")).issued == text(NOW)


@pytest.mark.parametrize("said", ["2026-99-99T00:00:00Z", "2027-02-29T00:00:00Z"])
def test_a_rollout_that_begins_on_no_day_of_the_calendar_is_refused(
    fleet: Fleet, direct: Direct, tmp_path: Path, said: str
) -> None:
    fleet.roll_out("persons", fleet.release(tmp_path / "model", 2), not_before=said)
    fleet.sign()
    with pytest.raises(RefusedError, match="not_before") as refused:
        direct.check(order(fleet, address(str(fleet.folder)), tmp_path / "trust"))
    assert refused.value.code is Code.INVALID


def test_a_licence_that_ends_on_no_day_of_the_calendar_is_refused() -> None:
    with pytest.raises(ValueError, match="expires"):
        Licence.model_validate({"spdx": "MIT", "expires": "2027-02-29"})
