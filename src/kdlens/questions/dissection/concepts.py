"""From IoU to concepts: the best label of every unit, and how many units are detectors."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdlens.data.concepts.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Best:
    """The best label of every unit.

    Attributes:
        label: `(units,)` label number; 0 where no label overlaps the unit.
        category: `(units,)` index of the label's category; -1 where there is no label.
        iou: `(units,)` IoU with it.
        labels: `(categories, units)`: the same within each category.
        ious: `(categories, units)`.
    """

    label: Int[Tensor, " units"]
    category: Int[Tensor, " units"]
    iou: Float[Tensor, " units"]
    labels: Int[Tensor, "categories units"]
    ious: Float[Tensor, "categories units"]


@dataclass(frozen=True)
class Detectors:
    """How many units detect a concept.

    Attributes:
        total: units whose IoU with their best label reaches the threshold.
        unique: different labels among them.
        by_category: units by the category of their label.
    """

    total: int
    unique: int
    by_category: dict[str, int]


def best_labels(
    iou: Float[Tensor, "units labels"], vocabulary: Vocabulary, allowed: Bool[Tensor, " labels"] | None = None
) -> Best:
    """Pick the label of largest IoU, within each category and of all.

    Of equal IoUs the smaller label number wins within a category, and the later category between them, as published.

    Args:
        iou: of every unit with every label.
        vocabulary: of the labels.
        allowed: labels to choose from; all unless given.
    """
    iou = iou if allowed is None else iou * allowed
    labels, ious = [], []
    for category in range(len(vocabulary.categories)):
        within = (vocabulary.primary == category).nonzero()[:, 0]
        if len(within):
            top, place = iou[:, within].max(1)  # the first of equals
            labels.append(torch.where(top > 0, within[place], 0))
            ious.append(top)
        else:
            labels.append(torch.zeros(len(iou), dtype=torch.int64))
            ious.append(iou.new_zeros(len(iou)))
    stacked = torch.stack(ious)
    winner = len(ious) - 1 - stacked.flip(0).argmax(0)  # argmax gives the first of equals: from the end, the last
    units = torch.arange(len(iou))
    found = stacked[winner, units]
    label = torch.stack(labels)[winner, units]
    return Best(
        torch.where(found > 0, label, 0), torch.where(found > 0, winner, -1), found, torch.stack(labels), stacked
    )


def count_detectors(best: Best, threshold: float, vocabulary: Vocabulary) -> Detectors:
    """Count the units whose IoU reaches `threshold`.

    Source: Bau et al., CVPR 2017 (IoU above .04); Han et al., ICML 2023 (.05).
    """
    detects = (best.iou >= threshold) & (best.category >= 0)
    of_category = best.category[detects].bincount(minlength=len(vocabulary.categories))
    return Detectors(
        int(detects.sum()),
        len(best.label[detects].unique()),
        dict(zip(vocabulary.categories, of_category.tolist(), strict=True)),
    )
