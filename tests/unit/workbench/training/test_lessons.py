"""What the teacher says of a place comes to lie where that place comes to lie; found by the colour of rectangles."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch, the extra `train`, is not installed")

from appliance.workbench.recipe import AugmentRecipe
from appliance.workbench.training.augment import Augmenter, Batch
from appliance.workbench.training.corpus import Annotated, Corpus, pack
from appliance.workbench.training.lessons import Lessons
from appliance.workbench.training.losses import overlaps
from appliance.workbench.training.network import cells

PLAIN = AugmentRecipe(light=0.0, grey=0.0, dark=0.0, noise=0.0, least_visible=0.0)
SIZE = 96
WIDTH, HEIGHT = 80, 48
STRIDES, COLUMNS, ROWS = (1, 2, 4), (104, 52, 26), (104, 52, 26)  # fine, so that few of its cells lie across an edge
SPAN = (10.0, 20.0, 80.0, 60.0)  # the picture is stretched and moved in the teacher's input


def box_of(picture: int) -> tuple[int, int, int, int]:
    return 10 + 4 * picture, 8, 40 + 6 * picture, 30 + 4 * picture


def corpus() -> Corpus:
    """A rectangle in each picture, of a class of its own: all of the picture's blue and none of its green."""
    found = []
    for at in range(4):
        image = np.full((HEIGHT, WIDTH, 3), (0, 255, 0), np.uint8)
        x1, y1, x2, y2 = box_of(at)
        image[y1:y2, x1:x2] = (255, 0, 0)
        boxes = np.array([box_of(at)], np.float32)
        found.append(Annotated(image, boxes, np.array([at]), np.array([False]), np.ones(4, bool)))
    return pack(found, WIDTH)


def lessons(known: tuple[bool, ...] = (True,) * 4) -> Lessons:
    """A teacher without fault: each cell inside the rectangle is certain of its class, all know its box."""
    scores, boxes = [], []
    for at in range(4):
        x1, y1, x2, y2 = box_of(at)
        of_cells = []
        for stride, columns, rows in zip(STRIDES, COLUMNS, ROWS, strict=True):
            row, column = np.mgrid[:rows, :columns]
            x = ((column + 0.5) * stride - SPAN[0]) / SPAN[2] * WIDTH
            y = ((row + 0.5) * stride - SPAN[1]) / SPAN[3] * HEIGHT
            of_cells.append(((x > x1) & (x < x2) & (y > y1) & (y < y2)).ravel())
        inside = np.concatenate(of_cells)
        scores.append(np.eye(4)[at] * inside[:, None] * 255)
        boxes.append(np.tile([x1 / WIDTH, y1 / HEIGHT, x2 / WIDTH, y2 / HEIGHT], (len(inside), 1)))
    return Lessons(
        scores=torch.from_numpy(np.stack(scores).astype(np.uint8)),
        boxes=torch.from_numpy(np.stack(boxes).astype(np.float16)),
        known=torch.tensor(known),
        spans=torch.tensor([SPAN] * 4),
        strides=torch.tensor(STRIDES, dtype=torch.float32),
        columns=torch.tensor(COLUMNS),
        rows=torch.tensor(ROWS),
    )


def taught(seed: int, recipe: AugmentRecipe = PLAIN, *, late: bool = False, teacher: Lessons | None = None) -> Batch:
    augmenter = Augmenter(corpus(), recipe, torch.Generator().manual_seed(seed), teacher or lessons())
    return augmenter.batch(torch.arange(4), SIZE, late=late)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("late", [False, True])
def test_scores_and_boxes_follow_the_pixels(seed: int, *, late: bool) -> None:
    batch = taught(seed, late=late)
    lesson = batch.lesson
    assert lesson is not None
    centres, _ = cells(SIZE, SIZE, torch.device("cpu"))
    column, row = centres.long().unbind(dim=1)
    colours = batch.pictures[:, :, row, column]  # (B, 3, cells)
    is_rectangle = (colours[:, 0] > 200) & (colours[:, 1] < 100)
    certain = lesson.scores.amax(dim=1) > 0.5
    assert (certain == is_rectangle).float().mean() > 0.95  # a cell of the teacher may lie across an edge
    assert certain.sum() > 20
    for at, boxes in enumerate(batch.boxes):
        same = lesson.scores[at].argmax(dim=0)[:, None] == batch.classes[at]
        best = torch.where(same, overlaps(lesson.boxes[at][:, None], boxes), 0.0).amax(dim=1)
        assert best[certain[at]].min() > 0.9


def test_padding_and_pictures_that_the_teacher_never_saw_are_not_known() -> None:
    batch = taught(1, teacher=lessons((True, False, True, True)), late=True)
    assert batch.lesson is not None
    centres, _ = cells(SIZE, SIZE, torch.device("cpu"))
    column, row = centres.long().unbind(dim=1)
    # a cell's centre lies between four pixels; at the edge of the picture they differ
    around = [batch.pictures[:, :, row - up, column - left] for up in (0, 1) for left in (0, 1)]
    is_padding = torch.stack([(pixels == 114).all(dim=1) for pixels in around])
    inside, outside = (~is_padding).all(dim=0)[[0, 2, 3]], is_padding.all(dim=0)[[0, 2, 3]]
    known = batch.lesson.known[[0, 2, 3]]
    assert min(inside.sum(), outside.sum()) > 100
    assert known[inside].all()
    assert not known[outside].any()
    assert not batch.lesson.known[1].any()


@pytest.mark.parametrize(("scale", "shift"), [(0.5, 1), (1.0, 0), (2.0, -1)])
def test_a_cell_asks_the_level_whose_cells_cover_as_much_of_the_picture(scale: float, shift: int) -> None:
    """The teacher says on which level it answers: by the class."""
    columns = (26, 13, 7, 4)
    levels = np.repeat(np.arange(4), np.square(columns))
    teacher = lessons()
    says = torch.from_numpy((np.eye(4)[levels] * 255).astype(np.uint8)).expand(4, -1, -1).contiguous()
    wide = Lessons(
        scores=says,
        boxes=torch.zeros(4, len(levels), 4, dtype=torch.float16),
        known=teacher.known,
        # as large as the picture in the batch when scale is 1
        spans=torch.tensor([[0.0, 0.0, 96.0, 57.6]] * 4),
        strides=torch.tensor([4.0, 8.0, 16.0, 32.0]),
        columns=torch.tensor(columns),
        rows=torch.tensor(columns),
    )
    recipe = PLAIN.model_copy(update={"mosaic": 0.0, "scale": (scale, scale), "stretch": 1.0})
    lesson = taught(1, recipe, teacher=wide).lesson
    assert lesson is not None
    _, strides = cells(SIZE, SIZE, torch.device("cpu"))
    answered = lesson.scores.argmax(dim=1)
    for level, stride in enumerate((8, 16, 32), start=1):
        assert (answered[:, strides == stride] == min(3, max(0, level + shift))).all()
