"""Shapes, colours and backgrounds of `cells`. Lengths are shares of the picture's side; (0, 0) is its middle.

Every edge is a distance to which a smooth field of noise is added, so that no border is straight.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

CELL_CLASSES = (
    "ball",
    "ball, bar",
    "ball, cross",
    "rectangle, red border",
    "rectangle, green border",
    "rectangle, blue border",
    "ball, 1 tail",
    "ball, 3 tails",
    "ball, 8 tails",
    "nothing",
)
TAILS = {6: 1, 7: 3, 8: 8}
BLANK = 9

_FAR = 0.33  # largest distance of a centre from the middle, along each axis
_WOBBLES = 26  # knots of the noise along a side: one every 20 of 512 pixels
_WOBBLE = 0.007  # its size

Plane = Float[np.ndarray, "h w"]
Colours = Float[np.ndarray, "3 h w"]


class Cell(NamedTuple):
    """A picture, where the cell is (1) and its class can be told (2), and the name of the background."""

    image: UInt8[np.ndarray, "3 h w"]
    levels: UInt8[np.ndarray, "h w"]
    background: str


class Zones(NamedTuple):
    """Parts of a cell, none upon another: its inside, its border, and what grows in or out of it."""

    inside: Bool[np.ndarray, "h w"]
    border: Bool[np.ndarray, "h w"]
    extra: Bool[np.ndarray, "h w"]


def draw_cell(place: tuple[int, ...], kind: int, size: int) -> Cell:
    """Draw a cell of a class from the random numbers that belong to a place.

    Example:
        >>> cell = draw_cell((0, 0, 0, 3), CELL_CLASSES.index("ball, bar"), 64)
        >>> cell.image.shape, np.unique(cell.levels).tolist()
        ((3, 64, 64), [0, 1, 2])
    """
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(place)))
    name = list(BACKGROUNDS)[int(rng.integers(len(BACKGROUNDS)))]
    image = BACKGROUNDS[name](rng, size)
    levels = np.zeros((size, size), np.uint8)
    if kind != BLANK:
        zones = _zones(rng, kind, size)
        body, border, extra = _paints(rng, kind)
        for zone, paint in zip(zones, (body, border, extra), strict=True):
            image[:, zone] = paint[:, None]
        levels[zones.inside | zones.border | zones.extra] = 1
        levels[zones.border if kind in (0, 3, 4, 5) else zones.extra] = 2
    return Cell(np.round(255 * np.clip(image, 0, 1)).astype(np.uint8), levels, name)


def _zones(rng: np.random.Generator, kind: int, size: int) -> Zones:
    """Which pixels belong to which part of a cell of a class."""
    radius, edge = rng.uniform(0.13, 0.19), rng.uniform(0.03, 0.042)
    across = rng.uniform(0.75, 1.3)
    length = rng.uniform(0.1, 0.14)
    turn, centre = rng.uniform(0, 2 * np.pi), rng.uniform(-1, 1, 2)
    reach = radius + (length if kind in TAILS else 0)
    if kind in (3, 4, 5):
        reach = radius * np.hypot(across, 1 / across)
    x, y = _turned(centre * min(_FAR, 0.49 - reach), turn, size)
    wobble = _WOBBLE * _smooth(rng.uniform(-1, 1, (_WOBBLES, _WOBBLES)), size)
    if kind in (3, 4, 5):
        depth = np.minimum(radius * across - np.abs(x), radius / across - np.abs(y)) + wobble
    else:
        depth = radius - np.hypot(x, y) + wobble
    cell, inside = depth > 0, depth > edge
    extra = np.zeros_like(cell)
    if kind in (1, 2):
        thick = 0.5 * rng.uniform(0.05, 0.065)
        bars = np.abs(y) + wobble < thick
        extra = inside & (bars | (np.abs(x) + wobble < thick) if kind == 2 else bars)
    if kind in TAILS:
        extra = _tails(x, y, TAILS[kind], radius + length, 0.5 * rng.uniform(0.034, 0.046), wobble) & ~cell
    return Zones(inside & ~extra, cell & ~inside, extra)


def _tails(x: Plane, y: Plane, count: int, end: float, thick: float, wobble: Plane) -> Bool[np.ndarray, "h w"]:
    """Spokes from the centre to `end`, evenly spread."""
    found = np.zeros(x.shape, bool)
    for angle in 2 * np.pi * np.arange(count) / count:
        along, beside = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        found |= (along > 0) & (along < end) & (np.abs(beside) + wobble < thick)
    return found


def _paints(
    rng: np.random.Generator, kind: int
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Colours of the inside, the border, and what grows in or out; none is near black, which is a background."""
    body = rng.uniform(0.45, 0.8, 3)
    border = rng.uniform(0.5, 0.95, 3)
    border[rng.integers(3)] = 0.25
    if kind in (3, 4, 5):
        border = rng.uniform(0.05, 0.25, 3)
        border[kind - 3] = rng.uniform(0.75, 1)
    return body, border, 0.75 * border


def _turned(centre: Float[np.ndarray, "2"], turn: float, size: int) -> tuple[Plane, Plane]:
    """Coordinates from a cell's point of view."""
    side = (np.arange(size) + 0.5) / size - 0.5
    x, y = side[None, :] - centre[0], side[:, None] - centre[1]
    return x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)


def _smooth(knots: Float[np.ndarray, "*c k k"], size: int) -> Float[np.ndarray, "*c h w"]:
    """Values between knots by straight lines; the outermost knots lie on the picture's edge."""
    count = knots.shape[-1]
    at = np.clip((np.arange(size) + 0.5) / size, 0, 1) * (count - 1)
    weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(count)))
    return weights @ knots @ weights.T


def _black(rng: np.random.Generator, size: int) -> Colours:
    return np.zeros((3, size, size))


def _noise(rng: np.random.Generator, size: int) -> Colours:
    """Eight by eight colours, smoothed."""
    return _smooth(rng.uniform(0.2, 0.7, (3, 8, 8)), size)


def _waves(rng: np.random.Generator, size: int) -> Colours:
    """Rings around a point, half as bright as they could be, with grain."""
    x, y = _turned(rng.uniform(-0.5, 0.5, 2), 0.0, size)
    frequency, phase = rng.uniform(15, 40), rng.uniform(0, 2 * np.pi, 3)
    rings = 0.5 * (1 + np.sin(frequency * np.hypot(x, y) + phase[:, None, None])) / 2
    return rings + _smooth(rng.uniform(-0.1, 0.1, (3, _WOBBLES, _WOBBLES)), size)


BACKGROUNDS: dict[str, Callable[[np.random.Generator, int], Colours]] = {
    "black": _black,
    "noise": _noise,
    "waves": _waves,
}
"""Painters of backgrounds by name."""
