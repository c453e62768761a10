"""Which images to take when not all can be: class-balanced and seeded."""

import torch
from jaxtyping import Int
from torch import Tensor

from kdlens.errors import DataError


def balanced_indices(labels: Int[Tensor, " n"], count: int, *, seed: int) -> Int[Tensor, " m"]:
    """Indices of `min(count, n)` images with the classes as equally frequent as they can be, sorted.

    Every class present gives the same number; a class that runs out leaves its share to the others. The same labels,
    count and seed give the same indices, and a larger count keeps those of a smaller one.

    Args:
        labels: class index of every image.
        count: how many to take.
        seed: of the draw; the global random state is not touched.

    Raises:
        DataError: no labels, or a count that is not positive.

    Example:
        >>> labels = torch.tensor([0, 0, 0, 0, 1, 1, 2])
        >>> labels[balanced_indices(labels, 5, seed=0)]
        tensor([0, 0, 1, 1, 2])
    """
    if labels.ndim != 1 or len(labels) == 0:
        raise DataError(f"labels have shape {tuple(labels.shape)}; expected (n,) with n > 0")
    if count < 1:
        raise DataError(f"cannot draw {count} images; ask for at least one")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise DataError(f"labels have dtype {labels.dtype}; expected class indices (int64)")
    generator = torch.Generator().manual_seed(seed)
    present, classes = labels.cpu().unique(return_inverse=True)
    turn = torch.randperm(len(present), generator=generator)[classes]  # which class is served first in a round
    shuffled = torch.randperm(len(labels), generator=generator)
    rounds = torch.empty_like(shuffled)
    for c in range(len(present)):
        members = shuffled[classes[shuffled] == c]
        rounds[members] = torch.arange(len(members))
    served = torch.argsort(rounds * len(present) + turn)
    return served[:count].sort().values
