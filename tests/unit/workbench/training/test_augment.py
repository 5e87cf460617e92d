"""What is done to pixels is done to boxes: found by the colour of rectangles, which knows nothing of the arithmetic."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch, the extra `train`, is not installed")

from appliance.workbench.recipe import AugmentRecipe
from appliance.workbench.training.augment import Augmenter
from appliance.workbench.training.corpus import Annotated, Corpus, pack

PLAIN = AugmentRecipe(light=0.0, grey=0.0, dark=0.0, noise=0.0, least_visible=0.0)
SIZE = 96


def corpus() -> Corpus:
    """One picture of each class: a rectangle that is all of the picture's blue and none of its green."""
    found = []
    for at in range(4):
        image = np.full((48, 80, 3), (0, 255, 0), np.uint8)
        box = (10 + 4 * at, 8, 40 + 6 * at, 30 + 4 * at)
        image[box[1] : box[3], box[0] : box[2]] = (255, 0, at * 80)
        boxes = np.array([box], np.float32)
        scope = np.arange(4) != at
        found.append(Annotated(image, boxes, np.array([at]), np.array([False]), scope))
    return pack(found, 80)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("late", [False, True])
def test_boxes_follow_the_pixels(seed: int, *, late: bool) -> None:
    augmenter = Augmenter(corpus(), PLAIN, torch.Generator().manual_seed(seed))
    batch = augmenter.batch(torch.arange(4), SIZE, late=late)
    assert batch.pictures.shape == (4, 3, SIZE, SIZE)
    seen = 0
    for picture, boxes, classes in zip(batch.pictures, batch.boxes, batch.classes, strict=True):
        is_rectangle = (picture[0] > 200) & (picture[1] < 100)
        covered = torch.zeros(SIZE, SIZE, dtype=torch.bool)
        for x1, y1, x2, y2 in boxes[classes >= 0].round().int().tolist():
            covered[y1:y2, x1:x2] = True
            seen += 1
        edge = max(8, int(0.12 * covered.sum()))  # half a pixel along the sides
        assert (is_rectangle ^ covered).sum() <= edge
    assert seen >= 4


def test_the_scope_of_a_point_is_that_of_the_part_it_lies_in() -> None:
    recipe = PLAIN.model_copy(update={"mosaic": 1.0})
    batch = Augmenter(corpus(), recipe, torch.Generator().manual_seed(5)).batch(torch.arange(4), SIZE, late=False)
    points = torch.tensor([[1.0, 1.0], [95.0, 1.0], [1.0, 95.0], [95.0, 95.0]])
    scope = batch.scope_at(points)
    for part in range(4):
        assert (scope[:, :, part] == batch.scope[:, part]).all()
    alone = Augmenter(corpus(), recipe, torch.Generator().manual_seed(5)).batch(torch.arange(4), SIZE, late=True)
    assert (alone.scope_at(points) == alone.scope[:, 0, :, None]).all()


def test_what_hardly_shows_is_neither_looked_for_nor_denied() -> None:
    recipe = PLAIN.model_copy(update={"least_visible": 1.0, "scale": (3.0, 3.0), "mosaic": 0.0, "stretch": 1.0})
    batch = Augmenter(corpus(), recipe, torch.Generator().manual_seed(1)).batch(torch.arange(4), SIZE, late=False)
    cut = (batch.boxes.amin(dim=2) <= 0) | (batch.boxes.amax(dim=2) >= SIZE)
    there = batch.classes >= 0
    assert (cut & there).any()
    assert batch.ignored[cut & there].all()


def test_chance_follows_from_the_seed_alone_and_pixels_stay_bytes() -> None:
    full = AugmentRecipe(dark=0.5, grey=0.5)
    first, again, other = (
        Augmenter(corpus(), full, torch.Generator().manual_seed(seed)).batch(torch.arange(4), SIZE, late=False)
        for seed in (1, 1, 2)
    )
    assert torch.equal(first.pictures, again.pictures)
    assert not torch.equal(first.pictures, other.pictures)
    assert torch.equal(first.pictures, first.pictures.to(torch.uint8).float())
