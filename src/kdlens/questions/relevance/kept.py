"""What two networks are shown where heat maps decide which part of every image is kept."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdlens.errors import ConfigError, StatisticsError
from kdlens.questions.phrases import counted
from kdlens.questions.relevance.features import FEWEST_IMAGES
from kdlens.questions.road import Perturbed, Recipe, published_range, road


class Shown(NamedTuple):
    """Images as two networks are shown them.

    Attributes:
        model: for the first network, only the images used.
        other: for the second network.
        used: which of the images given; the others have an empty map.
        notes: what a reader must know.
    """

    model: Float[Tensor, "m C H W"]
    other: Float[Tensor, "m C H W"]
    used: Int[Tensor, " m"]
    notes: tuple[str, ...] = ()


def shown(
    images: Float[Tensor, "n C H W"],
    maps: Float[Tensor, "n H W"] | None,
    other_maps: Float[Tensor, "n H W"] | None,
    *,
    percentile: float,
    recipe: Recipe,
    seed: int,
) -> Shown:
    """The images themselves without maps; with them, what the maps keep.

    Raises:
        DataError: maps that do not fit the images, or are not finite.
        ConfigError: an option out of range, or maps for the second network only.
        StatisticsError: too few images of which anything is kept.
    """
    if maps is None:
        if other_maps is not None:
            raise ConfigError("maps are given for the other network only; give maps=, too")
        return Shown(images, images, torch.arange(len(images)))
    first = road(images, maps, percentile=percentile, recipe=recipe, seed=seed)
    second = first if other_maps is None else road(images, other_maps, percentile=percentile, recipe=recipe, seed=seed)
    empty = (first.empty | second.empty).cpu()
    used = usable(empty, recipe)
    if len(used) < FEWEST_IMAGES <= len(images):
        raise StatisticsError(too_few(len(used), len(images)))
    notes = (_kept_text(percentile, recipe, different=other_maps is not None), *_empty_notes(empty, recipe))
    return Shown(first.images[used], second.images[used], used, notes)


def usable(empty: Bool[Tensor, " n"], recipe: Recipe) -> Int[Tensor, " m"]:
    """Images to use: those of which something is kept; as published, all."""
    return torch.arange(len(empty)) if recipe == "published" else (~empty).nonzero().flatten()


def too_few(used: int, n: int) -> str:
    """Why there is no score."""
    return (
        f"maps keep a part of {used} of {counted(n, 'image')} only, and distance statistics need at least "
        f"{FEWEST_IMAGES}; a map must be positive somewhere, and percentile above 0"
    )


def outlines(images: Float[Tensor, "n C H W"], done: Perturbed, recipe: Recipe) -> Float[Tensor, "n C H W"]:
    """Two flat colours, one where pixels were kept: what the shape of a map tells without any content.

    The colours are the mean of all images, and one standard deviation above it.

    Example:
        >>> images = torch.tensor([[[[0.0, 2.0]]], [[[4.0, 2.0]]]])
        >>> kept = torch.tensor([[[True, False]], [[False, True]]])
        >>> outlines(images, Perturbed(images, kept, torch.zeros(2).bool()), "clean").flatten(1)
        tensor([[3.4142, 2.0000],
                [2.0000, 3.4142]])
    """
    mean = images.mean((0, 2, 3), keepdim=True)
    spread = images.std((0, 2, 3), keepdim=True, correction=0)
    flat = torch.where(done.kept[:, None].to(images.device), mean + spread, mean)
    return published_range(flat) if recipe == "published" else flat


def _kept_text(percentile: float, recipe: Recipe, *, different: bool) -> str:
    whose = "each network's own maps" if different else "the maps"
    scale = "" if recipe == "clean" else ", and every image is brought to mean 0.5 and deviation 0.1, as published"
    part = f"the {percentile:g} % most important pixels by {whose}"
    return f"Of every image {part} are kept and the rest is filled in{scale}."


def _empty_notes(empty: Tensor, recipe: Recipe) -> tuple[str, ...]:
    count = int(empty.sum())
    if not count:
        return ()
    then = "are nothing but noise, as published" if recipe == "published" else "are left out"
    return (f"Images of which a map keeps nothing {then}: {count} of {len(empty)}.",)
