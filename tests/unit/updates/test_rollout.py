"""Who is meant by a rollout: shares are exact, widening leaves nobody out, windows go over midnight."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from appliance.updates.formats import MILLION, Rollout
from appliance.updates.rollout import Whom, hidden, is_meant, place, start_delay, why_not_now

VECTORS = json.loads((Path(__file__).parent / "buckets.json").read_text(encoding="utf-8"))
FLEET = [f"device-{number}" for number in range(100_000)]
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def rollout(**changes: Any) -> Rollout:
    values = {
        "schema": 1,
        "id": "persons-2",
        "name": "persons",
        "choose": [{"path": "models/persons/2/manifest.toml", "sha256": "0" * 64}],
        "salt": "f3a9",
        "share_ppm": 100_000,
    }
    return Rollout.model_validate(values | changes)


def test_the_published_places_are_ours() -> None:
    assert len(VECTORS) >= 10
    for one in VECTORS:
        assert place(one["salt"], one["device_id"]) == one["place"]


@pytest.mark.parametrize("percent", [1, 10, 50, 100])
def test_a_share_of_a_hundred_thousand_devices_is_within_three_in_a_thousand(percent: int) -> None:
    share = percent * MILLION // 100
    meant = sum(is_meant(rollout(share_ppm=share), Whom(device)) for device in FLEET)
    assert abs(meant / len(FLEET) - percent / 100) <= 0.003


def test_widening_leaves_nobody_out_and_another_salt_begins_with_others() -> None:
    few = FLEET[:5000]
    before: set[str] = set()
    for share in (0, 10_000, 100_000, 500_000, MILLION):
        now = {device for device in few if is_meant(rollout(share_ppm=share), Whom(device))}
        assert before <= now
        before = now
    assert before == set(few)
    first, second = ({d for d in few if is_meant(rollout(salt=salt), Whom(d))} for salt in ("one", "two"))
    assert len(first & second) < len(first) / 3


def test_lists_and_cohorts_come_before_the_share() -> None:
    nobody = rollout(share_ppm=0, allow=[hidden("a"), hidden("b")], deny=[hidden("b")])
    assert is_meant(nobody, Whom("a"))
    assert not is_meant(nobody, Whom("b"))
    beta = rollout(share_ppm=MILLION, cohorts=["beta"])
    assert is_meant(beta, Whom("a", ("gates", "beta")))
    assert not is_meant(beta, Whom("a", ("gates",)))
    assert not is_meant(beta, Whom("a"))


def test_starts_are_spread_over_the_jitter_and_a_device_keeps_its_own() -> None:
    asked = rollout(jitter_seconds=3600)
    delays = [start_delay(asked, device) for device in FLEET[:6000]]
    assert delays == [start_delay(asked, device) for device in FLEET[:6000]]
    assert 0 <= min(delays) < 60
    assert 3540 < max(delays) <= 3600
    minutes = [sum(60 * at <= delay < 60 * (at + 1) for delay in delays) for at in range(60)]
    assert max(minutes) / (len(delays) / 60) < 1.4
    assert start_delay(rollout(jitter_seconds=0), "a") == 0


@pytest.mark.parametrize(
    ("window", "hour", "is_open"),
    [
        (("01:00", "05:00"), 3, True),
        (("01:00", "05:00"), 5, False),
        (("22:00", "04:00"), 23, True),
        (("22:00", "04:00"), 3, True),
        (("22:00", "04:00"), 12, False),
    ],
)
def test_a_window_is_in_local_time_and_may_go_over_midnight(
    window: tuple[str, str], hour: int, *, is_open: bool
) -> None:
    berlin = timezone(timedelta(hours=1))
    local = datetime(2026, 11, 23, hour, tzinfo=berlin)
    assert (why_not_now(rollout(window=window), local) == "") is is_open


def test_nobody_starts_before_its_time_nor_while_it_is_paused_or_halted() -> None:
    assert why_not_now(rollout(), NOON) == ""
    assert why_not_now(rollout(not_before="2026-11-23T12:00:01Z"), NOON) == "the rollout begins at 2026-11-23T12:00:01Z"
    assert why_not_now(rollout(not_before="2026-11-23T12:00:00Z"), NOON) == ""
    assert why_not_now(rollout(state="paused"), NOON) == "the rollout is paused"
    assert why_not_now(rollout(state="halted"), NOON) == "the rollout is halted"


@pytest.mark.parametrize(
    "wrong",
    [
        {"share_ppm": MILLION + 1},
        {"share_ppm": 0.5},
        {"schema": 2},
        {"salt": ""},
        {"allow": ["device-1"]},
        {"choose": [{"path": "../../etc/shadow", "sha256": "0" * 64}]},
        {"choose": []},
        {"window": ["25:00", "05:00"]},
        {"more": 1},
    ],
)
def test_what_is_no_rollout_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        rollout(**wrong)
