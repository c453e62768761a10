"""Axes: round ticks, and values as shares of a length."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from kdlens.report.numbers import MINUS, known, number

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Axis:
    """A linear axis.

    Attributes:
        low: value at its start.
        high: value at its end.
        ticks: round values on it, at least two.
    """

    low: float
    high: float
    ticks: tuple[float, ...]

    @classmethod
    def over(cls, values: Iterable[float | None], *, include: Iterable[float] = (), ticks: int = 5) -> "Axis":
        """An axis with room around all finite values, and with at most `ticks + 1` round ticks.

        Args:
            values: what will be drawn.
            include: ends that need no room around them, such as 0 or 100.
            ticks: about how many ticks.

        Example:
            >>> Axis.over([0.3, 4.0, None], include=[0.0])
            Axis(low=0.0, high=4.2, ticks=(0.0, 1.0, 2.0, 3.0, 4.0))
        """
        drawn = [float(value) for value in values if value is not None and known(value)]
        fixed = tuple(include)
        ends = [*drawn, *fixed] or [0.0, 1.0]
        low, high = min(ends), max(ends)
        if high - low < 1e-9 * max(1.0, abs(high)):
            low, high = low - max(abs(low), 1.0) / 2, high + max(abs(high), 1.0) / 2
        room = 0.05 * (high - low)
        low, high = low - room * (low not in fixed), high + room * (high not in fixed)
        step = _round_step((high - low) / ticks)
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        return cls(low, high, tuple(round(step * i, 12) + 0.0 for i in range(first, last + 1)))

    def at(self, value: float) -> float:
        """Where a value lies, as a share of the axis; values outside are drawn at its ends."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def labels(self) -> list[tuple[float, str]]:
        """Position and text of every tick."""
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else 1.0
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        digits += 0 if abs(round(step, digits) - step) < 1e-9 * step else 1
        if digits > 4:
            return [(self.at(tick), number(tick)) for tick in self.ticks]
        return [(self.at(tick), f"{tick:,.{digits}f}".replace("-", MINUS)) for tick in self.ticks]


def _round_step(size: float) -> float:
    power = 10.0 ** math.floor(math.log10(size))
    return next((step * power for step in _STEPS if step * power >= size * (1 - 1e-9)), 10 * power)
