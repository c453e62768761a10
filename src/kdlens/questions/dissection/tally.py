"""Sums over images from which every IoU follows: what labels cover, what units cover, what both cover."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.data.concepts.vocabulary import Vocabulary
from kdlens.questions.dissection.labelled import Labelled

CategoryRule = Literal["paper", "netdissect-lite"]

_NEVER_ZERO = 1e-10
"""Added to every union, as published."""


@dataclass(eq=False)
class LabelSums:
    """What labels cover, by group of images. All networks and layers share it.

    Attributes:
        vocabulary: of the labels.
        groups: of images.
        truth: `(groups, labels)`: pixels that carry the label.
        images: `(groups, labels)`: images it occurs in.
    """

    vocabulary: Vocabulary
    groups: int = 1
    truth: Int[Tensor, "groups labels"] = field(init=False)
    images: Int[Tensor, "groups labels"] = field(init=False)

    def __post_init__(self) -> None:
        self.truth = torch.zeros(self.groups, len(self.vocabulary.names), dtype=torch.int64)
        self.images = torch.zeros_like(self.truth)

    def see(self, groups: slice, image: Labelled) -> None:
        """Count an image's labels, in some of the groups."""
        truth, images = self.truth.numpy()[groups], self.images.numpy()[groups]  # views: small sums are quick in NumPy
        truth[:, image.numbers] += image.counts
        images[:, image.numbers] += 1
        if len(image.whole):
            truth[:, image.whole] += image.size[0] * image.size[1]
            images[:, np.setdiff1d(image.whole, image.numbers)] += 1

    def part(self, groups: Tensor) -> "LabelSums":
        """The sum over some of the groups."""
        summed = LabelSums(self.vocabulary)
        summed.truth = self.truth[groups].sum(0, keepdim=True)
        summed.images = self.images[groups].sum(0, keepdim=True)
        return summed


@dataclass(eq=False)
class Tally:
    """What the units of a layer cover, by group of images.

    Attributes:
        units: of the layer.
        labels: what the labels cover, in the same groups.
        both: `(groups, units, labels)`: pixels above a unit's threshold that carry the label.
        active: rule -> `(groups, units, categories)`: pixels above the threshold in images that count for a category.
            `"paper"`: all that have a label of it. `"netdissect-lite"`: those in which the unit hits one.
    """

    units: int
    labels: LabelSums
    both: Int[Tensor, "groups units labels"] = field(init=False)
    active: dict[CategoryRule, Int[Tensor, "groups units categories"]] = field(init=False)

    def __post_init__(self) -> None:
        vocabulary, shape = self.labels.vocabulary, (self.labels.groups, self.units)
        # the largest of all; a unit is active at a small share of the places, so that 32 bits are enough
        self.both = torch.zeros(*shape, len(vocabulary.names), dtype=torch.int32)
        sums = torch.zeros(2, *shape, len(vocabulary.categories), dtype=torch.int64)
        self.active = {"paper": sums[0], "netdissect-lite": sums[1]}

    @property
    def groups(self) -> int:
        """Groups of images."""
        return self.labels.groups

    def see(
        self,
        rows: Int[np.ndarray, " p"],
        area: Int[np.ndarray, " p"],
        hits: Float[np.ndarray, "p labels"],
        image: Labelled,
    ) -> None:
        """Count what lies above the thresholds of some units.

        Args:
            rows: which unit in which group, `group * units + unit`; none twice.
            area: its pixels above the threshold.
            hits: those of each label of the image.
            image: whose labels these are.
        """
        touched = hits @ image.categories.astype(np.float32) > 0
        touched |= image.by_whole
        # views in NumPy, whose small sums take a fraction of the time
        both, area = self.both.view(-1).numpy(), area[:, None]
        first = rows[:, None] * self.both.shape[2]
        both[first + image.numbers] += hits.astype(np.int32)
        if len(image.whole):
            both[first + image.whole] += area
        self.active["paper"].flatten(0, 1).numpy()[rows] += area * image.present
        self.active["netdissect-lite"].flatten(0, 1).numpy()[rows] += area * touched

    def part(self, groups: Tensor) -> "Tally":
        """The sum over some of the groups, as a tally of one group."""
        summed = Tally(self.units, self.labels.part(groups))
        summed.both = self.both[groups].sum(0, keepdim=True)
        summed.active = {rule: sums[groups].sum(0, keepdim=True) for rule, sums in self.active.items()}
        return summed

    def total(self) -> "Tally":
        """The sum over all groups."""
        return self.part(torch.arange(self.groups))

    def activation(self, rule: CategoryRule) -> Int[Tensor, "groups units labels"]:
        """Pixels above the threshold that count for a label: those that count for its primary category."""
        primary, active = self.labels.vocabulary.primary, self.active[rule]
        with_none = torch.cat([active, torch.zeros_like(active[:, :, :1])], 2)
        return with_none.index_select(2, primary % with_none.shape[2])  # -1, for none, is the last

    def iou(self, rule: CategoryRule) -> Float[Tensor, "groups units labels"]:
        """Intersection over union of every unit with every label, float64, each summed over the images first.

        Source: Bau et al., CVPR 2017, equation 1.
        """
        union = self.activation(rule).double()
        union += self.labels.truth[:, None]
        union -= self.both
        union += _NEVER_ZERO
        return self.both / union
