"""Procedural textures in two inks. Each is a signed distance, so that it looks the same at any size and has soft edges.

Coordinates x and y count periods; a texture is positive where the second ink lies and negative where the first does.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Field = Float[np.ndarray, "n h w"]
Texture = Callable[[Field, Field, Float[np.ndarray, "n k"]], Field]


def banded(x: Field, y: Field, chance: np.ndarray) -> Field:
    """Broad horizontal bands."""
    return _bar(y, 0.25)


def lined(x: Field, y: Field, chance: np.ndarray) -> Field:
    """Thin upright lines."""
    return _bar(1.3 * x, 0.16)


def diagonal(x: Field, y: Field, chance: np.ndarray) -> Field:
    """Diagonal stripes."""
    return _bar(0.75 * (x + y), 0.25)


def chequered(x: Field, y: Field, chance: np.ndarray) -> Field:
    """A chessboard."""
    across, down = _bar(0.7 * x, 0.25), _bar(0.7 * y, 0.25)
    return np.sign(across * down) * np.minimum(np.abs(across), np.abs(down))


def dotted(x: Field, y: Field, chance: np.ndarray) -> Field:
    """Round dots in staggered rows."""
    staggered = x + 0.5 * (np.floor(y) % 2)
    return 0.31 - np.hypot(_offset(staggered), _offset(y))


def latticed(x: Field, y: Field, chance: np.ndarray) -> Field:
    """A grid of thin lines."""
    return np.maximum(_bar(x, 0.11), _bar(y, 0.11))


def zigzag(x: Field, y: Field, chance: np.ndarray) -> Field:
    """Chevrons."""
    return 0.75 * _bar(y + 1.1 * np.abs(_offset(0.62 * x)), 0.25)


def bricked(x: Field, y: Field, chance: np.ndarray) -> Field:
    """Courses of bricks; the second ink is the mortar."""
    course = np.floor(1.05 * y)
    upright = _bar(0.55 * x + 0.5 * (course % 2), 0.055) / 0.55
    return np.maximum(0.1 - np.abs(_offset(1.05 * y + 0.5)), upright)


def ringed(x: Field, y: Field, chance: np.ndarray) -> Field:
    """Rings around a point that lies anywhere in the picture."""
    shape = (-1, 1, 1)
    middle_x = x.min((1, 2)) + (0.2 + 0.6 * chance[:, 0]) * np.ptp(x, (1, 2))
    middle_y = y.min((1, 2)) + (0.2 + 0.6 * chance[:, 1]) * np.ptp(y, (1, 2))
    return _bar(np.hypot(x - middle_x.reshape(shape), y - middle_y.reshape(shape)), 0.25)


def blotchy(x: Field, y: Field, chance: np.ndarray) -> Field:
    """Irregular blots: waves in random directions, added."""
    total = np.zeros_like(x)
    for i in range(WAVES):
        angle, phase, length = (2 * np.pi * chance[:, 3 * i + j].reshape(-1, 1, 1) for j in range(3))
        frequency = 2.6 + 0.5 * length
        total += np.sin(frequency * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    return 0.16 * total


WAVES = 5
CHANCES = 3 * WAVES
"""Random numbers a texture may use."""

TEXTURES: dict[str, Texture] = {
    texture.__name__: texture
    for texture in (banded, lined, diagonal, chequered, dotted, latticed, zigzag, bricked, ringed, blotchy)
}


def paint(
    name: str,
    size: int,
    period: Float[np.ndarray, " n"],
    angle: Float[np.ndarray, " n"],
    chance: Float[np.ndarray, "n k"],
) -> Float[np.ndarray, "n size size"]:
    """How much of the second ink lies on each pixel, in [0, 1].

    Args:
        name: of the texture.
        size: side length in pixels.
        period: of the texture, as a fraction of the side.
        angle: in radians.
        chance: random numbers in [0, 1), two for the place and `CHANCES` for the texture itself.

    Example:
        >>> weight = paint("banded", 32, np.array([0.25]), np.array([0.0]), np.zeros((1, 2 + CHANCES)))
        >>> weight.shape, round(float(weight.mean()), 2)
        ((1, 32, 32), 0.5)
    """
    side = (np.arange(size) + 0.5) / size
    u, v = side[None, None, :], side[None, :, None]
    sine, cosine, step = (value.reshape(-1, 1, 1) for value in (np.sin(angle), np.cos(angle), period))
    x = (u * cosine - v * sine) / step + 2 * chance[:, 0].reshape(-1, 1, 1)
    y = (u * sine + v * cosine) / step + 2 * chance[:, 1].reshape(-1, 1, 1)
    distance = TEXTURES[name](x, y, chance[:, 2:]) * step * size  # in pixels
    return np.clip(distance + 0.5, 0, 1)


def _offset(x: Field) -> Field:
    """Signed distance to the middle of the period, in [-0.5, 0.5)."""
    return x - np.floor(x) - 0.5


def _bar(x: Field, half_width: float) -> Field:
    return half_width - np.abs(_offset(x))
