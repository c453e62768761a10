"""Rendering of fashion-scenes: from random numbers to pixels, many scenes at a time."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from kdlens.data.fashion import garment_masks
from kdlens.data.textures import CHANCES, TEXTURES, paint

FABRIC = "fabric"
HUES = {
    "red": (226, 55, 52),
    "orange": (246, 140, 38),
    "yellow": (247, 211, 56),
    "green": (66, 164, 75),
    "cyan": (52, 186, 196),
    "blue": (48, 98, 206),
    "purple": (134, 73, 184),
    "pink": (242, 126, 176),
}
NEUTRALS = {"silver": (198, 197, 194), "charcoal": (84, 86, 92)}
COLOURS = HUES | NEUTRALS | {"white": (245, 245, 245)}
"""Colour names and their RGB values. Garments wear hues (white if untinted), backgrounds a muted hue and a neutral."""

_PALETTE = np.array(list(COLOURS.values())) / 255
_MUTED = np.concatenate([0.47 * _PALETTE[: len(HUES)] + 0.53 * 0.55, _PALETTE[len(HUES) :]])
_UNTINTED = list(COLOURS).index("white")
_FIELDS = (
    "follows", "texture", "hue", "ink", "neutral", "swap", "scale", "left", "top", "mirror", "period", "angle", "glow",
    "from_where",
)  # fmt: skip
_SOFTEST = 1.25  # width of the sampling kernel in garment pixels; more rounds the outline, less shows its steps
DRAWS = len(_FIELDS) + 2 + CHANCES
"""Random numbers a scene needs."""


class Plan:
    """What is to be rendered: garments, and what chance decided about each scene.

    Args:
        garments: grey garments.
        kinds: their classes among all ten.
        draws: random numbers in [0, 1), a row a scene.
        bias: chance that the texture follows the class.
        tint: whether garments wear hues.

    Attributes:
        textures: `(n,)` index of each background's texture.
        hues: `(n,)` index of each garment's colour in `COLOURS`.
        inks: `(n, 2)` indices of each background's colours.
    """

    def __init__(
        self,
        garments: UInt8[Tensor, "n 28 28"],
        kinds: Int[np.ndarray, " n"],
        draws: Float[np.ndarray, "n draws"],
        bias: float,
        tint: bool,
    ) -> None:
        chance = {name: draws[:, i] for i, name in enumerate(_FIELDS)}
        self.garments = garments
        self.chance = chance
        self.rest = draws[:, len(_FIELDS) :]
        self.textures = np.where(chance["follows"] < bias, kinds, (chance["texture"] * len(TEXTURES)).astype(int))
        hues = (chance["hue"] * len(HUES)).astype(int)
        other = (hues + 1 + (chance["ink"] * (len(HUES) - 1)).astype(int)) % len(HUES)  # never the garment's own
        neutral = len(HUES) + (chance["neutral"] * len(NEUTRALS)).astype(int)
        swapped = chance["swap"] < 0.5
        self.hues = hues if tint else np.full_like(hues, _UNTINTED)
        self.inks = np.stack([np.where(swapped, neutral, other), np.where(swapped, other, neutral)], 1)


class Rendered(NamedTuple):
    """Scenes: pixels, garment masks, names of each pixel's colour and texture, and the backgrounds alone."""

    images: UInt8[Tensor, "n 3 h w"]
    masks: Bool[Tensor, "n h w"]
    colours: UInt8[Tensor, "n h w"]
    textures: UInt8[Tensor, "n h w"]
    backgrounds: UInt8[Tensor, "n 3 h w"]


def render(plan: Plan, size: int) -> Rendered:
    """Render every scene of a plan; a scene comes out the same alone and among others."""
    backgrounds, inks = _backgrounds(plan, size)
    shade, masks = _garments(plan, size)
    wearing = _PALETTE[plan.hues][:, :, None, None]
    worn = np.round(255 * np.clip(wearing * (0.42 + 0.63 * shade[:, None]), 0, 1)).astype(np.uint8)
    images = np.where(masks[:, None], worn, backgrounds)
    colours = np.where(masks, plan.hues[:, None, None], inks)
    textures = np.where(masks, len(TEXTURES), plan.textures[:, None, None])
    return Rendered(
        images=torch.from_numpy(images),
        masks=torch.from_numpy(masks),
        colours=torch.from_numpy(colours.astype(np.uint8)),
        textures=torch.from_numpy(textures.astype(np.uint8)),
        backgrounds=torch.from_numpy(backgrounds),
    )


def _backgrounds(plan: Plan, size: int) -> tuple[UInt8[np.ndarray, "n 3 h w"], Int[np.ndarray, "n h w"]]:
    """Pixels of the backgrounds, and which colour lies on each."""
    second = np.empty((len(plan.textures), size, size))
    period = 0.19 + 0.07 * plan.chance["period"]
    angle = 0.16 * (plan.chance["angle"] - 0.5)
    for t, name in enumerate(TEXTURES):
        here = plan.textures == t
        if here.any():
            second[here] = paint(name, size, period[here], angle[here], plan.rest[here])
    first_ink, second_ink = (_MUTED[plan.inks[:, i]][:, :, None, None] for i in range(2))
    flat = first_ink + (second_ink - first_ink) * second[:, None]
    pixels = np.round(255 * np.clip(flat * _glow(plan, size)[:, None], 0, 1)).astype(np.uint8)
    return pixels, np.where(second >= 0.5, plan.inks[:, 1, None, None], plan.inks[:, 0, None, None])


def _glow(plan: Plan, size: int) -> Float[np.ndarray, "n h w"]:
    """Light that falls in from one side, so that backgrounds are not flat."""
    side = (np.arange(size) + 0.5) / size - 0.5
    where = 2 * np.pi * plan.chance["from_where"].reshape(-1, 1, 1)
    ramp = side[None, None, :] * np.cos(where) + side[None, :, None] * np.sin(where)
    return 1 + 0.35 * plan.chance["glow"].reshape(-1, 1, 1) * ramp


def _garments(plan: Plan, size: int) -> tuple[Float[np.ndarray, "n h w"], Bool[np.ndarray, "n h w"]]:
    """Brightness of the garments where they lie in the scenes, and their masks."""
    grey = plan.garments.numpy() / 255
    matte = garment_masks(plan.garments).numpy().astype(float)
    side = 0.68 + 0.26 * plan.chance["scale"]
    across = _sampler(side, plan.chance["left"], grey.shape[2], size)
    down = _sampler(side, plan.chance["top"], grey.shape[1], size)
    across = np.where(plan.chance["mirror"][:, None, None] < 0.5, across[:, :, ::-1], across).transpose(0, 2, 1)
    cover = down @ matte @ across
    light = down @ (grey * matte) @ across
    return light / np.maximum(cover, 1e-6), cover >= 0.45


def _sampler(
    side: Float[np.ndarray, " n"], place: Float[np.ndarray, " n"], source: int, size: int
) -> Float[np.ndarray, "n size source"]:
    """Weights that read `source` pixels into a stretch of `side` of a line of `size` pixels, with a triangular kernel.

    `place` in [0, 1] moves the stretch from one end of the line to the other. Shrinking widens the kernel.
    """
    length = (side * size)[:, None]
    start = place[:, None] * (size - length)
    at = (np.arange(size) + 0.5 - start) / length * source - 0.5
    width = np.maximum(_SOFTEST, source / length)[:, :, None]
    return np.maximum(0, 1 - np.abs(at[:, :, None] - np.arange(source)) / width) / width
