"""Where the points of a drawing stand from left to right: in slots by name, or at numbers on a scale."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from kdlens.report.numbers import shorten

_LETTER = 6.4
"""Width of a letter in a drawing's units."""

_BETWEEN = 8.0
"""Least room between two names."""

_ENDS = 14.0
"""Room before the first and after the last number of a scale."""


@dataclass(frozen=True)
class Places:
    """Places of points.

    Attributes:
        at: where every point stands.
        slot: room that a point has to itself.
        ticks: places that are marked on a scale; none in slots.
        names: place, short and full text of every name that is written.
    """

    at: tuple[float, ...]
    slot: float
    ticks: tuple[float, ...]
    names: tuple[tuple[float, str, str], ...]


def in_slots(names: Sequence[str], left: float, right: float) -> Places:
    """Points side by side, whatever their names; of many names every second, third, ... is written.

    Example:
        >>> in_slots(["stem", "layer1"], 0, 200).at
        (50.0, 150.0)
    """
    slot = (right - left) / len(names)
    at = tuple(left + slot * (i + 0.5) for i in range(len(names)))
    every = max(1, round(44 / slot))
    short = [
        (x, shorten(name, max(5, int(slot * every / _LETTER)), keep_end=True), name)
        for x, name in zip(at, names, strict=True)
    ]
    return Places(at, slot, (), tuple(short[::every]))


def on_scale(values: Sequence[float], names: Sequence[str], left: float, right: float) -> Places:
    """Points at their numbers; every one has a tick, and a name where there is room for it.

    Args:
        values: numbers that rise.
        names: how they are written.
        left: start of the scale.
        right: its end.

    Example:
        >>> found = on_scale([0, 1, 10], ["0", "1", "10"], 0, 128)
        >>> found.at, [name for _, name, _ in found.names]
        ((14.0, 24.0, 114.0), ['0', '10'])
    """
    low, high = values[0], values[-1]
    length = right - left - 2 * _ENDS
    at = tuple(left + _ENDS + length * ((v - low) / (high - low) if high > low else 0.5) for v in values)
    slot = min([b - a for a, b in itertools.pairwise(at)], default=length)
    written = _with_room(list(zip(at, names, strict=True)))
    return Places(at, slot, at, tuple((x, name, name) for x, name in written))


def _with_room(named: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """The first and the last name, and between them from the left those that do not touch."""
    written = named[:1]
    for x, name in named[1:-1]:
        if _fits(written[-1], (x, name)) and _fits((x, name), named[-1]):
            written.append((x, name))
    return written + [one for one in named[1:][-1:] if _fits(written[0], one)]


def _fits(one: tuple[float, str], other: tuple[float, str]) -> bool:
    return other[0] - one[0] >= _LETTER * (len(one[1]) + len(other[1])) / 2 + _BETWEEN
