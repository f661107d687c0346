"""Where the model pointed, against where it should have: GUI grounding.

Facts, all in the pixel space of the image that the model saw last:

`target_box`
    [x1, y1, x2, y2]: where to point. Of the turn, or if it is the same in all turns, of the start
    or in the task's data; None where a turn has no target.
`point`, `box`
    [x, y] or [x1, y1, x2, y2]: what the model said, of the turn; absent or None if it said none.
    Which of the two a signal reads is its argument `of`: of a box, the centre counts.
`image_size`
    [width, height], for `neg_distance` only; looked for like `target_box`.

`evidence_boxes`
    A list of [x1, y1, x2, y2], for `evidence_box` only: what a box should hold, and little else.

A turn without a prediction, or without a target, has no value. A predicted box with x2 <= x1 or
y2 <= y1 is the model's mistake and gets the lowest value there is. An inverted target, and whatever
is not finite, is the environment's mistake and an error; a target without extent will do.

None of these is potential-form: they are paid for where the turn points, not for a change, so
summed up over turns they would pay for pointing again (and are therefore reduced to their mean).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from agentgym.rewards.arguments import check_choice, check_number
from agentgym.rewards.batch import Batch, Bools, Floats, PerTurn
from agentgym.rewards.reading import BatchSignal, boxes, image_sizes, targets, tuples
from agentgym.rewards.text import register

_MIN_SIGMA_PX = 1.0


def centres(boxes: Floats) -> Floats:
    """float64[N, 2] of float64[N, 4]."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def sigmas(boxes: Floats, alpha: float) -> Floats:
    """float64[N, 2]: alpha times width and height, at least one pixel."""
    return np.maximum(alpha * (boxes[:, 2:] - boxes[:, :2]), _MIN_SIGMA_PX)


def upright(boxes: Floats) -> Bools:
    """bool[N]: whether x1 < x2 and y1 < y2."""
    found: Bools = np.all(boxes[:, :2] < boxes[:, 2:], axis=1)
    return found


class _Pointing(BatchSignal):
    """What `point` or the centre of `box` is compared with the target."""

    local: ClassVar[bool] = True
    of: Literal["point", "box"]

    @property
    def needs(self) -> frozenset[str]:
        """The target, and what is compared with it."""
        return self.facts | {"target_box", self.of}

    def read(self, batch: Batch) -> tuple[Floats, Bools, Floats, Bools]:
        """float64[N, 2] points; bool[N] acceptable; float64[N, 4] targets; bool[N] with value."""
        said, there = tuples(batch, self, self.of, 2 if self.of == "point" else 4)
        target, known = targets(batch, self, there)
        if self.of == "point":
            return said, there, target, there & known
        return centres(said), upright(said), target, there & known


@register
@dataclass(frozen=True)
class GaussianPoint(_Pointing):
    """exp(-((dx / sx)^2 + (dy / sy)^2) / 2): a Gaussian about the target's centre; in [0, 1].

    d is the predicted centre minus the target's, s = alpha * (width, height) of the target, both in
    pixels, s at least 1. Not potential-form. An inverted predicted box: 0.

    Source: GUI-G2 (arXiv 2507.15846), point reward, from the paper and the authors' code, which
    pays an inverted box in full; alpha 0.5 is the paper's.

    Args:
        alpha: The target's half width, in standard deviations, is 1 / (2 * alpha).
        of: What is compared: the fact `point`, or the centre of `box`.
    """

    name: ClassVar[str] = "gaussian_point"
    alpha: float = 0.5
    of: Literal["point", "box"] = "point"

    def __post_init__(self) -> None:
        check_number(self.name, "alpha", self.alpha, 0, above=True)
        check_choice(self.name, "of", self.of, ("point", "box"))

    def compute(self, batch: Batch) -> PerTurn:
        """From the distance to the centre."""
        point, acceptable, target, available = self.read(batch)
        scaled = (point - centres(target)) / sigmas(target, self.alpha)
        values = np.exp(-0.5 * np.square(scaled).sum(axis=1))
        return PerTurn(np.where(available & acceptable, values, 0.0), available)


@register
@dataclass(frozen=True)
class PointInBox(_Pointing):
    """1 where the prediction is in the target, its edges included, else 0.

    Not potential-form. An inverted predicted box: 0. Sparse: a policy that never hits learns
    nothing from it. As an outcome it is what grounding benchmarks count.

    Source: ScreenSpot's click accuracy; the baseline of GUI-G2 (arXiv 2507.15846).

    Args:
        of: What is compared: the fact `point`, or the centre of `box`.
    """

    name: ClassVar[str] = "point_in_box"
    of: Literal["point", "box"] = "point"

    def __post_init__(self) -> None:
        check_choice(self.name, "of", self.of, ("point", "box"))

    def compute(self, batch: Batch) -> PerTurn:
        """From the edges."""
        point, acceptable, target, available = self.read(batch)
        inside = ((target[:, :2] <= point) & (point <= target[:, 2:])).all(axis=1)
        return PerTurn((available & acceptable & inside).astype(np.float64), available)


@register
@dataclass(frozen=True)
class NegDistance(_Pointing):
    """-min(1, |d| / diagonal of the image): the plain baseline; in [-1, 0].

    d is the predicted centre minus the target's, in pixels. Not potential-form. An inverted
    predicted box: -1. Knows nothing of the target's size, and still is as good as the Gaussian
    where targets stand alone.

    Source: our own baseline.

    Args:
        of: What is compared: the fact `point`, or the centre of `box`.
    """

    name: ClassVar[str] = "neg_distance"
    facts: ClassVar[frozenset[str]] = frozenset({"image_size"})
    of: Literal["point", "box"] = "point"

    def __post_init__(self) -> None:
        check_choice(self.name, "of", self.of, ("point", "box"))

    def compute(self, batch: Batch) -> PerTurn:
        """From the distance to the centre."""
        point, acceptable, target, available = self.read(batch)
        size, known = image_sizes(batch, self, available)
        available = available & known
        size = np.where(known[:, None], size, 1.0)
        distance = np.linalg.norm(point - centres(target), axis=1) / np.linalg.norm(size, axis=1)
        values = -np.where(acceptable, np.minimum(distance, 1.0), 1.0)
        return PerTurn(np.where(available, values, 0.0), available)


class _Covering(BatchSignal):
    """What a predicted `box` is compared with the target."""

    facts: ClassVar[frozenset[str]] = frozenset({"target_box", "box"})
    local: ClassVar[bool] = True

    def read(self, batch: Batch) -> tuple[Floats, Bools, Floats, Bools]:
        """float64[N, 4] boxes; bool[N] acceptable; float64[N, 4] targets; bool[N] with value."""
        said, there = tuples(batch, self, "box", 4)
        target, known = targets(batch, self, there)
        return said, upright(said), target, there & known


@register
@dataclass(frozen=True)
class GaussianCoverage(_Covering):
    """exp(-Bhattacharyya distance) of two Gaussians, predicted and target box; in [0, 1].

    Along each axis exp(-d^2 / (8 v)) * sqrt(sp * st / v) with v = (sp^2 + st^2) / 2 and s = alpha *
    (width, height), at least 1 px; the product of both. 1 only where the boxes are equal, but for
    sides so short that s is 1 px; symmetric. Not potential-form. An inverted predicted box: 0.

    Source: GUI-G2 (arXiv 2507.15846), coverage reward, from the paper and the authors' code;
    without its rounding to 3 decimals. alpha 0.5 is the paper's.

    Args:
        alpha: Standard deviations, as a share of width and height.
    """

    name: ClassVar[str] = "gaussian_coverage"
    alpha: float = 0.5

    def __post_init__(self) -> None:
        check_number(self.name, "alpha", self.alpha, 0, above=True)

    def compute(self, batch: Batch) -> PerTurn:
        """From centres and extents."""
        box, acceptable, target, available = self.read(batch)
        ours, theirs = sigmas(box, self.alpha), sigmas(target, self.alpha)
        mean = (np.square(ours) + np.square(theirs)) / 2
        offset = np.square(centres(box) - centres(target))
        values = np.prod(np.exp(-offset / (8 * mean)) * np.sqrt(ours * theirs / mean), axis=1)
        return PerTurn(np.where(available & acceptable, values, 0.0), available)


@register
@dataclass(frozen=True)
class BoxIoU(_Covering):
    """Area of the intersection over area of the union of the two boxes; in [0, 1].

    Not potential-form. An inverted predicted box: 0. A target without extent: always 0.

    Source: the usual definition; the baseline of GUI-G2 (arXiv 2507.15846).
    """

    name: ClassVar[str] = "box_iou"

    def compute(self, batch: Batch) -> PerTurn:
        """From the areas."""
        box, acceptable, target, available = self.read(batch)
        valued = available & acceptable
        values = np.zeros(batch.count)
        values[valued] = iou(box[valued], target[valued])
        return PerTurn(values, available)


def iou(ours: Floats, theirs: Floats) -> Floats:
    """float64[N]: intersection over union of float64[N, 4] boxes that are not inverted."""
    low, high = np.maximum(ours[:, :2], theirs[:, :2]), np.minimum(ours[:, 2:], theirs[:, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=1)
    areas = [np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (ours, theirs)]
    union = areas[0] + areas[1] - shared
    found: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found


@register
@dataclass(frozen=True)
class EvidenceBox(BatchSignal):
    """How much of the evidence a `box` holds, times how little else; in [0, 1].

    Recall is the share of the evidence's area that lies in the box, tightness the share of the
    box's area that is evidence; the value is their product. Facts, in one space of pixels: `box`,
    and `evidence_boxes`, a list of [x1, y1, x2, y2] that do not overlap, such as the lines of a
    sentence. A turn without a box, or with no evidence to point at, has no value. An inverted or
    empty box: 0. Not potential-form.

    Source: our own, for visual search, in place of a judge that looks at the crop.
    """

    name: ClassVar[str] = "evidence_box"
    facts: ClassVar[frozenset[str]] = frozenset({"box", "evidence_boxes"})
    local: ClassVar[bool] = True

    def compute(self, batch: Batch) -> PerTurn:
        """From the areas."""
        box, available = tuples(batch, self, "box", 4)
        pieces, owner = boxes(batch, self, "evidence_boxes", available)
        low = np.maximum(box[owner, :2], pieces[:, :2])
        high = np.minimum(box[owner, 2:], pieces[:, 2:])
        held = np.bincount(owner, np.prod(np.maximum(high - low, 0.0), axis=1), batch.count)
        area = np.prod(pieces[:, 2:] - pieces[:, :2], axis=1)
        evidence = np.bincount(owner, area, batch.count)
        own = np.where(upright(box), np.prod(box[:, 2:] - box[:, :2], axis=1), 0.0)
        available = available & (evidence > 0)
        both = np.where(available & upright(box), evidence * own, 1.0)
        values = np.where(available & upright(box), np.square(held) / both, 0.0)
        return PerTurn(np.minimum(values, 1.0), available)
