"""Dissection: what the units of a layer detect, how many detect anything, and what chance would show."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdlens.data.concepts.vocabulary import Vocabulary
from kdlens.questions.dissection.concepts import Best, Detectors, best_labels, count_detectors
from kdlens.questions.dissection.plan import Plan
from kdlens.questions.dissection.tally import CategoryRule, Tally
from kdlens.stats.resampling import Interval
from kdlens.stats.student_t import t_quantile

if TYPE_CHECKING:
    import pandas as pd

THRESHOLD = 0.04
"""IoU from which a unit is a detector (Bau et al., CVPR 2017). Han et al. (ICML 2023) use .05."""


@dataclass(frozen=True)
class Counts:
    """How many units of a layer are detectors, and what that number is worth.

    Attributes:
        threshold: IoU from which a unit counts.
        units: of the layer.
        images: the counts rest on.
        found: detectors, in all, by category, and different labels among them.
        interval: of the total over images (jackknife over groups of them).
        held_out: units that reach the threshold on one half of the images with the label chosen on the other half.
        dealt: totals under masks dealt to other images, one a deal.
        rotated: totals of the rotated layer, one a rotation.
    """

    threshold: float
    units: int
    images: int
    found: Detectors
    interval: Interval
    held_out: float
    dealt: tuple[int, ...]
    rotated: tuple[int, ...]

    @property
    def total(self) -> int:
        """Detectors."""
        return self.found.total

    @property
    def unique(self) -> int:
        """Different labels among them."""
        return self.found.unique

    @property
    def share(self) -> float:
        """Detectors as a share of the units."""
        return self.total / self.units

    @property
    def chance(self) -> Interval:
        """Mean and range of the totals under dealt masks."""
        return _band(self.dealt)

    @property
    def chance_rotated(self) -> Interval:
        """Mean and range of the totals of the rotated layer."""
        return _band(self.rotated)

    @property
    def p(self) -> float:
        """Share of deals that count as many, the count itself included."""
        return _p_of(self.total, self.dealt)

    @property
    def p_rotated(self) -> float:
        """Share of rotations that count as many, the count itself included."""
        return _p_of(self.total, self.rotated)


@dataclass(frozen=True, eq=False)
class Dissection:
    """What the units of a layer detect.

    Attributes:
        layer: dotted name.
        vocabulary: of the labels.
        plan: how it was made.
        thresholds: `(units,)` activation from which a place counts as active; NaN for a unit that gave NaN.
        tally: the sums everything follows from, by group of images.
        dealt: the same for masks dealt to other images, a group a deal.
        rotated: the same for rotations of the layer.
        examples: `(units, k)` images of largest activation.
        images: images that were counted.
        problems: why others were not.
    """

    layer: str
    vocabulary: Vocabulary
    plan: Plan
    thresholds: Float[Tensor, " units"]
    tally: Tally
    dealt: Tally
    rotated: tuple[Tally, ...]
    examples: Int[Tensor, "units k"]
    images: int
    problems: tuple[str, ...] = ()

    @property
    def units(self) -> int:
        """Units of the layer."""
        return len(self.thresholds)

    @cached_property
    def allowed(self) -> Bool[Tensor, " labels"]:
        """Labels that occur in enough images."""
        return (self.tally.labels.images.sum(0) >= self.plan.min_images) & (self.vocabulary.primary >= 0)

    @cached_property
    def iou(self) -> Float[Tensor, "units labels"]:
        """IoU of every unit with every label, by the plan's category rule."""
        return self._iou(self.tally.total())

    @cached_property
    def best(self) -> Best:
        """The best label of every unit."""
        return self._best(self.iou)

    @cached_property
    def held_out(self) -> Float[Tensor, " units"]:
        """IoU of every unit on one half of the images with the label that is best on the other half, mean of both."""
        return self._held_out(left=-1)

    @cached_property
    def p(self) -> Float[Tensor, " units"]:
        """For every unit, the share of units under dealt masks whose best IoU is as large, itself included."""
        null = self._null.flatten().sort().values
        as_large = len(null) - torch.searchsorted(null, self.best.iou.contiguous())
        return (1 + as_large) / (1 + len(null))

    def counts(self, threshold: float = THRESHOLD, *, category_rule: CategoryRule | None = None) -> Counts:
        """Count the detectors.

        Args:
            threshold: IoU from which a unit counts.
            category_rule: another rule than the plan's; chance is then that of the other rule, too.
        """
        if category_rule not in (None, self.plan.category_rule):
            return self.under(category_rule).counts(threshold)  # type: ignore[arg-type]
        found = count_detectors(self.best, threshold, self.vocabulary)
        return Counts(
            threshold,
            self.units,
            self.images,
            found,
            jackknife(found.total, [float((left.iou >= threshold).sum()) for left in self.left_out], self.images),
            float((self.held_out >= threshold).sum()),
            tuple((self._null >= threshold).sum(1).tolist()),
            tuple(int((one.iou >= threshold).sum()) for one in self.turned),
        )

    def sweep(self, thresholds: Sequence[float] = (0.03, 0.04, 0.05, 0.06, 0.08, 0.1)) -> list[Counts]:
        """Count the detectors at several thresholds."""
        return [self.counts(threshold) for threshold in thresholds]

    def concepts(self, threshold: float = THRESHOLD) -> dict[str, list[int]]:
        """Label -> the units that detect it, best first."""
        found: dict[str, list[int]] = {}
        for unit in self.best.iou.argsort(descending=True, stable=True).tolist():
            if self.best.iou[unit] >= threshold and self.best.label[unit] > 0:
                found.setdefault(self.vocabulary.names[int(self.best.label[unit])], []).append(unit)
        return found

    def under(self, category_rule: CategoryRule) -> "Dissection":
        """The same sums under another category rule."""
        return replace(self, plan=replace(self.plan, category_rule=category_rule))

    def to_frame(self) -> "pd.DataFrame":
        """One row a unit, best first: its label and category, IoU, held-out IoU, p, and the sums behind it."""
        import pandas as pd

        best, units = self.best, torch.arange(self.units)
        total = self.tally.total()
        frame = pd.DataFrame(
            {
                "unit": units,
                "label": [self.vocabulary.names[label] for label in best.label.tolist()],
                "category": [self.vocabulary.categories[c] if c >= 0 else "" for c in best.category.tolist()],
                "iou": best.iou,
                "held_out_iou": self.held_out,
                "p": self.p if self.dealt.groups else math.nan,
                "threshold": self.thresholds,
                "truth": total.labels.truth[0, best.label],
                "activation": total.activation(self.plan.category_rule)[0, units, best.label],
                "intersection": total.both[0, units, best.label],
            }
        )
        return frame.sort_values("iou", ascending=False, kind="stable", ignore_index=True)

    def __repr__(self) -> str:
        counts = count_detectors(self.best, THRESHOLD, self.vocabulary)
        return (
            f"Dissection({self.layer!r}: {counts.total} of {self.units} units detect {counts.unique} concepts at IoU "
            f"{THRESHOLD}, {self.images:,} images)"
        )

    @cached_property
    def left_out(self) -> list[Best]:
        """The best label of every unit without each group of images in turn."""
        every = torch.arange(self.tally.groups)
        parts = (self.tally.part(every[every != left]) for left in range(self.tally.groups))
        return [self._best(self._iou(part)) for part in parts]

    @cached_property
    def held_out_left_out(self) -> list[Float[Tensor, " units"]]:
        """`held_out` without each group of images in turn; empty where a half would be without images."""
        return [self._held_out(left) for left in range(self.tally.groups)] if self.tally.groups > 3 else []

    @cached_property
    def deals(self) -> list[Best]:
        """The best label of every unit under every deal of the masks."""
        parts = (self.dealt.part(torch.tensor([deal])) for deal in range(self.dealt.groups))
        return [self._best(self._iou(part)) for part in parts]

    @cached_property
    def turned(self) -> list[Best]:
        """The best label of every unit of every rotation."""
        return [self._best(self._iou(one.total())) for one in self.rotated]

    @cached_property
    def _null(self) -> Float[Tensor, "deals units"]:
        """Best IoU of every unit under every deal."""
        if not self.deals:
            return torch.zeros(0, self.units, dtype=torch.float64)
        return torch.stack([deal.iou for deal in self.deals])

    def _held_out(self, left: int) -> Float[Tensor, " units"]:
        """IoU with the label chosen on the other half, without the group `left`."""
        every = torch.arange(self.tally.groups)
        halves = [self.tally.part(half[half != left]) for half in (every[0::2], every[1::2])]
        first, second = (self._iou(half) for half in halves)
        units = torch.arange(self.units)
        return (second[units, self._best(first).label] + first[units, self._best(second).label]) / 2

    def _best(self, iou: Tensor) -> Best:
        return best_labels(iou, self.vocabulary, self.allowed)

    def _iou(self, tally: Tally) -> Tensor:
        return tally.iou(self.plan.category_rule)[0]


def jackknife(value: float, left_out: Sequence[float], images: int) -> Interval:
    """95 % interval from the values without each group of images in turn, by Student's t.

    Example:
        >>> jackknife(10, [9, 10, 9, 10], 40).low < 10
        True
    """
    groups = len(left_out)
    mean = math.fsum(left_out) / groups
    variance = (groups - 1) / groups * math.fsum((one - mean) ** 2 for one in left_out)
    half = t_quantile(0.975, groups - 1) * math.sqrt(variance)
    return Interval(value, value - half, value + half, images)


def _band(values: Sequence[int]) -> Interval:
    if not values:
        return Interval(math.nan, math.nan, math.nan, 0)
    return Interval(math.fsum(values) / len(values), min(values), max(values), len(values))


def _p_of(count: int, null: Sequence[int]) -> float:
    return (1 + sum(other >= count for other in null)) / (1 + len(null)) if null else math.nan
