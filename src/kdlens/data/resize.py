"""Bringing images and their masks to one size, together."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdlens.errors import DataError

Size = int | tuple[int, int]
Fit = Literal["crop", "stretch"]


def side_lengths(size: Size) -> tuple[int, int]:
    """Height and width that a size means.

    Raises:
        DataError: it is neither a positive int nor two.
    """
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or any(not isinstance(side, int) or side < 1 for side in sides):
        raise DataError(f"size {size!r} must be a side length in pixels, or (height, width)")
    return sides[0], sides[1]


def fit_image(x: Float[Tensor, "n c h w"], size: tuple[int, int], fit: Fit) -> Float[Tensor, "n c h2 w2"]:
    """Resize bilinearly, with anti-aliasing when images get smaller.

    Example:
        >>> fit_image(torch.rand(1, 3, 40, 60), (20, 20), "crop").shape
        torch.Size([1, 3, 20, 20])
    """
    scaled = _scaled_size(x.shape[-2:], size, fit)
    if scaled != x.shape[-2:]:
        x = F.interpolate(x, scaled, mode="bilinear", antialias=True, align_corners=False)
    return _centre(x, size)


def fit_mask(mask: Bool[Tensor, "*n h w"], size: tuple[int, int], fit: Fit) -> Bool[Tensor, "*n h2 w2"]:
    """Resize a mask to the nearest pixel, the same way as its image."""
    scaled = _scaled_size(mask.shape[-2:], size, fit)
    if scaled != mask.shape[-2:]:
        stack = mask.reshape(-1, 1, *mask.shape[-2:]).to(torch.uint8)
        mask = F.interpolate(stack, scaled, mode="nearest-exact").reshape(*mask.shape[:-2], *scaled).bool()
    return _centre(mask, size)


def fit_labels(labels: Int[Tensor, "n h w"], size: tuple[int, int], fit: Fit) -> Int[Tensor, "n h2 w2"]:
    """Resize label numbers to the nearest pixel, the same way as their image.

    Example:
        >>> fit_labels(torch.tensor([[[7, 40_000], [0, 3]]]), (4, 4), "stretch")[0, 0].tolist()
        [7, 7, 40000, 40000]
    """
    scaled = _scaled_size(labels.shape[-2:], size, fit)
    if scaled != labels.shape[-2:]:
        # float32 holds whole numbers up to 2^24 exactly
        labels = F.interpolate(labels[:, None].float(), scaled, mode="nearest-exact")[:, 0].to(labels.dtype)
    return _centre(labels, size)


def _scaled_size(now: tuple[int, ...], size: tuple[int, int], fit: Fit) -> tuple[int, int]:
    if fit == "stretch":
        return size
    if fit != "crop":
        raise DataError(f'fit is "{fit}"; expected "crop" or "stretch"')
    height, width = now
    scale = max(size[0] / height, size[1] / width)
    return max(size[0], round(height * scale)), max(size[1], round(width * scale))


def _centre(x: Tensor, size: tuple[int, int]) -> Tensor:
    top, left = (x.shape[-2] - size[0]) // 2, (x.shape[-1] - size[1]) // 2
    return x[..., top : top + size[0], left : left + size[1]]
