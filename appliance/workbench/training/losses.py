"""What a batch costs: cells are assigned to objects, then scores and boxes are compared with what they should be."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from appliance.workbench.recipe import DistillationRecipe, LossRecipe
from appliance.workbench.training.augment import Batch
from appliance.workbench.training.lessons import Lesson
from appliance.workbench.training.network import STRIDES, to_boxes

_EPSILON = 1e-7
_LEAST_SIDE = 2 * STRIDES[0]  # pixels: so wide is the place in which a small object finds a cell's centre
_LEAST_WEIGHT = 0.05  # of a box, so that one which overlaps little yet still learns
_FOCUS = 2.0  # power of the distance to the target; arXiv:2006.04388, section 4
_NEGATIVE = 0.75  # weight of background; arXiv:2008.13367, section 3.2


@dataclass(frozen=True, slots=True)
class Targets:
    """What a batch's cells should give.

    Attributes:
        scores: Shape (B, classes, cells), 0..1.
        counts: Shape (B, classes, cells): 1 where a score is judged, else 0.
        boxes: Shape (B, cells, 4), xyxy in pixels; of no meaning where `weights` is 0.
        weights: Shape (B, cells): of the boxes; 0 for background.
    """

    scores: Tensor
    counts: Tensor
    boxes: Tensor
    weights: Tensor


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses of a batch; `total` is what is learned by.

    Attributes:
        total: The weighted sum.
        scores: Of the scores, by the labels.
        boxes: Of the boxes, by the labels.
    """

    total: Tensor
    scores: Tensor
    boxes: Tensor


def overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Give the IoU of boxes (…, 4), xyxy, broadcast against each other."""
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    common = (high - low).clamp(min=0).prod(dim=-1)
    return common / (_area(first) + _area(second) - common + _EPSILON)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)


@torch.no_grad()
def assign(scores: Tensor, boxes: Tensor, batch: Batch, centres: Tensor, recipe: LossRecipe) -> Targets:
    """Assign cells to objects by how well score and box of a cell agree with them already.

    TOOD, arXiv:2108.07755, section 3.3.

    Args:
        scores: Shape (B, classes, cells), 0..1.
        boxes: Shape (B, cells, 4), xyxy in pixels.
        batch: What is in the pictures.
        centres: Shape (cells, 2), pixels.
        recipe: Candidates and powers.
    """
    wanted = (batch.classes >= 0) & ~batch.ignored  # (B, K)
    classes = batch.classes.clamp(min=0)
    iou = overlaps(batch.boxes[:, :, None], boxes[:, None])  # (B, K, cells)
    of_class = scores.gather(1, classes[..., None].expand(-1, -1, scores.shape[2]))
    near = _inside(_widened(batch.boxes), centres) & wanted[..., None]
    alignment = torch.where(near, of_class**recipe.alpha * iou**recipe.beta, -1.0)
    best = alignment.topk(min(recipe.candidates, alignment.shape[2]), dim=2).indices
    chosen = torch.zeros_like(near).scatter_(2, best, value=True) & near
    # a cell that several objects want goes to the one that its box overlaps most
    overlap, owner = torch.where(chosen, iou, -1.0).max(dim=1)
    taken = overlap >= 0  # (B, cells)
    alignment = torch.where(chosen, alignment, 0.0)
    top = alignment.amax(dim=2, keepdim=True)
    reach = torch.where(chosen, iou, 0.0).amax(dim=2, keepdim=True)
    quality = (alignment / (top + _EPSILON * _EPSILON) * reach).gather(1, owner[:, None])[:, 0]
    quality = torch.where(taken, quality, 0.0)
    owned = classes.gather(1, owner)
    target = torch.zeros_like(scores).scatter_(1, owned[:, None], quality[:, None])
    return Targets(
        target,
        _judged(batch, centres, target),
        batch.boxes.gather(1, owner[..., None].expand(-1, -1, 4)),
        torch.where(taken, quality.clamp(min=_LEAST_WEIGHT), 0.0),
    )


def _judged(batch: Batch, centres: Tensor, target: Tensor) -> Tensor:
    """Leave out what was not labelled, and regions that are to be ignored, but for what is there for certain."""
    covered = _inside(batch.boxes, centres) & (batch.ignored & (batch.classes >= 0))[..., None]
    kinds = functional.one_hot(batch.classes.clamp(min=0), target.shape[1]).to(target.dtype)
    is_ignored = torch.bmm(kinds.transpose(1, 2), covered.to(target.dtype)) > 0
    return ((batch.scope_at(centres) & ~is_ignored) | (target > 0)).to(target.dtype)


def _inside(boxes: Tensor, centres: Tensor) -> Tensor:
    """Tell which points (A, 2) lie in which boxes (B, K, 4): shape (B, K, A)."""
    x, y = centres[:, 0], centres[:, 1]
    left, top, right, bottom = (side[..., None] for side in boxes.unbind(dim=-1))
    return (x > left) & (x < right) & (y > top) & (y < bottom)


def _widened(boxes: Tensor) -> Tensor:
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    half = ((boxes[..., 2:] - boxes[..., :2]) / 2).clamp(min=_LEAST_SIDE / 2)
    return torch.cat((middle - half, middle + half), dim=-1)


def cost(
    logits: Tensor,
    distances: Tensor,
    batch: Batch,
    cells: tuple[Tensor, Tensor],
    recipe: LossRecipe,
    *,
    distillation: DistillationRecipe | None = None,
) -> Losses:
    """Compare what the network gave with what is there.

    Args:
        logits: Scores before the sigmoid, (B, classes, cells).
        distances: In cells, (B, 4, cells).
        batch: What is in the pictures.
        cells: Centres and strides; see `network.cells`.
        recipe: Which losses.
        distillation: How much a batch's lesson counts.
    """
    logits, distances = logits.float(), distances.float()
    boxes = to_boxes(distances, *cells)
    targets = assign(logits.detach().sigmoid(), boxes.detach(), batch, cells[0], recipe)
    whole = targets.scores.sum().clamp(min=1.0)
    scores = (score_loss(logits, targets.scores, recipe.scores) * targets.counts).sum() / whole
    by_box = box_loss(boxes, targets.boxes, recipe.boxes)
    # where there is no object a box may be anything, and anything times 0 may be no number
    fitted = torch.where(targets.weights > 0, by_box, 0.0)
    placed = (fitted * targets.weights).sum() / targets.weights.sum().clamp(min=1.0)
    total = scores + recipe.box_weight * placed
    if distillation and batch.lesson:
        total = total + distance_to(batch.lesson, logits, boxes, distillation)
    return Losses(total, scores, placed)


def distance_to(lesson: Lesson, logits: Tensor, boxes: Tensor, recipe: DistillationRecipe) -> Tensor:
    """Give the loss of scores and boxes against what the teacher says of the same cells.

    Args:
        lesson: What it says.
        logits: Scores before the sigmoid, (B, classes, cells).
        boxes: Shape (B, cells, 4), xyxy in pixels.
        recipe: Weights.
    """
    best = torch.where(lesson.known, lesson.scores.amax(dim=1), 0.0)  # (B, cells)
    whole = best.sum().clamp(min=1.0)
    scores = (score_loss(logits, lesson.scores, "quality") * lesson.known[:, None]).sum() / whole
    is_box = (best >= recipe.least) & ((lesson.boxes[..., 2:] - lesson.boxes[..., :2]).amin(dim=-1) >= 1)
    fitted = torch.where(is_box, box_loss(boxes, lesson.boxes, "giou") * best, 0.0)
    return recipe.scores * scores + recipe.boxes * fitted.sum() / torch.where(is_box, best, 0.0).sum().clamp(min=1.0)


def score_loss(logits: Tensor, targets: Tensor, kind: str) -> Tensor:
    """Give the loss of each score: ``varifocal`` or ``quality``."""
    scores = logits.detach().sigmoid() if kind == "varifocal" else logits.sigmoid()
    if kind == "varifocal":
        weights = torch.where(targets > 0, targets, _NEGATIVE * scores**_FOCUS)
    else:
        weights = (targets - scores).abs() ** _FOCUS
    return weights * functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def box_loss(boxes: Tensor, targets: Tensor, kind: str) -> Tensor:
    """Give the loss of each box (…, 4), xyxy: ``giou`` or ``diou``; 0 for boxes that are alike, at most 2."""
    iou = overlaps(boxes, targets)
    low = torch.minimum(boxes[..., :2], targets[..., :2])
    high = torch.maximum(boxes[..., 2:], targets[..., 2:])
    around = high - low
    if kind == "diou":
        apart = (boxes[..., :2] + boxes[..., 2:] - targets[..., :2] - targets[..., 2:]) / 2
        return 1 - iou + apart.square().sum(dim=-1) / (around.square().sum(dim=-1) + _EPSILON)
    hull = around.clamp(min=0).prod(dim=-1) + _EPSILON
    low = torch.maximum(boxes[..., :2], targets[..., :2])
    high = torch.minimum(boxes[..., 2:], targets[..., 2:])
    union = _area(boxes) + _area(targets) - (high - low).clamp(min=0).prod(dim=-1)
    return 1 - iou + (hull - union) / hull
