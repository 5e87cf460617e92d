from datetime import UTC, datetime

import numpy as np

from appliance.core.frame import Frame, PixelLayout
from appliance.core.results import Classifications, Segmentation
from appliance.diagnostics.annotate import annotate_labels, annotate_pixels

LABELS = ("nothing", "road", "grass")
WANTED = np.array([False, True, True])


def grey(layout: PixelLayout = PixelLayout.BGR) -> Frame:
    shape = (200, 320, 3) if layout is PixelLayout.BGR else (300, 320)
    return Frame(np.full(shape, 128, np.uint8), layout, 640, 400, "door", 0, datetime(2026, 5, 1, tzinfo=UTC), 1)


def test_labels_stand_in_the_corner_and_the_rest_of_the_picture_is_as_it_was() -> None:
    found = Classifications(np.array([0.9, 0.1], np.float32), np.array([1, 2], np.int32))
    source = grey()
    picture = annotate_labels(source, found, LABELS)
    changed = (picture != 128).any(axis=2)
    assert changed[:10, :10].all()
    assert not changed[60:].any()
    assert not changed[:, 200:].any()
    assert (source.image == 128).all(), "the frame is left as it is"


def test_a_label_s_pixels_are_translucent_in_its_colour_and_the_background_is_as_it_was() -> None:
    ids = np.zeros((50, 80), np.uint8)  # a quarter of the picture's size: as a network has it
    ids[25:, :40], ids[25:, 40:] = 1, 2
    picture = annotate_pixels(grey(), Segmentation(ids), LABELS, WANTED)
    road, grass = picture[190, 10], picture[190, 310]
    assert (picture[110:, :160] == road).all()
    assert (picture[110:, 160:] == grass).all()
    assert (road != grass).any()
    assert 64 <= int(road.min()) <= int(road.max()) <= 192, "half of it is the picture's own"
    assert (picture[60:100] == 128).all()


def test_what_is_not_wanted_is_not_drawn() -> None:
    picture = annotate_pixels(
        grey(), Segmentation(np.full((50, 80), 2, np.uint8)), LABELS, np.array([True, True, False])
    )
    assert (picture == 128).all()


def test_planar_frames_are_drawn_into_too() -> None:
    for layout in (PixelLayout.I420, PixelLayout.NV12):
        picture = annotate_pixels(grey(layout), Segmentation(np.ones((50, 80), np.uint8)), LABELS, WANTED)
        assert picture.shape == (200, 320, 3)


def test_more_lines_than_there_is_room_for_do_no_harm() -> None:
    ids = np.arange(50 * 80, dtype=np.uint16).reshape(50, 80) % 250
    labels = tuple(f"label {number}" for number in range(250))
    picture = annotate_pixels(grey(), Segmentation(ids.astype(np.uint8)), labels, np.ones(250, np.bool_))
    assert picture.shape == (200, 320, 3)
