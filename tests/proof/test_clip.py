"""The proof on the clip in which people cross one by one, and that it fails when it should."""

import json
from pathlib import Path

import pytest

from appliance.config import ModelSettings, Settings
from appliance.core.events import Event
from tests.proof.clip import CLIP, FPS, ORIGIN, PEOPLE, for_people, judge, main, run_clip
from tests.proof.watch import is_default_bundled, open_model
from tests.shared_data import SHARED, needs
from tests.simulators.lives import life

UNBUNDLED = "no detector is bundled: models/edgecam-nano has no weights; `make prove MODEL=…` takes another"

MODELS = [
    pytest.param("models/yolox_nano_416_coco80.onnx", 3, marks=needs("models/yolox_nano_416_coco80.onnx")),
    pytest.param(
        "",
        2,
        marks=pytest.mark.skipif(not is_default_bundled(), reason=UNBUNDLED),
        id=ModelSettings().use,
    ),
]
"""A detector, relative to `SHARED` or the bundled one, and every how many of the clip's ten frames a second it sees."""


@pytest.mark.timeout(600)
@needs(CLIP)
@pytest.mark.parametrize(("model", "every"), MODELS)
def test_everybody_who_crosses_is_one_person_and_the_empty_room_is_nobody(model: str, every: int) -> None:
    settings = for_people(Settings())
    with open_model(str(SHARED / model) if model else "", settings) as detector:
        verdict = run_clip(detector, settings, every=every)
    assert verdict.holds, f"\n{verdict.table()}"
    # and for most of their time: a track of a few frames would be one with start and end too
    for (came, went), [(_, (first, last))] in zip(PEOPLE, verdict.objects, strict=True):
        assert last - first >= 0.75 * (went - came), f"\n{verdict.table()}"


def stay(name: str, first: float, last: float, label: str = "person") -> list[Event]:
    """Give start and end of an object that was seen from one frame to another."""
    return life(name, (first / FPS, 0.0), (last / FPS, 0.0), label=label)


def everybody() -> list[list[Event]]:
    return [stay(f"p{at}", came + 3, went - 3) for at, (came, went) in enumerate(PEOPLE)]


@pytest.mark.parametrize(
    ("more", "less", "holds"),
    [
        ([], 0, True),
        ([], 1, False),  # somebody is not told
        ([stay("x", 300, 340)], 0, False),  # two for one
        ([stay("x", 300, 340, "car")], 0, False),
        ([stay("x", 10, 40)], 0, False),  # the empty room
        ([stay("x", 1361, 1370)], 0, False),
        ([stay("x", 227, 700)], 2, False),  # one for two
    ],
)
def test_only_one_person_for_each_and_none_for_nobody_will_do(
    more: list[list[Event]], less: int, *, holds: bool
) -> None:
    lives = everybody()
    verdict = judge([event for one in lives[:1] + lives[1 + less :] + more for event in one])
    assert verdict.holds is holds


def test_a_person_under_another_label_is_not_told() -> None:
    lives = everybody()
    lives[2] = stay("p2", PEOPLE[2][0], PEOPLE[2][1], "bicycle")
    assert not judge([event for one in lives for event in one]).holds


def test_where_the_clip_is_missing_nothing_is_checked_and_that_is_said_with_where_it_is_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.proof.clip.SHARED", tmp_path)
    assert main(["--json"]) == 0
    said = capsys.readouterr()
    assert f"NOT CHECKED: the clip is not here; give --clip (make: CLIP=) {ORIGIN}" in said.err
    assert json.loads(said.out) == {"holds": None}


@pytest.mark.parametrize("content", [None, b"another clip"])
def test_a_clip_that_is_named_must_be_there_and_be_the_one(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "clip.mp4").write_bytes(content)
    assert main(["--clip", str(tmp_path / "clip.mp4")]) == 78
    assert ORIGIN in capsys.readouterr().err


def test_no_frame_in_none_can_be_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--every=0"])
    assert ended.value.code == 2
    assert "'0' is no whole number of at least 1" in capsys.readouterr().err
