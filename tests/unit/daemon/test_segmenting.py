import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.core.frame import Frame
from appliance.core.latest import Latest
from appliance.core.results import Segmentation
from appliance.core.rle import Rle, decode_mask
from appliance.daemon.segmenting import LONGEST, SegmentingPipeline
from appliance.messaging.payloads import ModelInfo
from tests.simulators.models import manifest
from tests.unit.daemon.task_stage import Listener, frame

LEFT = np.array([[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]])
ALL = np.array([False, True, True])


def road(columns: int) -> NDArray[np.uint8]:
    """Give a map of 100 x 50 whose first columns are road."""
    ids = np.zeros((50, 100), np.uint8)
    ids[:, :columns] = 1
    return ids


class Seeing:
    """A segmentation network that sees one map after the other, and then the last one for ever."""

    digest, last_inference_ms = "d", 3.0
    manifest = manifest("yolox").model_copy(update={"version": "1"})  # its version is all that is looked at

    def __init__(self, *maps: NDArray[np.uint8]) -> None:
        self._maps = list(maps)

    def segment(self, frame: Frame, longest: int | None = None) -> Segmentation:
        assert frame.image.shape == (100, 200, 3)
        assert longest == LONGEST
        return Segmentation(self._maps.pop(0) if len(self._maps) > 1 else self._maps[0])


class Stage(Listener):
    def __init__(self, *maps: NDArray[np.uint8], masks: bool = False, interval: float = 0.0) -> None:
        super().__init__()
        self.ended = threading.Event()
        self.pipeline = SegmentingPipeline(
            camera="door",
            slot=Latest(),
            source_ended=self.ended,
            segmenter=Seeing(*maps),
            labels=("nothing", "road", "grass"),
            wanted=ALL,
            zones={"left": LEFT},
            zones_wanted={"left": ALL},
            step=0.05,
            has_masks=masks,
            model=ModelInfo("ground", "1", "d"),
            interval=interval,
            lost_after=2.0,
            publish=self.messages.append,
        )

    def show(self, frames: int) -> None:
        for number in range(frames):
            self.pipeline.step(frame(number))


def test_shares_of_the_picture_and_of_its_zones_are_told_when_they_change_by_a_step() -> None:
    stage = Stage(road(20), road(22), road(24), road(26))
    stage.show(8)
    assert [(body["shares"], body["zones"]) for body in stage.bodies("segmentation")] == [
        ({"road": 0.2}, {"left": {"road": 0.4}}),
        ({"road": 0.24}, {"left": {"road": 0.48}}),  # in the zone it is a step already
    ]
    assert stage.pipeline.frames == 8


def test_messages_are_paced() -> None:
    stage = Stage(road(20), road(60), road(90), masks=True, interval=3600.0)
    stage.show(5)
    assert [len(stage.bodies(topic)) for topic in ("segmentation", "masks")] == [1, 1]


def test_masks_are_published_only_where_the_owner_asks_for_them() -> None:
    plain, asked = Stage(road(20)), Stage(road(20), masks=True)
    plain.show(2)
    asked.show(2)
    assert plain.bodies("masks") == []
    assert len(asked.bodies("masks")) == 2, "a mask is told whether it has changed or not"
    body = asked.bodies("masks")[0]
    assert (decode_mask(Rle(*body["size"], body["masks"][0]["counts"])) == (road(20) == 1)).all()
    assert (body["width"], body["height"]) == (200, 100)


def test_a_map_of_another_size_has_zones_of_its_own() -> None:
    stage = Stage(road(50), np.ones((30, 60), np.uint8))
    stage.show(2)
    assert [body["zones"]["left"]["road"] for body in stage.bodies("segmentation")] == [1.0, 1.0]
    assert [body["shares"]["road"] for body in stage.bodies("segmentation")] == [0.5, 1.0]


def test_the_end_of_the_source_tells_that_nothing_is_covered() -> None:
    stage = Stage(road(20))
    stage.show(1)
    assert stage.pipeline.sight == {"shares": {"road": pytest.approx(0.2)}}
    stage.ended.set()
    stage.pipeline.run(threading.Event())
    assert stage.bodies("segmentation")[-1]["shares"] == {"road": 0.0}
    assert stage.pipeline.sight == {"shares": {"road": 0.0}}
    assert stage.pipeline.done.is_set()
