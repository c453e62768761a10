"""Matrices of classes as drawings: shaded cells, like classes side by side, categories framed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from kdlens.report.blocks import Chart
from kdlens.report.numbers import number, shorten
from kdlens.report.svg import Svg

WIDTH, LEVELS = 340, 8
_LETTER, _LINE = 6.2, 11.5
_MOST_CELLS = 120
_LEGEND = 30
_MOST_NAMED = 16


@dataclass(frozen=True)
class Shading:
    """What the shades of all drawings mean: nothing up to `low`, the darkest at `high`."""

    low: float
    high: float

    def level(self, values: Float[np.ndarray, "k k"]) -> Int[np.ndarray, "k k"]:
        """Shade 0 to 8 of every value; of NaN, 0.

        Example:
            >>> Shading(0.1, 0.5).level(np.array([[0.1, 0.11], [0.5, np.nan]])).tolist()
            [[0, 1], [8, 0]]
        """
        share = (np.nan_to_num(values, nan=self.low) - self.low) / max(self.high - self.low, 1e-12)
        return np.ceil(LEVELS * np.clip(share, 0, 1) - 1e-9).astype(int)


@dataclass(frozen=True)
class Axis:
    """The classes as they stand along both sides.

    Attributes:
        order: numbers of the classes.
        names: of all classes, by number.
        category: of all classes, by number; -1 for none.
        categories: names of the categories.
    """

    order: Sequence[int]
    names: Sequence[str]
    category: Sequence[int]
    categories: Sequence[str]

    @property
    def frames(self) -> list[tuple[int, int, int]]:
        """Category, place of its first class and count, for categories of several classes that stand together."""
        found: list[list[int]] = []
        for place, k in enumerate(self.order):
            if found and found[-1][0] == self.category[k]:
                found[-1][2] += 1
            else:
                found.append([self.category[k], place, 1])
        return [(category, first, count) for category, first, count in found if category >= 0 and count > 1]


def matrix_chart(
    values: Float[np.ndarray, "k k"], axis: Axis, shading: Shading, *, title: str, css: str, note: str = ""
) -> Chart:
    """Draw a matrix: rows are true classes, columns the others; the diagonal is grey.

    Args:
        values: by number of the class.
        axis: how the classes stand.
        shading: shared by all drawings that are compared.
        title: heading.
        css: class of the network, which gives the colour.
        note: a sentence below.
    """
    ordered = np.asarray(values, dtype=np.float64)[np.ix_(axis.order, axis.order)]
    named = len(axis.order) <= _MOST_NAMED
    left = _left(axis, named=named)
    top = 18 if named else 4
    side = WIDTH - left - 4
    drawing = Svg(WIDTH, top + side + _LEGEND, _spoken(title, ordered, axis))
    drawing.rect(left, top, side, side, "sheet")
    pooled = _pooled(ordered)
    cell = side / len(pooled)
    levels = shading.level(pooled)
    np.fill_diagonal(levels, 0)
    for level in range(1, LEVELS + 1):
        if (levels == level).any():
            drawing.path(_cells(levels == level, left, top, cell), f"heat h{level} {css}")
    drawing.path(_cells(np.eye(len(pooled), dtype=bool), left, top, cell), "heat-self")
    for _, first, count in axis.frames:
        each = side / len(axis.order)
        drawing.rect(left + first * each, top + first * each, count * each, count * each, "frame")
    _labels(drawing, axis, left, top, side, named=named)
    _scale(drawing, shading, left, top + side + 12, css)
    return Chart(title=title, note=note, drawing=drawing.markup())


def _left(axis: Axis, *, named: bool) -> float:
    """Room for the names at the left."""
    names = [axis.names[k] for k in axis.order] if named else [axis.categories[c] for c, _, _ in axis.frames]
    longest = max((len(name) for name in names), default=0) + (3 if named else 0)
    return float(min(112, 10 + _LETTER * longest))


def _labels(drawing: Svg, axis: Axis, left: float, top: float, side: float, *, named: bool) -> None:
    """Numbered names of few classes, else the categories that have room."""
    most = int((left - 8) / _LETTER)
    if named:
        each = side / len(axis.order)
        for place, k in enumerate(axis.order):
            text = shorten(axis.names[k], most - 3)
            drawing.text(left - 5, top + (place + 0.5) * each + 4, f"{text} {place + 1}", "tick", anchor="end")
            drawing.text(left + (place + 0.5) * each, top - 6, str(place + 1), "tick", anchor="middle")
        return
    each, last = side / len(axis.order), -_LINE
    for category, first, count in axis.frames:
        middle = top + (first + count / 2) * each
        if middle - last >= _LINE - 0.5:
            name = axis.categories[category]
            drawing.text(left - 5, middle + 4, shorten(name, most), "tick", anchor="end", full=name)
            last = middle


def _scale(drawing: Svg, shading: Shading, left: float, top: float, css: str) -> None:
    """What the shades mean."""
    step = 9
    for level in range(1, LEVELS + 1):
        place = left + 74 + step * (level - 1)
        drawing.path(f"M{place:g},{top:g}h{step}v9h-{step}z", f"heat h{level} {css}")
    drawing.text(left + 68, top + 9, f"up to {number(100 * shading.low, '%')} %", "tick", anchor="end")
    drawing.text(left + 80 + step * LEVELS, top + 9, f"{number(100 * shading.high, '%')} %", "tick")


def _cells(marked: np.ndarray, left: float, top: float, cell: float) -> str:
    """Path data of one rectangle for every run of marked cells of a row."""
    parts = []
    for y, row in enumerate(marked):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]]).astype(int)))
        for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            width = (end - start) * cell
            parts.append(f"M{left + start * cell:.4g},{top + y * cell:.4g}h{width:.4g}v{cell:.4g}h-{width:.4g}z")
    return "".join(parts)


def _pooled(ordered: Float[np.ndarray, "k k"]) -> Float[np.ndarray, "m m"]:
    """Of very many classes, each cell is the mean of several neighbours."""
    k = len(ordered)
    if k <= _MOST_CELLS:
        return ordered.copy()
    edges = np.linspace(0, k, _MOST_CELLS + 1).astype(int)[:-1]
    size = np.diff([*edges, k])
    filled = np.nan_to_num(ordered)
    sums = np.add.reduceat(np.add.reduceat(filled, edges, axis=0), edges, axis=1)
    return sums / size[:, None] / size[None]


def _spoken(title: str, ordered: Float[np.ndarray, "k k"], axis: Axis) -> str:
    """The drawing in words: of the first rows, the likest class."""
    parts = []
    for place, row in enumerate(np.nan_to_num(ordered)[:24]):
        likest = int(row.argmax())
        name, other = axis.names[axis.order[place]], axis.names[axis.order[likest]]
        parts.append(f"{name}: {other} {number(100 * float(row[likest]), '%')} %")
    more = f"; {len(ordered) - 24} more classes" if len(ordered) > 24 else ""
    return f"{title}. Likest class of each: {'; '.join(parts)}{more}."
