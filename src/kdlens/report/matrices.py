"""Matrices of classes as drawings: shaded cells, like classes side by side, categories framed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from kdlens.report.blocks import Chart
from kdlens.report.numbers import MINUS, number, shorten
from kdlens.report.svg import Svg

WIDTH, LEVELS = 340, 8
_LETTER, _LINE = 6.2, 11.5
_MOST_CELLS = 120
_LEGEND = 30
_MOST_NAMED = 16
_STEP = 9


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

    def layers(self, values: Float[np.ndarray, "k k"], css: str) -> Iterator[tuple[Bool[np.ndarray, "k k"], str]]:
        """Cells of every shade and their class."""
        levels = self.level(values)
        for level in range(1, LEVELS + 1):
            yield levels == level, f"heat h{level} {css}"

    def scale(self, drawing: Svg, left: float, top: float, css: str) -> None:
        """Draw what the shades mean."""
        for level in range(1, LEVELS + 1):
            _swatch(drawing, left + 74 + _STEP * (level - 1), top, f"heat h{level} {css}")
        drawing.text(left + 68, top + 9, f"up to {number(100 * self.low, '%')} %", "tick", anchor="end")
        drawing.text(left + 80 + _STEP * LEVELS, top + 9, f"{number(100 * self.high, '%')} %", "tick")

    def spoken(self, row: Float[np.ndarray, " k"], names: Sequence[str]) -> str:
        """A row in words: the likest class."""
        likest = int(np.nan_to_num(row).argmax())
        return f"{names[likest]} {number(100 * float(np.nan_to_num(row)[likest]), '%')} %"

    @property
    def heading(self) -> str:
        """What `spoken` says of every class."""
        return "Likest class of each"


@dataclass(frozen=True)
class Diverging:
    """Shades of two colours: one below 0, one above, the darkest at `most` and beyond; nothing near 0."""

    most: float

    def layers(self, values: Float[np.ndarray, "k k"], css: str) -> Iterator[tuple[Bool[np.ndarray, "k k"], str]]:
        """Cells of every shade and their class; the colours are the same for all networks.

        Example:
            >>> found = dict((name, mask.tolist()) for mask, name in Diverging(0.5).layers(np.array([[-0.5, 0.2]]), ""))
            >>> found["heat h8 clash"], found["heat h4 accord"]
            ([[True, False]], [[False, True]])
        """
        size = np.clip(np.abs(np.nan_to_num(values)) / max(self.most, 1e-12), 0, 1)
        levels = np.ceil(LEVELS * size - 1e-9).astype(int)
        for level in range(1, LEVELS + 1):
            yield (levels == level) & (values < 0), f"heat h{level} clash"
            yield (levels == level) & (values > 0), f"heat h{level} accord"

    def scale(self, drawing: Svg, left: float, top: float, css: str) -> None:
        """Draw what the shades mean."""
        middle = left + 36 + _STEP * LEVELS
        for level in range(1, LEVELS + 1):
            _swatch(drawing, middle - _STEP * level, top, f"heat h{level} clash")
            _swatch(drawing, middle + _STEP * (level - 1), top, f"heat h{level} accord")
        drawing.text(left + 30, top + 9, f"{MINUS}{self.most:.2f}", "tick", anchor="end")
        drawing.text(middle + 6 + _STEP * LEVELS, top + 9, f"+{self.most:.2f}", "tick")

    def spoken(self, row: Float[np.ndarray, " k"], names: Sequence[str]) -> str:
        """A row in words: the class most opposed."""
        lowest = int(np.nan_to_num(row, nan=np.inf).argmin())
        return f"{names[lowest]} {number(float(np.nan_to_num(row)[lowest]))}"

    @property
    def heading(self) -> str:
        """What `spoken` says of every class."""
        return "Most opposed class of each"


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
    values: Float[np.ndarray, "k k"],
    axis: Axis,
    shading: Shading | Diverging,
    *,
    title: str,
    css: str,
    note: str = "",
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
    drawing = Svg(WIDTH, top + side + _LEGEND, _spoken(title, ordered, axis, shading))
    drawing.rect(left, top, side, side, "sheet")
    pooled = _pooled(ordered)
    cell = side / len(pooled)
    np.fill_diagonal(pooled, np.nan)
    for cells, shade in shading.layers(pooled, css):
        if cells.any():
            drawing.path(_cells(cells, left, top, cell), shade)
    drawing.path(_cells(np.eye(len(pooled), dtype=bool), left, top, cell), "heat-self")
    for _, first, count in axis.frames:
        each = side / len(axis.order)
        drawing.rect(left + first * each, top + first * each, count * each, count * each, "frame")
    _labels(drawing, axis, left, top, side, named=named)
    shading.scale(drawing, left, top + side + 12, css)
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


def _swatch(drawing: Svg, place: float, top: float, css: str) -> None:
    drawing.path(f"M{place:g},{top:g}h{_STEP}v9h-{_STEP}z", css)


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


def _spoken(title: str, ordered: Float[np.ndarray, "k k"], axis: Axis, shading: Shading | Diverging) -> str:
    """The drawing in words, of the first rows."""
    names = [axis.names[k] for k in axis.order]
    rows = ordered[:24].copy()
    np.fill_diagonal(rows, np.nan)
    parts = [f"{name}: {shading.spoken(row, names)}" for name, row in zip(names, rows, strict=False)]
    more = f"; {len(ordered) - 24} more classes" if len(ordered) > 24 else ""
    return f"{title}. {shading.heading}: {'; '.join(parts)}{more}."
