"""What maps show where there is nothing to show: the null band."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

LEVEL = 0.95
_SURE = 1.645
"""Standard deviations of a binomial count that bound its quantile from above in 95 % of samples."""


class Band(NamedTuple):
    """How large the values of a map are by chance.

    Attributes:
        pixel: 95 % of all pixels of null maps are within it.
        peak: 95 % of null maps are within it with all their pixels; as null maps are few, it is the upper confidence
            limit of that quantile.
        source: what the null maps were made from, for people.
    """

    pixel: float
    peak: float
    source: str


def band_of(nulls: Sequence[Float[Tensor, "n h w"]], source: str) -> Band:
    """The band of null maps.

    Example:
        >>> band = band_of([torch.linspace(0, 1, 101).view(1, 1, 101)], "an example")
        >>> round(band.pixel, 2), round(band.peak, 2)
        (0.95, 1.0)
    """
    maps = torch.cat([null.abs() for null in nulls])
    peaks = maps.amax((1, 2))
    return Band(_quantile(maps), _quantile(peaks, margin=_SURE * math.sqrt(LEVEL * (1 - LEVEL) * len(peaks))), source)


def above(maps: Float[Tensor, "n h w"], band: Band) -> Float[Tensor, "n h w"]:
    """Signed maps with everything inside the band set to zero."""
    return torch.where(maps.abs() > band.pixel, maps, 0.0)


def within(maps: Float[Tensor, "n h w"], band: Band) -> Bool[Tensor, " n"]:
    """Which maps show no more than null maps do."""
    return maps.abs().amax((1, 2)) <= band.peak


def other_labels(labels: Int[Tensor, " n"], classes: int, *, seed: int) -> Int[Tensor, " n"]:
    """For every image the label of an image of another class, drawn at random; any other class where all have the same.

    Example:
        >>> drawn = other_labels(torch.tensor([0, 0, 1, 2]), 3, seed=0)
        >>> bool((drawn != torch.tensor([0, 0, 1, 2])).all()), other_labels(torch.tensor([2, 2]), 3, seed=0).tolist()
        (True, [0, 1])
    """
    generator = torch.Generator().manual_seed(seed)
    if len(labels.unique()) == 1:
        return (labels + torch.randint(1, max(2, classes), labels.shape, generator=generator)) % classes
    order = torch.rand(len(labels), len(labels), generator=generator)
    different = labels[:, None] != labels[None]
    return labels[torch.where(different, order, order - 1).argmax(1)]


def _quantile(values: Tensor, *, margin: float = 0.0) -> float:
    """The quantile, or the value so many ranks above it."""
    flat = values.flatten()
    rank = min(len(flat), int(LEVEL * len(flat) + margin) + 1)
    return float(flat.kthvalue(rank).values)  # torch.quantile refuses more than 16 million values
