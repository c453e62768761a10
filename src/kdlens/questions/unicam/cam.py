"""What all heat maps share: size, scale, and how much of a map lies on the object."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from kdlens.errors import DataError

_TINY = 1e-7  # added to the largest value before dividing, as published


def upsample(maps: Float[Tensor, "n h w"], size: tuple[int, int]) -> Float[Tensor, "n H W"]:
    """Bilinear interpolation to `size` (height, width), corners not aligned.

    Example:
        >>> upsample(torch.tensor([[[0.0, 4.0]]]), (1, 4))
        tensor([[[0., 1., 3., 4.]]])
    """
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def min_max(maps: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    """Each map less its minimum, over its maximum (plus 1e-7); a constant map becomes zero."""
    lifted = maps - maps.amin((1, 2), keepdim=True)
    return lifted / (_TINY + lifted.amax((1, 2), keepdim=True))


def published_scale(raw: Float[Tensor, "n h w"], size: tuple[int, int]) -> Float[Tensor, "n H W"]:
    """Signed maps at the layer's resolution to maps in [0, 1] at input size, the way CAM papers print them.

    Negative parts are cut, each map is scaled to its own range, enlarged, and scaled once more. So every map has the
    same strength whatever it had before, and a uniform positive background is gone: maps of different images, layers or
    networks cannot be compared. Keep the signed maps for that.

    Example:
        >>> published_scale(torch.tensor([[[-1.0, 2.0]], [[-2.0, -1.0]]]), (1, 2)).round().tolist()
        [[[0.0, 1.0]], [[0.0, 0.0]]]
    """
    return min_max(upsample(min_max(raw.clamp(min=0)), size).clamp(min=0))


def energy_share(maps: Float[Tensor, "n h w"], masks: Bool[Tensor, "n h w"]) -> Float[Tensor, " n"]:
    """Share of each map's positive part that lies inside the mask, in [0, 1]; NaN where nothing is positive.

    A map that knows nothing has the mask's area as its share on average, which is the chance level.

    Raises:
        DataError: maps and masks of different size.

    Example:
        >>> energy_share(torch.tensor([[[3.0, 1.0, -5.0]]]), torch.tensor([[[True, False, False]]]))
        tensor([0.7500])

    Source: energy-based pointing game, Wang et al., CVPR workshops 2020.
    """
    if maps.shape != masks.shape:
        raise DataError(f"maps {tuple(maps.shape)} and masks {tuple(masks.shape)} must have the same shape")
    positive = maps.clamp(min=0)
    return (positive * masks).sum((1, 2)) / positive.sum((1, 2))


def common_scale(maps: Iterable[Float[Tensor, "n h w"]], quantile: float = 0.995) -> float:
    """One scale for many signed maps: a high quantile of all positive values; 1 where there are none.

    Example:
        >>> common_scale([torch.tensor([[[-9.0, 1.0]]]), torch.tensor([[[3.0, 0.0]]])], quantile=0.5)
        1.0
    """
    positive = torch.cat([m[m > 0] for m in maps])
    if len(positive) == 0:
        return 1.0
    rank = max(1, round(quantile * len(positive)))
    return float(positive.kthvalue(rank).values)  # torch.quantile refuses more than 16 million values
