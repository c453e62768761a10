"""Numbers by layer or over a scale: lines with intervals, the band that chance fills, one small drawing a measure."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from kdlens.report.axis import Axis
from kdlens.report.blocks import Chart, Key
from kdlens.report.numbers import interval_text, known, number
from kdlens.report.places import Places, in_slots, on_scale
from kdlens.report.rows import Measured
from kdlens.report.strips import axis_of
from kdlens.report.svg import Svg

WIDTH, HEIGHT = 340, 214
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 6, 10, 28
_SHAPES = ("circle", "square", "diamond", "triangle")


@dataclass(frozen=True)
class Line:
    """One line of the drawing: a name, a colour, and one number a layer, first to last."""

    name: str
    css: str
    points: Sequence[Measured]


def lines_of(name: str, css: str, found: Sequence[Measured]) -> list[Line]:
    """One line of some numbers; one for every seed where the seeds stand apart."""
    seeds = dict.fromkeys(m.row.seed if m.apart else None for m in found)
    if len(seeds) < 2:
        return [Line(name, css, found)]
    return [Line(f"{name} (seed {seed})", css, [m for m in found if m.row.seed == seed]) for seed in seeds]


def layer_chart(
    lines: Sequence[Line],
    *,
    title: str,
    note: str = "",
    include: Sequence[float] = (0.0,),
    axis: Axis | None = None,
    at: Sequence[float] | None = None,
) -> Chart | None:
    """Draw numbers by layer, or over a scale; `None` where there are none.

    Layers stand in the order given, from the input to the output. Networks with other layer names are drawn by place.

    Args:
        lines: what to draw; the first gives the names of the layers.
        title: heading.
        note: a sentence below.
        include: values the axis must hold.
        axis: an axis shared with other drawings.
        at: numbers that rise, one for each point of every line, at which the points stand (their layers are the names
            of these numbers); without them points stand side by side.
    """
    lines = [line for line in lines if line.points]
    if not lines:
        return None
    axis = axis or axis_of([p for line in lines for p in line.points], include=include)
    names = [p.row.layer for p in max(lines, key=lambda line: len(line.points)).points]
    ends = (_LEFT, WIDTH - _RIGHT)
    places = in_slots(names, *ends) if at is None else on_scale(at, names, *ends)
    drawing = Svg(WIDTH, HEIGHT, _spoken(title, lines))
    _frame(drawing, axis, places)
    _chance(drawing, lines, axis, places)
    for place, line in enumerate(lines):
        offset = (place - (len(lines) - 1) / 2) * min(9.0, 0.5 * places.slot / len(lines))
        _line(drawing, line, axis, [x + offset for x in places.at], _SHAPES[place % len(_SHAPES)])
    return Chart(title=title, note=note, drawing=drawing.markup(), legend=_legend(lines))


def _legend(lines: Sequence[Line]) -> tuple[Key, ...]:
    keys = [Key(line.css, _SHAPES[place % len(_SHAPES)], line.name) for place, line in enumerate(lines)]
    points = [p for line in lines for p in line.points]
    if any(p.null for p in points):
        keys.append(Key("null", "band", "what chance gives (95 %)"))
    elif any(known(p.row.chance) for p in points):
        keys.append(Key("null", "dash", "chance"))
    return tuple(keys)


def _frame(drawing: Svg, axis: Axis, places: Places) -> None:
    for share, text in axis.labels():
        y = _y(share)
        drawing.line(_LEFT, y, WIDTH - _RIGHT, y, "grid")
        drawing.text(_LEFT - 7, y + 4, text, "tick", anchor="end")
    if axis.low < 0 < axis.high:
        drawing.line(_LEFT, _y(axis.at(0.0)), WIDTH - _RIGHT, _y(axis.at(0.0)), "zero")
    for x in places.ticks:
        drawing.line(x, HEIGHT - _BOTTOM, x, HEIGHT - _BOTTOM + 4, "zero")
    for x, text, name in places.names:
        drawing.text(x, HEIGHT - 10, text, "tick", anchor="middle", full=name)


def _chance(drawing: Svg, lines: Sequence[Line], axis: Axis, places: Places) -> None:
    """What chance gives at every layer: the widest band of the lines, or a dashed line at each one's mean."""
    for i in range(max(len(line.points) for line in lines)):
        points = [line.points[i] for line in lines if i < len(line.points)]
        left, width = places.at[i] - 0.36 * places.slot, 0.72 * places.slot
        bands = [point.null for point in points if point.null]
        if bands:
            low, high = _y(axis.at(min(band[0] for band in bands))), _y(axis.at(max(band[1] for band in bands)))
            drawing.rect(left, high, width, max(1.5, low - high), "null")
            continue
        for y in {_y(axis.at(p.row.chance)) for p in points if p.row.chance is not None and known(p.row.chance)}:
            drawing.line(left, y, left + width, y, "chance")


def _line(drawing: Svg, line: Line, axis: Axis, places: Sequence[float], shape: str) -> None:
    at = list(zip(places, line.points, strict=False))
    defined = [(x, p) for x, p in at if known(p.row.value)]
    for (x1, one), (x2, two) in itertools.pairwise(at):
        if known(one.row.value) and known(two.row.value):  # a gap stays a gap
            drawing.line(x1, _y(axis.at(one.row.value)), x2, _y(axis.at(two.row.value)), f"join {line.css}")
    for x, point in defined:
        for seed in point.seeds:
            if known(seed.value):
                drawing.circle(x, _y(axis.at(seed.value)), 2, f"seed {line.css}")
        if point.row.low is not None and point.row.high is not None and known(point.row.low + point.row.high):
            low, high = _y(axis.at(point.row.low)), _y(axis.at(point.row.high))
            drawing.line(x, low, x, high, f"whisker {line.css}")
        drawing.path(shape_path(shape, x, _y(axis.at(point.row.value)), 4.4), f"dot {line.css}")


def shape_path(shape: str, x: float, y: float, r: float) -> str:
    """Path data of a marker of radius `r` around a point.

    Example:
        >>> shape_path("square", 0, 0, 1)
        'M-0.9,-0.9h1.8v1.8h-1.8z'
    """
    if shape == "square":
        return f"M{x - 0.9 * r:.4g},{y - 0.9 * r:.4g}h{1.8 * r:.3g}v{1.8 * r:.3g}h{-1.8 * r:.3g}z"
    if shape == "diamond":
        d = 1.25 * r
        return f"M{x:.4g},{y - d:.4g}l{d:.3g},{d:.3g}l{-d:.3g},{d:.3g}l{-d:.3g},{-d:.3g}z"
    if shape == "triangle":
        return f"M{x:.4g},{y - 1.2 * r:.4g}l{1.15 * r:.3g},{2 * r:.3g}h{-2.3 * r:.3g}z"
    return f"M{x - r:.4g},{y:.4g}a{r:.3g},{r:.3g} 0 1 0 {2 * r:.3g},0a{r:.3g},{r:.3g} 0 1 0 {-2 * r:.3g},0z"


def _spoken(title: str, lines: Sequence[Line]) -> str:
    """The drawing in words."""
    parts = []
    for line in lines:
        values = ", ".join(
            f"{p.row.layer} {number(p.row.value)} {interval_text(p.row.low, p.row.high)}".strip() for p in line.points
        )
        parts.append(f"{line.name}: {values}")
    return f"{title}. {'; '.join(parts)}."


def _y(share: float) -> float:
    return _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - share)
