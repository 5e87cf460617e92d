"""Reports are added up and set side by side as they are, and intervals are those of the textbooks."""

from datetime import UTC, datetime, timedelta

import pytest

from appliance.updates.formats import Rollout
from appliance.updates.refusals import Code
from appliance.updates.state import Compared
from appliance.workbench.collecting.arms import apart, arms_of
from appliance.workbench.collecting.devices import Devices
from appliance.workbench.collecting.intervals import difference, mean, share, t_quantile
from appliance.workbench.collecting.summing import reports_of, silent_after
from appliance.workbench.publishing.promotion import Counts
from tests.simulators.reporting_fleet import Reporter, spread

FIRST, SECOND, OTHER = "a" * 64, "b" * 64, "c" * 64
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ROLLOUT = Rollout.model_validate(
    {
        "schema": 1, "id": "r1", "name": "mine", "salt": "s", "share_ppm": 1_000_000,
        "choose": [
            {"path": "models/mine/1.1/manifest.toml", "sha256": FIRST, "cohorts": ["blue"]},
            {"path": "models/mine/1.2/manifest.toml", "sha256": SECOND, "cohorts": ["green"]},
        ],
    }
)  # fmt: skip


def taken_in(*reporters: Reporter, now: datetime = NOW) -> Devices:
    devices = Devices()
    for one in reporters:
        for topic, payload, _ in one.sent:
            devices.take(topic, payload, now)
    return devices


def through(name: str, sha256: str = FIRST, code: Code | None = None, rollout: str = "r1") -> Reporter:
    cam = Reporter(name, now=NOW - timedelta(hours=9))
    cam.begin(sha256, rollout)
    cam.end(code)
    return cam


def test_devices_are_added_up_by_what_became_of_them() -> None:
    trying = Reporter("trying", now=NOW)
    trying.begin(FIRST, "r1")
    silent = Reporter("silent", now=NOW - timedelta(seconds=silent_after(ROLLOUT.trial) + 60))
    silent.begin(FIRST, "r1")
    later = through("later")
    later.work(60, 0, 0)
    later.give_up(Code.STARTS)
    devices = taken_in(
        trying, silent, later, through("good"), through("bad", code=Code.BLIND), through("halted", code=Code.HALTED),
        through("elsewhere", rollout="r0"), through("green", SECOND), through("unknown", OTHER),
    )  # fmt: skip
    told = reports_of(ROLLOUT, devices.all(), "2026-11-23T12:00:00Z")
    codes = {"E_BLIND": 1, "E_STARTS": 1}
    assert told.releases == {
        FIRST: Counts(committed=1, rolled_back=2, trying=1, silent=1, codes=codes),
        SECOND: Counts(committed=1),
    }


def test_who_has_only_just_begun_to_listen_calls_nobody_silent() -> None:
    quiet = Reporter("quiet", now=NOW - timedelta(days=2))
    quiet.begin(FIRST, "r1")
    devices = taken_in(quiet).all()
    assert reports_of(ROLLOUT, devices, "2026-11-23T12:00:00Z", listened=10).releases[FIRST] == Counts(trying=1)
    assert reports_of(ROLLOUT, devices, "2026-11-23T12:00:00Z", listened=300).releases[FIRST] == Counts(silent=1)


def watched(name: str, sha256: str, per_hour: float, p95: float) -> Reporter:
    cam = through(name, sha256)
    cam.state = cam.state.model_copy()
    cam.health(p95=p95)
    for _ in range(4):
        cam.work(900, 9000, round(per_hour / 4))
        cam.health(p50=p95 / 2, p95=p95, temperature=61.0)
    return cam


def test_two_releases_are_told_apart_where_they_differ_and_only_there() -> None:
    blue = [watched(f"blue-{at}", FIRST, spread(at, 30, 400, 80), spread(at, 30, 40, 6)) for at in range(30)]
    green = [watched(f"green-{at}", SECOND, spread(at, 30, 480, 80), spread(at, 30, 40.1, 6)) for at in range(30)]
    devices = taken_in(*blue, *green)
    first, second = arms_of(ROLLOUT, devices.all(), "2026-11-23T12:00:00Z")
    assert (first.version, first.cohorts, first.hours, first.counts.committed) == ("1.1", ("blue",), 30.0, 30)
    assert first.figures["objects_per_hour"].value == pytest.approx(400, abs=1)
    assert first.figures["fps"].value == pytest.approx(10.0)
    assert first.figures["temperature_c"].value == pytest.approx(61.0)
    found = apart(first, second)
    objects, p95 = found["objects_per_hour"], found["p95_ms"]
    assert objects.value == pytest.approx(80, abs=1)
    assert objects.low is not None
    assert objects.low > 0
    assert p95.low is not None
    assert p95.high is not None
    assert p95.low < 0 < p95.high


def test_a_device_that_was_heard_for_too_short_a_time_does_not_count() -> None:
    short = through("short")
    short.health()
    short.work(599, 100, 1)
    short.health()
    arm = arms_of(ROLLOUT, taken_in(short).all(), "2026-11-23T12:00:00Z")[0]
    assert (arm.figures["fps"].value, arm.figures["fps"].devices) == (None, 0)


def test_agreement_is_with_the_model_before_and_failures_come_with_their_interval() -> None:
    cam = Reporter("cam", now=NOW)
    cam.begin(FIRST, "r1")
    cam.end(compared=Compared(frames=500, active=100, candidate=80, both=72))
    arm = arms_of(ROLLOUT, taken_in(cam, through("bad", code=Code.BLIND)).all(), "2026-11-23T12:00:00Z")[0]
    assert arm.figures["agreement"].value == pytest.approx(0.8)
    assert (arm.failed.value, arm.failed.devices) == (0.5, 2)


@pytest.mark.parametrize(
    ("freedom", "published"),
    [
        (1, 12.706),
        (2, 4.303),
        (3, 3.182),
        (4, 2.776),
        (5, 2.571),
        (10, 2.228),
        (30, 2.042),
        (100, 1.984),
        (1e12, 1.960),
    ],
)
def test_students_t_is_that_of_published_tables(freedom: float, published: float) -> None:
    """NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2."""
    assert t_quantile(freedom) == pytest.approx(published, rel=2e-3)


def test_wilsons_interval_is_as_published() -> None:
    """Newcombe (1998), Statistics in Medicine 17, table I: 81 of 263, 15 of 148, 0 of 20 and 1 of 29, method 3."""
    for part, whole, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        found = share(part, whole)
        assert (found.low, found.high) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))
    assert share(1, 29).high == pytest.approx(0.1718, abs=5e-4)
    assert share(0, 0).value is None


def test_of_one_device_or_none_no_interval_is_told() -> None:
    assert (mean([3.0]).value, mean([3.0]).low) == (3.0, None)
    assert mean([]).value is None
    assert difference([1.0], [2.0, 3.0]).low is None
    assert difference([], [2.0]).value is None
    same = difference([1.0, 1.0], [2.0, 2.0])
    assert (same.low, same.high) == (1.0, 1.0)
