"""Pictures for the page: WebP data URIs of images and of maps on one scale, and the outline of a mask as a path.

Maps are drawn as small transparent pictures that lie on a dimmed grey copy of the image, so that the copy is stored
once however many maps there are, and a reader can take the outline or the negative part off.
"""

import base64
import io
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

if TYPE_CHECKING:
    from PIL import Image

Picture = UInt8[np.ndarray, "h w c"]

MAP_SIDE = 64
"""Side of a map picture; a feature map is rarely finer."""

_CRISP = 96
"""Images with sides up to this stay pixel-exact."""

_COLD = ((17, 33, 84), (27, 86, 160), (58, 150, 205), (135, 206, 235), (222, 245, 255))
"""Negative values, weak to strong, of rising lightness."""


def data_uri(picture: "Image.Image", *, quality: int = 80, lossless: bool = False) -> str:
    """A picture as a WebP `data:` URI."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, lossless=lossless, alpha_quality=70, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def picture_uri(image: Picture, *, side: int = 224, quality: int = 82) -> str:
    """An image as a `data:` URI, at most `side` pixels wide and high; small images stay pixel-exact.

    Example:
        >>> picture_uri(np.zeros((8, 8, 3), np.uint8))[:23]
        'data:image/webp;base64,'
    """
    return _encode(np.asarray(image, np.uint8), side, quality)


def dimmed_uri(image: Picture, *, side: int = 224, quality: int = 70) -> str:
    """The image in dim grey, the ground on which maps are read."""
    return _encode(dimmed(image), side, quality)


def dimmed(image: Picture) -> Picture:
    """Grey at about half the brightness, so that every colour on it belongs to the map."""
    grey = np.asarray(image, np.float32)[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.repeat((18 + 0.52 * grey).astype(np.uint8)[..., None], 3, -1)


def map_uri(values: Float[np.ndarray, "h w"], scale: float, *, negative: bool = False, side: int = MAP_SIDE) -> str:
    """The positive (or negative) part of a map as a transparent picture; empty where there is nothing to see.

    Args:
        values: signed map; NaN counts as nothing.
        scale: the value of full strength, common to all maps beside each other.
        negative: draw the negative part instead, in the cold colours.
        side: largest side of the picture.
    """
    strength = _shrunk(map_strength(values, scale, negative=negative), side)
    if strength.max(initial=0.0) < 0.04:
        return ""
    return data_uri(_as_image(coloured(strength, negative=negative)), quality=72)


def map_strength(values: Float[np.ndarray, "h w"], scale: float, *, negative: bool = False) -> Float[np.ndarray, "h w"]:
    """Map values as shares of the scale, in [0, 1]; all zero where the scale is not a positive number."""
    if not (np.isfinite(scale) and scale > 0):
        return np.zeros(values.shape, np.float32)
    clean = np.nan_to_num(np.asarray(values, np.float32), nan=0.0, posinf=scale, neginf=-scale)
    return np.clip((-clean if negative else clean) / scale, 0.0, 1.0)


def coloured(strength: Float[np.ndarray, "h w"], *, negative: bool = False) -> UInt8[np.ndarray, "h w 4"]:
    """Colour and opacity for strengths in [0, 1]; both rise with the strength."""
    table = colours(negative=negative)
    return table[np.clip(np.round(strength * 255), 0, 255).astype(np.uint8)]


@cache
def colours(*, negative: bool = False) -> UInt8[np.ndarray, "256 4"]:
    """The 256 colours of a sign, weak to strong, perceptually uniform."""
    steps = np.linspace(0, 1, 256)
    if negative:
        at = np.linspace(0, 1, len(_COLD))
        rgb = np.stack([np.interp(steps, at, channel) for channel in np.array(_COLD).T], 1)
    else:
        from matplotlib import colormaps

        rgb = 255 * colormaps["inferno"](0.22 + 0.74 * steps)[:, :3]
    alpha = 255 * np.clip(steps / 0.45, 0, 1) ** 1.2 * 0.94
    return np.concatenate([rgb, alpha[:, None]], 1).round().astype(np.uint8)


def colour_bar_uri(*, negative: bool = False, width: int = 160, height: int = 10) -> str:
    """The colours as they look on the dimmed ground, weak (left) to strong."""
    strength = np.repeat(np.linspace(0, 1, width, dtype=np.float32)[None], height, 0)
    if negative:
        strength = strength[:, ::-1]
    return data_uri(_as_image(laid_over(np.full((height, width, 3), 70, np.uint8), strength, negative=negative)))


def laid_over(ground: Picture, strength: Float[np.ndarray, "h w"], *, negative: bool = False) -> Picture:
    """One picture of a map on its ground, both of the same size."""
    layer = coloured(strength, negative=negative).astype(np.float32)
    share = layer[..., 3:] / 255
    return (layer[..., :3] * share + ground[..., :3] * (1 - share)).round().astype(np.uint8)


def baked_uri(image: Picture, values: Float[np.ndarray, "h w"], scale: float, *, side: int = 112) -> str:
    """A map on its image as one opaque picture, for places without style sheets."""
    from PIL import Image

    ground = _as_image(dimmed(image)).resize(_fit(image.shape[1], image.shape[0], side, grow=True))
    strength = Image.fromarray(map_strength(values, scale)).resize(ground.size, Image.Resampling.BILINEAR)
    return data_uri(_as_image(laid_over(np.asarray(ground), np.asarray(strength))), quality=75)


def outline(mask: UInt8[np.ndarray, "h w"]) -> str:
    """The border of a mask as SVG path data in pixel units: every edge between inside and outside.

    Example:
        >>> outline(np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], np.uint8))
        'M1,1h1M1,2h1M1,1v1M2,1v1'
    """
    inside = np.pad(np.asarray(mask) > 0, 1).astype(np.int8)
    flat = _runs(np.diff(inside, axis=0)[:, 1:-1])
    tall = _runs(np.diff(inside, axis=1)[1:-1].T)
    return "".join(f"M{x},{y}h{n}" for y, x, n in flat) + "".join(f"M{x},{y}v{n}" for x, y, n in tall)


def _runs(edges: np.ndarray) -> list[tuple[int, int, int]]:
    """(line, start, length) of every run of edges along the lines of a grid."""
    found = []
    for line, row in enumerate(edges != 0):
        steps = np.flatnonzero(np.diff(np.concatenate([[0], row.view(np.int8), [0]])))
        found += [(line, int(a), int(b - a)) for a, b in zip(steps[::2], steps[1::2], strict=True)]
    return found


def is_small(image: Picture) -> bool:
    """Whether an image is shown pixel by pixel instead of smoothly enlarged."""
    return max(image.shape[:2]) <= _CRISP


def _encode(image: Picture, side: int, quality: int) -> str:
    from PIL import Image

    picture = _as_image(image)
    if is_small(image):
        return data_uri(picture, lossless=True)
    size = _fit(picture.width, picture.height, side)
    return data_uri(picture.resize(size, Image.Resampling.LANCZOS), quality=quality)


def _shrunk(values: Float[np.ndarray, "h w"], side: int) -> Float[np.ndarray, "h w"]:
    from PIL import Image

    height, width = values.shape
    if max(height, width) <= side:
        return values
    return np.asarray(Image.fromarray(values).resize(_fit(width, height, side), Image.Resampling.BILINEAR))


def _fit(width: int, height: int, side: int, *, grow: bool = False) -> tuple[int, int]:
    factor = side / max(width, height, 1)
    factor = factor if grow else min(1.0, factor)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _as_image(array: np.ndarray) -> "Image.Image":
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(array))
