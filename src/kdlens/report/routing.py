"""Who reads which expert, as a layered graph: the trunk, levels of experts, classes; line width is attention."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from kdlens.report.blocks import Chart
from kdlens.report.numbers import shorten
from kdlens.report.svg import Svg

WIDTH = 420
MOST_CLASSES = 24
"""More classes than that are drawn as groups, those that read the same expert most."""

_LEFT, _TOP, _FOOT = 18, 14, 20
_NAMES = 128
_LETTER = 6.3
_SLOT, _LEAST = 19.0, 150.0
_RADIUS = 9
_THICK = 8.0
_FAINT = 0.02


@dataclass(frozen=True)
class Ends:
    """What stands at the right: classes, or groups of them.

    Attributes:
        labels: a text for each.
        full: the whole of it.
        rows: `(ends, experts)` attention over the last level.
    """

    labels: tuple[str, ...]
    full: tuple[str, ...]
    rows: Float[np.ndarray, "e n"]


def routing_chart(
    rows: Sequence[Float[np.ndarray, "r n"]], names: Sequence[str], *, title: str, css: str, note: str = ""
) -> Chart:
    """Draw attention rows, first level to classes.

    Args:
        rows: of every attention; rows sum to 1.
        names: of the classes.
        title: heading.
        css: class of the network, which gives the colour of what is read most.
        note: a sentence below.
    """
    paths = _paths(rows)
    ends = _ends(rows[-1], names, paths)
    levels = [*rows[:-1], ends.rows]
    height = max(_LEAST, _SLOT * max(len(ends.labels), *(one.shape[1] for one in rows))) + _TOP + _FOOT
    drawing = Svg(WIDTH, round(height, 1), _spoken(title, names, paths))
    columns = np.linspace(_LEFT, WIDTH - _NAMES, len(rows) + 2)
    places = _places(levels, height)
    _edges(drawing, levels, columns, places, css)
    middle = (_TOP + height - _FOOT) / 2
    for y in places[0]:
        drawing.path(_curve(columns[0], middle, columns[1], y), "edge", thickness=1.2)
    drawing.circle(columns[0], middle, _RADIUS - 3, f"expert {css}")
    drawing.text(columns[0] - 8, middle + 22, "trunk", "tick")
    for level in range(len(rows)):
        read = {int(path[level]) for path in paths}
        for expert, y in enumerate(places[level]):
            drawing.circle(columns[level + 1], y, _RADIUS, f"expert {css}" if expert in read else "expert unread")
            drawing.text(columns[level + 1], y + 4, str(expert), "tick", anchor="middle")
        name = f"level {level + 1}" if len(rows) > 1 else "experts"
        drawing.text(columns[level + 1], height - 5, name, "tick", anchor="middle")
    most = int((_NAMES - 12) / _LETTER)
    for label, full, y in zip(ends.labels, ends.full, places[-1], strict=True):
        drawing.text(columns[-1] + 7, y + 4, shorten(label, most), "tick", full=full)
    return Chart(title=title, note=note, drawing=drawing.markup())


def _edges(
    drawing: Svg,
    levels: Sequence[np.ndarray],
    columns: np.ndarray,
    places: Sequence[np.ndarray],
    css: str,
) -> None:
    """Faint lines for all attention, and on top of them, coloured, each receiver's largest."""
    for kept in (False, True):
        for level, rows in enumerate(levels):
            for receiver, row in enumerate(rows):
                for sender, weight in enumerate(row):
                    largest = sender == int(np.argmax(row))
                    if largest != kept or weight < _FAINT:
                        continue
                    ends = places[level][sender], places[level + 1][receiver]
                    data = _curve(columns[level + 1], ends[0], columns[level + 2], ends[1])
                    thickness = max(0.6, _THICK * float(weight))
                    drawing.path(data, f"edge kept {css}" if kept else "edge", thickness=thickness)


def _curve(x1: float, y1: float, x2: float, y2: float) -> str:
    middle = (x1 + x2) / 2
    return f"M{x1:.1f},{y1:.1f}C{middle:.1f},{y1:.1f} {middle:.1f},{y2:.1f} {x2:.1f},{y2:.1f}"


def _paths(rows: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
    """The experts that every class reads most, first level to last."""
    found = []
    for c in range(len(rows[-1])):
        path = [c]
        for one in reversed(rows):
            path.append(int(np.argmax(one[path[-1]])))
        found.append(tuple(reversed(path[1:])))
    return found


def _ends(last: np.ndarray, names: Sequence[str], paths: Sequence[tuple[int, ...]]) -> Ends:
    """Classes in the order of the tree, or one group for every expert that some classes read most."""
    order = sorted(range(len(names)), key=lambda c: (paths[c], c))
    if len(names) <= MOST_CLASSES:
        texts = tuple(names[c] for c in order)
        return Ends(texts, texts, last[order])
    groups: dict[tuple[int, ...], list[int]] = {}
    for c in order:
        groups.setdefault(paths[c], []).append(c)
    labels = tuple(f"{len(group)}: {', '.join(names[c] for c in group)}" for group in groups.values())
    rows = np.stack([last[group].mean(0) for group in groups.values()])
    return Ends(labels, labels, rows)


def _places(levels: Sequence[np.ndarray], height: float) -> list[np.ndarray]:
    """Heights of the nodes of every column: each expert near those who read it."""
    low, high = float(_TOP), height - _FOOT - 8
    found = [_spread(np.arange(len(levels[-1]), dtype=float), low, high)]
    for rows in reversed(levels):
        weight = rows / np.maximum(rows.sum(0, keepdims=True), 1e-12)
        found.append(_spread(weight.T @ found[-1], low, high))
    return found[::-1]


def _spread(wanted: np.ndarray, low: float, high: float) -> np.ndarray:
    """Even places from top to bottom, in the order wanted."""
    n = len(wanted)
    places = np.linspace(low, high, n) if n > 1 else np.array([(low + high) / 2])
    found = np.empty(n)
    found[np.argsort(wanted, kind="stable")] = places
    return found


def _spoken(title: str, names: Sequence[str], paths: Sequence[tuple[int, ...]]) -> str:
    """The drawing in words: of every class the experts that it reads most."""
    parts = [f"{name}: {', '.join(map(str, path))}" for name, path in zip(names[:40], paths, strict=False)]
    more = f"; {len(names) - 40} more classes" if len(names) > 40 else ""
    return f"{title}. Experts read most, first level to last: {'; '.join(parts)}{more}."
