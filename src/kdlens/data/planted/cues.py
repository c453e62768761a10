"""Cues: small marks whose look says one of a few things. A world plants three of them in every image."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.data.textures import CHANCES, paint
from kdlens.errors import DataError, did_you_mean

VOTES = 4
"""Things a cue can say."""

SMALLEST, LARGEST = 5, 12
"""Side lengths a cue may have in an image of 32 x 32 pixels."""

_COLOURS = torch.tensor([[0.90, 0.20, 0.15], [0.15, 0.70, 0.25], [0.20, 0.35, 0.95], [0.95, 0.80, 0.10]])
_TEXTURES = ("lined", "banded", "dotted", "chequered")
_PERIOD = 4.0  # of a texture, in pixels of an image of 32 x 32


@dataclass(frozen=True)
class Cue:
    """One kind of mark.

    Attributes:
        kind: what varies: `"colour"` of a disc, `"shape"`, `"texture"` of a square, or `"angle"` of a bar.
        size: side length in pixels of an image of 32 x 32; larger images have larger cues.

    Raises:
        DataError: an unknown kind, or a size too small to show it or too large to find a place.

    Example:
        >>> Cue("shpae", 7)
        Traceback (most recent call last):
        kdlens.errors.DataError: a cue has no kind "shpae"; did you mean "shape"? Known: colour, shape, texture, angle
    """

    kind: str
    size: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            hint = did_you_mean(str(self.kind), KINDS)
            raise DataError(f'a cue has no kind "{self.kind}"{hint or "."} Known: {", ".join(KINDS)}')
        if not SMALLEST <= self.size <= LARGEST:
            raise DataError(
                f"a cue of {self.size} pixels cannot be used; its size lies between {SMALLEST} and {LARGEST}"
            )


@dataclass(frozen=True)
class Stamp:
    """How a cue looks.

    Attributes:
        cover: in [0, 1], how far each pixel covers what is behind.
        first: in [0, 1], share of the first ink; the rest is the second.
        inks: fixed inks, or None where every image draws its own.
    """

    cover: Float[Tensor, "votes s s"]
    first: Float[Tensor, "votes s s"]
    inks: Float[Tensor, "votes 2 3"] | None = None

    @property
    def size(self) -> int:
        """Side length in pixels."""
        return self.cover.shape[-1]


def stamp(cue: Cue, scale: float = 1.0) -> Stamp:
    """The looks of a cue for images `scale` times 32 pixels wide.

    Example:
        >>> stamp(Cue("shape", 7)).cover.shape, stamp(Cue("shape", 7), 2.0).cover.shape
        (torch.Size([4, 7, 7]), torch.Size([4, 14, 14]))
    """
    return KINDS[cue.kind](round(cue.size * scale), _PERIOD / cue.size)


def _colour(size: int, _: float) -> Stamp:
    disc = _soft(0.5 - _radius(size), size).expand(VOTES, size, size)
    return Stamp(disc, torch.ones(VOTES, size, size), _COLOURS[:, None].expand(VOTES, 2, 3))


def _shape(size: int, _: float) -> Stamp:
    x, y = _grid(size)
    plus = _soft(0.15 - torch.minimum(x.abs(), y.abs()), size)
    cross = _soft(0.16 - torch.minimum((x - y).abs(), (x + y).abs()) / 2**0.5, size)
    ring = _soft(0.13 - (_radius(size) - 0.36).abs(), size)
    block = _soft(0.30 - torch.maximum(x.abs(), y.abs()), size)
    return Stamp(torch.stack([plus, cross, ring, block]), torch.ones(VOTES, size, size))


def _texture(size: int, period: float) -> Stamp:
    chance = np.full((1, 2 + CHANCES), 0.37)  # one phase for all, so that the texture alone tells squares apart
    weights = [paint(name, size, np.array([period]), np.zeros(1), chance)[0] for name in _TEXTURES]
    return Stamp(torch.ones(VOTES, size, size), torch.from_numpy(np.stack(weights)).float())


def _angle(size: int, _: float) -> Stamp:
    x, y = _grid(size)
    bars = []
    for turn in range(VOTES):
        angle = torch.tensor(np.pi * turn / VOTES)
        across = x * angle.sin() - y * angle.cos()
        bars.append(_soft(torch.minimum(0.13 - across.abs(), 0.5 - _radius(size)), size))
    return Stamp(torch.stack(bars).float(), torch.ones(VOTES, size, size))


KINDS: dict[str, Callable[[int, float], Stamp]] = {
    "colour": _colour,
    "shape": _shape,
    "texture": _texture,
    "angle": _angle,
}
"""Kind of cue -> its stamp, given the side length in pixels and the period of textures as a share of it."""


def _grid(size: int) -> tuple[Tensor, Tensor]:
    side = (torch.arange(size) + 0.5) / size - 0.5
    return side[None].expand(size, size), side[:, None].expand(size, size)


def _radius(size: int) -> Tensor:
    x, y = _grid(size)
    return torch.hypot(x, y)


def _soft(distance: Tensor, size: int) -> Tensor:
    """A signed distance to an edge as cover of the pixel."""
    return (distance * size + 0.5).clamp(0, 1)
