"""Knowledge points: the cells of an image whose information a layer keeps, counted on the object and off it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdlens.errors import ConfigError, DataError

Background = Literal["dataset", "image"]
Entropy = Float[Tensor, "n gh gw"]
Foreground = Bool[Tensor, "n gh gw"]

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 13))
"""Thresholds of a sweep, in nats: 0.05 to 0.6."""

_ROUNDING = 4
"""A difference must exceed the threshold by more units of rounding than this: entropies are a few nats."""


@dataclass(frozen=True, eq=False)
class KnowledgePoints:
    """The knowledge points of some images at one layer of one network.

    What is said of an image that is left out is NaN, and no cell of it is kept.

    Attributes:
        kept: cells that are knowledge points, on the object or off it.
        foreground: cells of the object.
        counted: images that are counted.
        rejected: number of images left out because their entropy is not known: no feature of them moves.
        without_background: number of images left out because every cell is the object's.
        without_object: number of images left out because no cell is.
        on_object: N_fg, points on the object of every image.
        off_object: N_bg, points off it.
        share: lambda = N_fg / (N_fg + N_bg) of every image; 0 for an image without points.
        chance: what lambda is on average if points lie anywhere: the object's share of the cells.
        level: mean entropy of the background, from which a point lies down by more than the threshold; nats.
        threshold: b, nats.
        background: whether the level is that of all images together, or each image's own.
    """

    kept: Foreground
    foreground: Foreground
    counted: Bool[Tensor, " n"]
    rejected: int
    without_background: int
    without_object: int
    on_object: Float[Tensor, " n"]
    off_object: Float[Tensor, " n"]
    share: Float[Tensor, " n"]
    chance: Float[Tensor, " n"]
    level: Float[Tensor, " n"]
    threshold: float
    background: Background

    @property
    def without_points(self) -> int:
        """Number of counted images without any point, whose lambda is 0 by definition."""
        return int((self.counted & ~self.kept.flatten(1).any(1)).sum())


def knowledge_points(
    entropy: Entropy,
    foreground: Foreground,
    threshold: float = 0.2,
    background: Background = "dataset",
    *,
    selection: bool = False,
) -> KnowledgePoints:
    """Count the cells whose information is discarded less than that of the background, on the object and off it.

    A cell i of an image is a knowledge point if `level - H_i > threshold`, where the level is the mean entropy of the
    background: of every image's background cells, averaged over images (`"dataset"`, as published), or of the image
    itself (`"image"`, which no longer depends on how much of the whole image is discarded).

    Images whose entropy is NaN, and images without background or without object, are left out and counted; the others
    are not affected.

    Args:
        entropy: H of every cell, nats, e.g. `kdlens.information_discarding(...).entropy`.
        foreground: True on the cells of the object.
        threshold: b, nats (the published code has 0.2).
        background: what the level is taken from.
        selection: also leave out the images whose background is discarded less than their object, as the published code
            does. That chooses images by what is to be shown: always look at both.

    Returns:
        The points, with their counts for every image.

    Raises:
        DataError: shapes that do not fit.
        ConfigError: a threshold that is negative or not a number, or an unknown background.

    Example:
        >>> entropy = torch.tensor([[[-3.4, -3.0, -2.8, -2.8]], [[-2.8, -2.8, -3.4, -2.8]]])
        >>> foreground = torch.tensor([[[True, True, False, False]]] * 2)
        >>> found = knowledge_points(entropy, foreground)
        >>> found.on_object.tolist(), found.off_object.tolist(), found.share.tolist()
        ([1.0, 0.0], [0.0, 1.0], [1.0, 0.0])
        >>> round(found.level[0].item(), 4), found.chance.tolist()
        (-2.95, [0.5, 0.5])

    Source: Cheng, Rao, Chen and Zhang, Explaining knowledge distillation by quantifying the knowledge, CVPR 2020,
    where points are called visual concepts; Zhang et al., IEEE TPAMI 45 (2023).
    """
    _check(entropy, foreground, threshold, background)
    entropy, foreground = entropy.detach().cpu(), foreground.detach().cpu()
    finite, objects = entropy.flatten(1).isfinite().all(1), foreground.flatten(1)
    full, empty = finite & objects.all(1), finite & ~objects.any(1)
    counted = finite & ~full & ~empty
    if selection:
        counted &= passes_selection(entropy, foreground)
    level = _level(entropy, foreground, counted, background)
    rounding = _ROUNDING * torch.finfo(entropy.dtype).eps
    kept = level[:, None, None] - entropy.double() > threshold + rounding  # NaN is never more
    on, off = ((kept & cells).flatten(1).sum(1).double() for cells in (foreground, ~foreground))
    unknown = torch.where(counted, 0.0, torch.nan).double()
    return KnowledgePoints(
        kept=kept,
        foreground=foreground,
        counted=counted,
        rejected=int((~finite).sum()),
        without_background=int(full.sum()),
        without_object=int(empty.sum()),
        on_object=on + unknown,
        off_object=off + unknown,
        share=on / (on + off).clamp_min(1) + unknown,
        chance=objects.double().mean(1) + unknown,
        level=level,
        threshold=float(threshold),
        background=background,
    )


def sweep_thresholds(
    entropy: Entropy,
    foreground: Foreground,
    thresholds: Sequence[float] = THRESHOLDS,
    background: Background = "dataset",
    *,
    selection: bool = False,
) -> list[KnowledgePoints]:
    """`knowledge_points` at several thresholds: counts are steep in the threshold, so look at the whole curve.

    Example:
        >>> entropy = torch.tensor([[[-3.4, -3.0, -2.8, -2.8]]])
        >>> foreground = torch.tensor([[[True, True, False, False]]])
        >>> [found.on_object.item() for found in sweep_thresholds(entropy, foreground, [0.1, 0.3, 0.7])]
        [2.0, 1.0, 0.0]
    """
    return [knowledge_points(entropy, foreground, b, background, selection=selection) for b in thresholds]


def passes_selection(entropy: Entropy, foreground: Foreground) -> Bool[Tensor, " n"]:
    """Whether the published code would keep an image: its background is discarded at least as much as its object.

    It keeps only images of which the hypothesis already holds, for every checkpoint and for both networks; intersect
    what this returns over them. False for an image that is left out anyway.

    Example:
        >>> entropy = torch.tensor([[[-3.0, -2.8]], [[-2.8, -3.0]]])
        >>> passes_selection(entropy, torch.tensor([[[True, False]]] * 2)).tolist()
        [True, False]
    """
    known = entropy.detach().double().cpu()
    on, off = (_mean(known, cells) for cells in (foreground.cpu(), ~foreground.cpu()))
    return off >= on  # NaN is not


def _level(entropy: Tensor, foreground: Tensor, counted: Tensor, background: Background) -> Tensor:
    """The background's mean entropy for every image; NaN for those left out."""
    own = _mean(entropy.double(), ~foreground)
    own = torch.where(counted, own, torch.nan)
    if background == "image" or not bool(counted.any()):
        return own
    return torch.where(counted, own[counted].mean(), torch.nan)


def _mean(values: Tensor, cells: Tensor) -> Tensor:
    """Mean over some cells of every image; NaN where there are none."""
    return (values * cells).flatten(1).sum(1) / cells.flatten(1).sum(1)


def _check(entropy: Tensor, foreground: Tensor, threshold: float, background: str) -> None:
    if entropy.ndim != 3 or foreground.shape != entropy.shape or foreground.dtype != torch.bool:
        raise DataError(
            "entropy (n, gh, gw) and foreground (n, gh, gw, bool) must be of one shape, got "
            f"{tuple(entropy.shape)} and {tuple(foreground.shape)} {foreground.dtype}; on_grid of "
            "kdlens.questions.knowledge.masks brings masks of pixels onto the grid"
        )
    if not entropy.is_floating_point():
        raise DataError(f"entropy must be floating point, got {entropy.dtype}")
    if background not in ("dataset", "image"):
        raise ConfigError(f'background must be "dataset" or "image", got "{background}"')
    if not 0 <= threshold < float("inf"):
        raise ConfigError(f"threshold must be a number of nats >= 0, got {threshold}")
