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
        ticks: round values on it.
    """

    low: float
    high: float
    ticks: tuple[float, ...]

    @classmethod
    def over(cls, values: Iterable[float | None], *, include: Iterable[float] = (), ticks: int = 5) -> "Axis":
        """An axis that holds all finite values, with about `ticks` round ticks.

        Example:
            >>> Axis.over([0.3, 4.1, None], include=[0.0])
            Axis(low=0.0, high=6.0, ticks=(0.0, 2.0, 4.0, 6.0))
        """
        found = [float(value) for value in (*values, *include) if value is not None and known(value)]
        low, high = (min(found), max(found)) if found else (0.0, 1.0)
        if high - low < 1e-12 * max(1.0, abs(high)):
            margin = max(abs(high), 1.0) * 0.5
            low, high = low - margin, high + margin
        step = _round_step((high - low) / max(1, ticks - 1))
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        marks = tuple(round(step * i, 12) + 0.0 for i in range(first, last + 1))
        return cls(marks[0], marks[-1], marks)

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
