"""ROAD: keep a part of every image and replace the rest by what its neighbours suggest, with a little noise.

A network that is shown grey or black where pixels were removed sees the hole before it sees the image. ROAD fills the
hole smoothly instead: every removed pixel becomes the weighted mean of its eight neighbours, removed ones included.

Source: Rong et al., A consistent and efficient evaluation strategy for attribution methods, ICML 2022.
"""

import hashlib
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from kdlens.errors import ConfigError, DataError

Keep = Literal["important", "unimportant"]
Recipe = Literal["clean", "published"]

NOISE = 0.01
"""Standard deviation of the noise on removed pixels, in units of the network's input, as published."""

BESIDE, ACROSS = 1 / 6, 1 / 12
"""Weights of the four nearest and the four diagonal neighbours, as published."""

STRIP = 64
"""Pixels eliminated at once where rows are short; of longer rows, one row. A matter of speed alone."""


class Perturbed(NamedTuple):
    """Images of which a part was kept.

    Attributes:
        images: `(n, C, H, W)`. Where nothing was kept, NaN (clean) or noise around 0 (published).
        kept: `(n, H, W)`, which pixels are the original ones.
        empty: `(n,)`, the images of which nothing was kept.
    """

    images: Float[Tensor, "n C H W"]
    kept: Bool[Tensor, "n H W"]
    empty: Bool[Tensor, " n"]


def road(
    images: Float[Tensor, "n C H W"],
    maps: Float[Tensor, "n H W"],
    *,
    percentile: float = 50.0,
    keep: Keep = "important",
    noise: float = NOISE,
    recipe: Recipe = "clean",
    seed: int = 0,
) -> Perturbed:
    """Keep what heat maps call important, and fill in the rest.

    The recipes share the linear system and the noise. `"clean"` keeps exactly `percentile` % of the pixels, equal ones
    by position, but none that is not above 0; gives NaN where nothing is kept; and leaves images on their scale.
    `"published"` keeps those strictly above the threshold, which are fewer where values repeat; gives noise around 0
    where nothing is kept; and brings each image to mean 0.5 and deviation 0.1, cut to [0, 1], in 256 steps.

    The noise of an image is drawn from the seed, the image and the kept pixels, so it does not depend on the other
    images; the published code draws it unseeded.

    Args:
        images: as the networks take them.
        maps: one heat map an image, at its size. Of signed maps the positive part counts.
        percentile: per cent of the pixels to keep.
        keep: `"important"` keeps the highest pixels, `"unimportant"` the lowest.
        noise: standard deviation of the noise on what is filled in.
        recipe: `"clean"`, or `"published"`, as in the code of Adhane et al. (WACV 2025).
        seed: of the noise.

    Raises:
        DataError: shapes that do not fit, or images or maps that are not finite.
        ConfigError: an option out of range.

    Example:
        >>> images, maps = torch.rand(2, 3, 8, 8), torch.zeros(2, 8, 8)
        >>> maps[0, :, :4] = 1.0
        >>> done = road(images, maps, percentile=50)
        >>> done.kept[0].float().mean(), done.empty, torch.equal(done.images[0, :, :, :4], images[0, :, :, :4])
        (tensor(0.5000), tensor([False,  True]), True)
    """
    check(images, maps, percentile=percentile, recipe=recipe)
    if keep not in get_args(Keep):
        raise ConfigError(f'keep must be "important" or "unimportant", got "{keep}"')
    if not 0 <= noise < float("inf"):
        raise ConfigError(f"noise must be a standard deviation of 0 or more, got {noise}")
    kept = kept_pixels(maps, percentile=percentile, keep=keep, recipe=recipe)
    pairs = zip(images.detach().cpu().double(), kept, strict=True)
    filled = [_filled(image, k, noise, seed, 0.0 if recipe == "published" else torch.nan) for image, k in pairs]
    done = torch.stack(filled).to(images) if filled else images.clone()
    if recipe == "published":
        done = published_range(done)
    return Perturbed(done, kept.to(images.device), ~kept.flatten(1).any(1).to(images.device))


def check(images: Tensor, maps: Tensor, *, percentile: float, recipe: str) -> None:
    """Refuse what `road` cannot use.

    Raises:
        DataError: shapes that do not fit, or images or maps that are not finite.
        ConfigError: an option out of range.
    """
    if images.ndim != 4 or not images.is_floating_point():
        raise DataError(f"images must be floats (n, C, H, W), got {images.dtype} of shape {tuple(images.shape)}")
    wanted = (images.shape[0], *images.shape[2:])
    if tuple(maps.shape) != wanted:
        raise DataError(f"there must be one map for every image, at its size, {wanted}; got {tuple(maps.shape)}")
    for what, values in (("images", images), ("maps", maps)):
        if not values.isfinite().all():
            raise DataError(f"{what} have values that are NaN or infinite; leave those images out")
    if not 0 <= percentile <= 100:
        raise ConfigError(f"percentile is the share of pixels to keep, from 0 to 100, got {percentile}")
    if recipe not in get_args(Recipe):
        raise ConfigError(f'recipe must be "clean" or "published", got "{recipe}"')


def kept_pixels(
    maps: Float[Tensor, "n H W"], *, percentile: float, keep: Keep = "important", recipe: Recipe = "clean"
) -> Bool[Tensor, "n H W"]:
    """Which pixels to keep; none where a map is nowhere positive.

    Example:
        >>> kept_pixels(torch.tensor([[[0.2, 0.9], [0.2, -1.0]]]), percentile=50)
        tensor([[[ True,  True],
                 [False, False]]])
    """
    importance = maps.detach().cpu().double().clamp(min=0).flatten(1)
    choose = _strictly_beyond if recipe == "published" else _first
    chosen = choose(importance, percentile, keep) & (importance > 0).any(1, keepdim=True)
    return chosen.reshape(maps.shape)


def _first(importance: Float[Tensor, "n p"], percentile: float, keep: Keep) -> Bool[Tensor, "n p"]:
    """So many pixels from the top or the bottom of one order, in which equal ones stand by position."""
    count = importance.shape[1]
    number = round(percentile / 100 * count)
    rank = importance.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return rank >= count - number if keep == "unimportant" else (rank < number) & (importance > 0)


def _strictly_beyond(importance: Float[Tensor, "n p"], percentile: float, keep: Keep) -> Bool[Tensor, "n p"]:
    """Pixels below a percentile of the map, or of its negative; those at the threshold are removed."""
    cost = (importance if keep == "unimportant" else -importance).numpy()
    if not cost.size:
        return torch.zeros_like(importance, dtype=torch.bool)
    return torch.from_numpy(cost < np.percentile(cost, percentile, axis=1, keepdims=True))


def _filled(
    image: Float[Tensor, "C H W"], kept: Bool[Tensor, "H W"], noise: float, seed: int, unknown: float
) -> Tensor:
    smooth = impute(image, kept) if kept.any() else torch.full_like(image, unknown)
    return torch.where(kept, image, smooth + noise * _normal(image, kept, seed))


def _normal(image: Tensor, kept: Tensor, seed: int) -> Tensor:
    """Noise that is the same for the same image, pixels and seed, whatever the other images are."""
    digest = hashlib.sha256(str(seed).encode())
    digest.update(image.contiguous().numpy().tobytes())
    digest.update(kept.contiguous().numpy().tobytes())
    generator = torch.Generator().manual_seed(int.from_bytes(digest.digest()[:6], "big"))
    return torch.randn(image.shape, generator=generator, dtype=torch.float64)


def impute(image: Float[Tensor, "C H W"], kept: Bool[Tensor, "H W"]) -> Float[Tensor, "C H W"]:
    """Replace what is not kept by the weighted means of its eight neighbours, solved for all removed pixels at once.

    The weights are renormalised at the border, which makes the system symmetric and positive definite. Only pixels of
    neighbouring rows are coupled, so it is eliminated strip by strip, exactly, in float64.

    Args:
        image: any values.
        kept: at least one pixel.

    Example:
        >>> impute(torch.tensor([[[0.0, 9.0, 1.0]]]), torch.tensor([[True, False, True]]))
        tensor([[[0.0000, 0.5000, 1.0000]]], dtype=torch.float64)
    """
    if kept.shape[1] > kept.shape[0]:  # the work grows with the square of a row's length
        return impute(image.mT, kept.mT).mT
    image, (height, width) = image.double(), kept.shape
    total = _around(torch.ones_like(image[:1]))[0].flatten()
    known = _around(torch.where(kept, image, 0.0)).flatten(1).T
    rows = max(1, STRIP // width)
    strips = [part.flatten().nonzero().flatten() for part in (~kept).split(rows)]
    within, onward = _weights(rows, width)
    factors: list[Tensor] = []
    carried: list[Tensor] = []  # of every strip: its coupling to the next and its right-hand side, both half solved
    for i, here in enumerate(strips):
        places = here + i * rows * width
        block, right = torch.diag(total[places]) - within[here[:, None], here], known[places]
        if i:
            update = carried[-1][:, : len(here)].T @ carried[-1]
            block, right = block - update[:, : len(here)], right - update[:, len(here) :]
        ahead = strips[i + 1] if i + 1 < len(strips) else here[:0]
        factors.append(torch.linalg.cholesky(block))
        both = torch.cat([-onward[here[:, None], ahead], right], 1)
        carried.append(torch.linalg.solve_triangular(factors[-1], both, upper=False))
    solved, below = image.flatten(1).T.clone(), image.new_zeros(0, len(image))
    for i in reversed(range(len(strips))):
        right = carried[i][:, len(below) :] - carried[i][:, : len(below)] @ below
        below = torch.linalg.solve_triangular(factors[i].mT, right, upper=True)
        solved[strips[i] + i * rows * width] = below
    return solved.T.reshape(-1, height, width)


def _around(values: Float[Tensor, "C H W"]) -> Float[Tensor, "C H W"]:
    """Weighted sum over the eight neighbours; there is nothing beyond the border."""
    kernel = values.new_tensor([[ACROSS, BESIDE, ACROSS], [BESIDE, 0.0, BESIDE], [ACROSS, BESIDE, ACROSS]])
    return F.conv2d(values[:, None], kernel[None, None], padding=1)[:, 0]


@lru_cache(maxsize=4)
def _weights(rows: int, width: int) -> tuple[Float[Tensor, "p p"], Float[Tensor, "p p"]]:
    """Weights between the pixels of a strip, and between those of a strip and of the next."""
    pixel = torch.arange(rows * width)
    y, x = pixel // width, pixel % width
    sideways = (x[:, None] - x).abs()
    found = []
    for further in (0, rows):
        down = (y[:, None] - y - further).abs()
        found.append(BESIDE * (sideways + down == 1).double() + ACROSS * (sideways * down == 1).double())
    return found[0], found[1]


def published_range(images: Float[Tensor, "n C H W"]) -> Float[Tensor, "n C H W"]:
    """Each image to mean 0.5 and standard deviation 0.1, cut to [0, 1], in 256 steps.

    This is how the published code makes a picture of an image, and it feeds that picture to the networks: the contrast
    of every image is lost, and the scale the networks were trained with.
    """
    values = images.double()
    centred = values - values.mean((1, 2, 3), keepdim=True)
    spread = centred.pow(2).mean((1, 2, 3), keepdim=True).sqrt()
    return ((0.1 * centred / (spread + 1e-5) + 0.5).clamp(0, 1) * 255).floor().div(255).to(images)
