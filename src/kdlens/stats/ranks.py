"""Ranks and rank correlation, in batches."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


def ranks(values: Shaped[Tensor, "*lead n"]) -> Float[Tensor, "*lead n"]:
    """Ranks 1..n along the last axis, equal values sharing the mean of theirs; float64.

    Example:
        >>> ranks(torch.tensor([0.3, 0.1, 0.3, 0.9])).tolist()
        [2.5, 1.0, 2.5, 4.0]
    """
    values = values.contiguous()
    in_order = values.sort(-1).values
    below = torch.searchsorted(in_order, values)
    up_to = torch.searchsorted(in_order, values, right=True)
    return (below + up_to + 1).double() / 2


def standard_ranks(values: Shaped[Tensor, "*lead n"]) -> Float[Tensor, "*lead n"]:
    """Ranks with mean 0 and sum of squares 1, so that Spearman's correlation is a sum of products; 0 if all are equal.

    Example:
        >>> a, b = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 9.0, 4.0])
        >>> round(float((standard_ranks(a) * standard_ranks(b)).sum()), 6)
        0.5

    Source: Spearman, American Journal of Psychology 15 (1904), with mid-ranks for ties.
    """
    centred = ranks(values)
    centred = centred - centred.mean(-1, keepdim=True)
    length = centred.square().sum(-1, keepdim=True).sqrt()
    return torch.where(length > 0, centred / length.clamp_min(1e-300), 0.0)
