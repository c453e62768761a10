"""Bilinear enlargement of activation maps to the size of the masks, to the last bit as Pillow does it."""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

Size = tuple[int, int]


@lru_cache(maxsize=64)
def weights(small: int, large: int) -> Float[Tensor, "large small"]:
    """Weights of the old values in every new one along one axis, float64.

    Centres of pixels lie at half steps and the ends are clamped; made smaller, values are averaged over a triangle.

    Example:
        >>> weights(2, 4)
        tensor([[1.0000, 0.0000],
                [0.7500, 0.2500],
                [0.2500, 0.7500],
                [0.0000, 1.0000]], dtype=torch.float64)
    """
    scale = small / large
    reach = max(1.0, scale)
    centres = (torch.arange(large, dtype=torch.float64) + 0.5) * scale
    first = (centres - reach + 0.5).clamp_min(0).trunc()
    last = (centres + reach + 0.5).trunc().clamp_max(small)
    places = torch.arange(small, dtype=torch.float64)
    triangle = (1 - ((places - centres[:, None] + 0.5) * (1 / reach)).abs()).clamp_min(0)
    triangle[(places < first[:, None]) | (places >= last[:, None])] = 0
    return triangle / triangle.cumsum(1)[:, -1:]  # one after another, as Pillow adds them


def enlarge(maps: Float[Tensor, "p h w"], size: Size) -> Float[Tensor, "p H W"]:
    """Bring maps to a size: along the rows, rounded to float32, then along the columns, rounded again.

    Source: Pillow's `resize` with `BILINEAR` on mode `F`, which NetDissect-Lite uses.

    Example:
        >>> enlarge(torch.tensor([[[0.0, 0.0], [0.0, 4.0]]]), (4, 4))[0, 2]
        tensor([0.0000, 0.7500, 2.2500, 3.0000])
    """
    height, width = size
    across = _along_last_axis(maps.float(), width)
    return _along_last_axis(across.transpose(1, 2), height).transpose(1, 2)


def _along_last_axis(x: Float[Tensor, "... small"], large: int) -> Float[Tensor, "... large"]:
    """Add up the weighted values one after another: another order of the sum would round differently."""
    small = x.shape[-1]
    if small == large:
        return x
    every = weights(small, large).to(x.device)
    count = int((every > 0).sum(1).max())
    first = every.gt(0).long().argmax(1)  # the first value with a weight; its neighbours follow
    total = torch.zeros(*x.shape[:-1], large, dtype=torch.float64, device=x.device)
    for step in range(count):
        place = (first + step).clamp_max(small - 1)
        share = every.gather(1, place[:, None])[:, 0].masked_fill(first + step >= small, 0.0)
        total += x[..., place].double() * share
    return total.float()
