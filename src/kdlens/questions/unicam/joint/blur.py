"""Take detail out of an image: what an attribution compares an image with, and what fills a region that is deleted."""

import torch
from jaxtyping import Float
from torch import Tensor

WIDTH = 5 / 32
"""Standard deviation of the blur, as a share of the shorter side: small things vanish, light and colour stay."""


def blurred(images: Float[Tensor, "n c h w"], width: float = WIDTH) -> Float[Tensor, "n c h w"]:
    """Images under a Gaussian of `width` times their shorter side, mirrored at the edges.

    Example:
        >>> torch.allclose(blurred(torch.ones(1, 3, 16, 16)), torch.ones(1, 3, 16, 16))
        True
    """
    sigma = width * min(images.shape[2:])
    across = _weights(sigma, images.shape[3]).to(images)
    down = _weights(sigma, images.shape[2]).to(images)
    return torch.einsum("nchw,hi,wj->ncij", images, down, across)


def smooth(maps: Float[Tensor, "n h w"], width: float) -> Float[Tensor, "n h w"]:
    """Maps under a Gaussian; what leaves at the edges comes back in, so that every map keeps its sum."""
    sigma = width * min(maps.shape[1:])
    down, across = (_weights(sigma, size).to(maps) for size in maps.shape[1:])
    return torch.einsum("nhw,hi,wj->nij", maps, down.T, across.T)


def _weights(sigma: float, size: int) -> Float[Tensor, "size size"]:
    """How much each pixel of a row takes from each, [from, to]; mirrored at both ends."""
    place = torch.arange(size, dtype=torch.float64)
    mirrors = torch.stack([place, -1 - place, 2 * size - 1 - place], 1)
    weights = torch.exp(-((mirrors[:, :, None] - place) ** 2) / (2 * sigma**2)).sum(1)
    return weights / weights.sum(0)
