import pytest

torch = pytest.importorskip("torch", reason="PyTorch, the extra `train`, is not installed")

from appliance.workbench.recipe import DistillationRecipe, LossRecipe
from appliance.workbench.training.augment import Batch
from appliance.workbench.training.lessons import Lesson
from appliance.workbench.training.losses import assign, box_loss, cost, distance_to, overlaps, score_loss
from appliance.workbench.training.network import cells, to_boxes

SIZE, CLASSES = 64, 3
CENTRES, STRIDES = cells(SIZE, SIZE, torch.device("cpu"))
EVERYTHING = (True, True, True)


def batch(*found: tuple[int, tuple[float, ...], bool], scope: tuple[bool, ...] = EVERYTHING) -> Batch:
    """One picture with (class, box, ignored)."""
    boxes = torch.tensor([[list(box) for _, box, _ in found]])
    classes = torch.tensor([[one for one, _, _ in found]])
    ignored = torch.tensor([[flag for _, _, flag in found]])
    scopes = torch.tensor([[list(scope)] * 4])
    return Batch(torch.zeros(1), boxes, classes, ignored, scopes, torch.full((1, 2), float(SIZE)))


def answers() -> tuple[torch.Tensor, torch.Tensor]:
    """Each cell says 0.2 for every class and a box of four cells around itself."""
    logits = torch.full((1, CLASSES, len(CENTRES)), -1.386)
    return logits, torch.full((1, 4, len(CENTRES)), 2.0)


def targets_of(what: Batch) -> object:
    logits, distances = answers()
    return assign(logits.sigmoid(), to_boxes(distances, CENTRES, STRIDES), what, CENTRES, LossRecipe())


def test_an_object_gets_cells_inside_it_and_those_that_overlap_most_get_the_highest_target() -> None:
    targets = targets_of(batch((1, (8.0, 8.0, 40.0, 40.0), False)))
    cells_of_it = targets.weights[0].nonzero()[:, 0]
    assert 1 <= len(cells_of_it) <= 13
    assert ((CENTRES[cells_of_it] > 8) & (CENTRES[cells_of_it] < 40)).all()
    iou = overlaps(to_boxes(answers()[1], CENTRES, STRIDES)[0], torch.tensor([8.0, 8.0, 40.0, 40.0]))
    best = targets.scores[0, 1].argmax()
    assert targets.scores[0, 1, best] == pytest.approx(float(iou[cells_of_it].max()), rel=1e-4)
    assert targets.scores[0, [0, 2]].sum() == 0
    assert (targets.boxes[0, cells_of_it] == torch.tensor([8.0, 8.0, 40.0, 40.0])).all()


def test_an_object_smaller_than_a_cell_gets_one() -> None:
    assert targets_of(batch((0, (9.0, 9.0, 11.0, 11.0), False))).weights.sum() > 0


def test_what_was_not_labelled_is_not_denied() -> None:
    counts = targets_of(batch((1, (8.0, 8.0, 40.0, 40.0), False), scope=(True, True, False))).counts
    assert counts[0, 2].sum() == 0
    assert (counts[0, :2] == 1).all()


def test_an_object_outside_what_was_labelled_is_learned_and_nothing_else_of_its_class() -> None:
    targets = targets_of(batch((2, (8.0, 8.0, 40.0, 40.0), False), scope=(True, True, False)))
    assert (targets.counts[0, 2] > 0).equal(targets.scores[0, 2] > 0)
    assert targets.scores[0, 2].sum() > 0


def test_a_region_to_ignore_is_neither_positive_nor_negative_for_its_class_alone() -> None:
    targets = targets_of(batch((1, (8.0, 8.0, 40.0, 40.0), True)))
    assert targets.weights.sum() == 0
    inside = ((CENTRES > 8) & (CENTRES < 40)).all(dim=1)
    assert (targets.counts[0, 1, inside] == 0).all()
    assert (targets.counts[0, 1, ~inside] == 1).all()
    assert (targets.counts[0, [0, 2]] == 1).all()


def test_overlaps_are_those_of_the_definition() -> None:
    first = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 4.0], [3.0, 3.0, 1.0, 1.0]])
    second = torch.tensor([[2.0, 2.0, 6.0, 6.0], [4.0, 4.0, 5.0, 5.0], [0.0, 0.0, 4.0, 4.0]])
    assert overlaps(first, second).tolist() == pytest.approx([4 / 28, 0.0, 0.0], abs=1e-6)


def test_box_losses_are_those_of_their_papers() -> None:
    boxes, others = torch.tensor([0.0, 0.0, 4.0, 4.0]), torch.tensor([6.0, 0.0, 10.0, 4.0])
    assert float(box_loss(boxes, boxes, "giou")) == pytest.approx(0.0, abs=1e-5)
    assert float(box_loss(boxes, boxes, "diou")) == pytest.approx(0.0, abs=1e-5)
    assert float(box_loss(boxes, others, "giou")) == pytest.approx(1 + 8 / 40, abs=1e-5)  # arXiv:1902.09630
    assert float(box_loss(boxes, others, "diou")) == pytest.approx(1 + 36 / 116, abs=1e-5)  # arXiv:1911.08287


@pytest.mark.parametrize("kind", ["varifocal", "quality"])
def test_score_losses_are_least_at_the_target(kind: str) -> None:
    targets = torch.tensor([0.0, 0.7])
    at_target = score_loss(torch.tensor([-12.0, 0.8473]), targets, kind)
    away = score_loss(torch.tensor([1.0, -2.0]), targets, kind)
    assert (at_target < away).all()


def test_a_picture_without_objects_costs_finite_scores_and_no_boxes() -> None:
    logits, distances = answers()
    logits.requires_grad_()
    losses = cost(logits, distances, batch((-1, (0.0,) * 4, False)), (CENTRES, STRIDES), LossRecipe())
    losses.total.backward()
    assert losses.boxes == 0
    assert torch.isfinite(losses.total)
    assert logits.grad.abs().sum() > 0


def test_a_teacher_that_says_the_same_costs_nothing_and_one_that_does_not_costs_what_it_knows() -> None:
    logits, distances = answers()
    boxes = to_boxes(distances, CENTRES, STRIDES)
    known = torch.ones(1, len(CENTRES), dtype=torch.bool)
    recipe = DistillationRecipe(teacher="0" * 64)
    same = Lesson(logits.sigmoid(), boxes, known)
    assert distance_to(same, logits, boxes, recipe) == pytest.approx(0.0, abs=1e-4)
    surer = Lesson(logits.sigmoid() + 0.5, boxes, known)
    assert distance_to(surer, logits, boxes, recipe) > 0.1
    elsewhere = Lesson(logits.sigmoid(), boxes + 16, known)
    assert distance_to(elsewhere, logits, boxes, recipe) > 0.1
    assert distance_to(elsewhere, logits, boxes, recipe.model_copy(update={"least": 0.9})) < 1e-4
    unknown = Lesson(surer.scores, elsewhere.boxes, ~known)
    assert distance_to(unknown, logits, boxes, recipe) == 0.0
