"""Pictures with another background, or without their object. Only the choice of donors is random."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdlens.errors import ConfigError, DataError

Images = Float[Tensor, "n c h w"]
Masks = Bool[Tensor, "n h w"]
Fill = Literal["tile", "mean"]

LEAST_BACKGROUND = 0.05
"""Share of an image that must be background for it to be usable."""


def usable(masks: Masks) -> Bool[Tensor, " n"]:
    """Which images have an object and enough background (5 % of the pixels).

    Example:
        >>> masks = torch.zeros(3, 4, 4, dtype=torch.bool)
        >>> masks[1, 1:3, 1:3] = True
        >>> masks[2] = True
        >>> usable(masks).tolist()
        [False, True, False]
    """
    share = masks.flatten(1).double().mean(1)
    return (share > 0) & (share <= 1 - LEAST_BACKGROUND)


def without_object(images: Images, masks: Masks, *, fill: Fill = "tile") -> Images:
    """Take the object out of every image and fill the hole from the image's own background.

    A hole filled with one colour keeps the outline of the object, by which a network may still know it. So, where there
    is room, the whole box around the object is filled with tiles of the widest strip beside it.

    Args:
        images: any scale.
        masks: True on the object.
        fill: `"tile"`, as above; boxes that touch all four sides, and all holes with `"mean"`, are filled with the mean
            of the background pixels, per channel.

    Raises:
        DataError: masks of another size than the images, or an image without background.
        ConfigError: an unknown fill.

    Example:
        >>> image = torch.tensor([[[[1.0, 1.0, 1.0], [2.0, 9.0, 2.0], [3.0, 3.0, 3.0]]]])
        >>> without_object(image, image[:, 0] == 9, fill="mean")[0, 0, 1, 1]
        tensor(2.)

    Source: "Only-BG-T" of Xiao et al., Noise or signal: the role of image backgrounds, ICLR 2021.
    """
    if fill not in ("tile", "mean"):
        raise ConfigError(f'fill must be "tile" or "mean", not "{fill}"')
    _check(images, masks)
    filled = _with_mean(images, masks)
    if fill == "tile":
        for i, mask in enumerate(masks):
            if mask.any():
                _tile(images[i], mask, filled[i])
    return filled


def on_background(images: Images, masks: Masks, backgrounds: Images) -> Images:
    """Put every object onto another background; object pixels stay exactly as they are.

    Raises:
        DataError: sizes that do not fit.

    Example:
        >>> mask = torch.tensor([[[True, False]]])
        >>> on_background(torch.ones(1, 1, 1, 2), mask, torch.zeros(1, 1, 1, 2))
        tensor([[[[1., 0.]]]])
    """
    _check(images, masks)
    if backgrounds.shape != images.shape:
        raise DataError(f"backgrounds {tuple(backgrounds.shape)} do not fit images {tuple(images.shape)}")
    return torch.where(masks[:, None], images, backgrounds)


def choose_donors(labels: Int[Tensor, " n"], *, seed: int, same_class: bool = False) -> Int[Tensor, " n"]:
    """For every image, the index of a random image of another class (or of its own, but not itself); -1 if none.

    Example:
        >>> labels = torch.tensor([0, 0, 1, 1, 2])
        >>> donors = choose_donors(labels, seed=0)
        >>> bool((labels[donors] != labels).all())
        True
        >>> choose_donors(labels, seed=0, same_class=True).tolist()
        [1, 0, 3, 2, -1]
    """
    generator = torch.Generator().manual_seed(seed)
    donors = torch.full_like(labels, -1)
    for label in labels.unique():
        here = labels == label
        candidates = (here if same_class else ~here).nonzero().flatten()
        takers = here.nonzero().flatten()
        if same_class and len(takers) > 1:
            # a random circle: everyone takes from the next one, nobody from itself
            circle = takers[torch.randperm(len(takers), generator=generator)]
            donors[circle] = circle.roll(1)
        elif not same_class and len(candidates):
            donors[takers] = candidates[torch.randint(len(candidates), (len(takers),), generator=generator)]
    return donors


def _with_mean(images: Tensor, masks: Tensor) -> Tensor:
    background = (~masks).to(images.dtype)[:, None]
    mean = (images * background).sum((2, 3), keepdim=True) / background.sum((2, 3), keepdim=True)
    return torch.where(masks[:, None], mean, images)


def _tile(image: Tensor, mask: Tensor, out: Tensor) -> None:
    """Fill the box around the object in `out` with tiles of the strip beside it that has most pixels."""
    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    (top, bottom), (left, right) = ((int(x[0]), int(x[-1]) + 1) for x in (rows, columns))
    height, width = mask.shape
    strips = [  # pixels, first row or column, thickness, whether the strip runs across
        (top * width, 0, top, True),
        ((height - bottom) * width, bottom, height - bottom, True),
        (left * height, 0, left, False),
        ((width - right) * height, right, width - right, False),
    ]
    pixels, start, thickness, across = max(strips, key=lambda strip: strip[0])
    if pixels == 0:
        return
    if across:
        source = start + torch.arange(bottom - top) % thickness
        out[:, top:bottom, left:right] = image[:, source, left:right]
    else:
        source = start + torch.arange(right - left) % thickness
        out[:, top:bottom, left:right] = image[:, top:bottom, source]


def _check(images: Tensor, masks: Tensor) -> None:
    if images.ndim != 4 or masks.shape != (len(images), *images.shape[2:]):
        raise DataError(
            f"masks must be (n, H, W) like images (n, C, H, W), got {tuple(masks.shape)} and {tuple(images.shape)}"
        )
    full = masks.flatten(1).all(1)
    if bool(full.any()):
        raise DataError(f"image {int(full.nonzero()[0])} has no background: its mask covers it; leave it out")
