"""Rows from intervals, and one row over the training seeds from the rows of each."""

import math
from collections.abc import Sequence
from dataclasses import replace

from kdlens.answer import Row
from kdlens.stats.paired import in_quadrature
from kdlens.stats.resampling import Interval, seed_interval

_RANGE = {"ece": (0.0, 1.0), "ece_adaptive": (0.0, 1.0)}
_UNITS = {"%": (0.0, 100.0), "points": (-100.0, 100.0)}
"""What a value can be; few seeds would give ends beyond."""


def with_interval(base: Row, interval: Interval) -> Row:
    """The row with value, interval and n filled in; an unknown interval (NaN) is left out."""
    low, high = _ends(interval)
    return replace(base, value=interval.value, low=low, high=high, n=interval.n)


def points(base: Row, interval: Interval) -> Row:
    """The row of a difference of shares, in percentage points."""
    return with_interval(replace(base, unit="points"), percent(interval))


def percent(interval: Interval) -> Interval:
    """A share as a percentage."""
    return Interval(100 * interval.value, 100 * interval.low, 100 * interval.high, interval.n)


def over_seeds(rows: Sequence[Row]) -> Row:
    """Join the rows of one number's seeds: their mean, with the spread over seeds added to that over images."""
    count = len(rows)
    value, low, high = (
        math.fsum(ends) / count for ends in zip(*((r.value, _known(r.low), _known(r.high)) for r in rows), strict=True)
    )
    joined = in_quadrature(Interval(value, low, high, rows[0].n or 0), seed_interval([row.value for row in rows]))
    ends = _ends(joined)
    limits = _RANGE.get(rows[0].metric) or _UNITS.get(rows[0].unit)
    if ends[0] is not None and limits is not None:
        least, most = limits
        ends = max(least, joined.low), min(most, joined.high)
    chances = [row.chance for row in rows if row.chance is not None]
    chance = math.fsum(chances) / len(chances) if chances else None
    p = rows[0].p if count == 1 else None
    return replace(rows[0], value=joined.value, low=ends[0], high=ends[1], chance=chance, p=p, seed=None)


def _ends(interval: Interval) -> tuple[float | None, float | None]:
    return (None, None) if math.isnan(interval.low) else (interval.low, interval.high)


def _known(end: float | None) -> float:
    return math.nan if end is None else end
