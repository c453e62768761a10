"""Images dealt to batches, class by class, so that batches hold the classes alike."""

import torch
from jaxtyping import Int
from torch import Tensor


def dealt(labels: Int[Tensor, " n"], batch_size: int, most: int | None = None) -> list[Int[Tensor, " batch"]]:
    """Positions of the images of every batch, all of one size; what does not fill a batch is left out.

    With fewer images than a batch takes, there is one batch of all. The images of a class go to the batches in turn, in
    their order.

    Args:
        labels: classes.
        batch_size: images a batch.
        most: batches at most.

    Example:
        >>> [batch.tolist() for batch in dealt(torch.tensor([0, 0, 0, 0, 1, 1]), 3)]
        [[0, 2, 4], [1, 3, 5]]
    """
    size = min(batch_size, len(labels))
    count = len(labels) // size
    count = count if most is None else min(count, most)
    taken = _evenly(labels)[: count * size]  # what is left out is left out of all classes alike
    by_class = taken[torch.argsort(labels[taken], stable=True)]
    return [by_class[start::count].sort().values for start in range(count)]


def _evenly(labels: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Positions of the first image of every class, then of the second ones, and so on."""
    rank = torch.empty_like(labels)
    for k in labels.unique().tolist():
        of_class = (labels == k).nonzero().flatten()
        rank[of_class] = torch.arange(len(of_class))
    return torch.argsort(rank, stable=True)
