"""Counts of several networks beside each other as bars, with intervals and what chance gives."""

from collections.abc import Sequence

from kdlens.report.axis import Axis
from kdlens.report.blocks import Chart, Key
from kdlens.report.layers import Line
from kdlens.report.numbers import interval_text, known, number, shorten
from kdlens.report.rows import Measured
from kdlens.report.strips import axis_of
from kdlens.report.svg import Svg

WIDTH, HEIGHT = 340, 214
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 6, 10, 28
_LETTER = 6.4


def bar_chart(
    networks: Sequence[Line], groups: Sequence[str], *, title: str, note: str = "", axis: Axis | None = None
) -> Chart | None:
    """Draw one bar a network in every group; `None` where there is nothing to draw.

    Args:
        networks: name, colour, and one number a group, in the order of the groups.
        groups: names below the bars.
        title: heading.
        note: a sentence below.
        axis: an axis shared with other drawings; it holds 0.
    """
    networks = [one for one in networks if len(one.points) == len(groups)]
    if not networks or not groups:
        return None
    axis = axis or axis_of([p for one in networks for p in one.points], include=(0.0,))
    drawing = Svg(WIDTH, HEIGHT, _spoken(title, networks, groups))
    for share, text in axis.labels():
        drawing.line(_LEFT, _y(share), WIDTH - _RIGHT, _y(share), "grid")
        drawing.text(_LEFT - 7, _y(share) + 4, text, "tick", anchor="end")
    slot = (WIDTH - _LEFT - _RIGHT) / len(groups)
    width = min(26.0, 0.8 * slot / len(networks))
    for place, group in enumerate(groups):
        middle = _LEFT + (place + 0.5) * slot
        name = shorten(group, max(3, int(slot / _LETTER)))
        drawing.text(middle, HEIGHT - 10, name, "tick", anchor="middle", full=group)
        for number_, one in enumerate(networks):
            left = middle + (number_ - len(networks) / 2) * width
            _bar(drawing, one.points[place], axis, left, width, one.css)
    drawing.line(_LEFT, _y(axis.at(0.0)), WIDTH - _RIGHT, _y(axis.at(0.0)), "zero")
    return Chart(title=title, note=note, drawing=drawing.markup(), legend=_legend(networks))


def _bar(drawing: Svg, point: Measured, axis: Axis, left: float, width: float, css: str) -> None:
    if not known(point.row.value):
        return
    top, middle = _y(axis.at(point.row.value)), left + width / 2
    drawing.rect(left + 1, top, width - 2, max(0.0, _y(axis.at(0.0)) - top), f"bar {css}")
    if point.row.low is not None and point.row.high is not None:
        drawing.line(middle, _y(axis.at(point.row.low)), middle, _y(axis.at(point.row.high)), "span")
    for seed in point.seeds:
        if known(seed.value):
            drawing.circle(middle, _y(axis.at(seed.value)), 1.8, "run")
    if point.row.chance is not None and known(point.row.chance):
        y = _y(axis.at(point.row.chance))
        drawing.line(left - 1, y, left + width + 1, y, "chance")


def _legend(networks: Sequence[Line]) -> tuple[Key, ...]:
    keys = [Key(one.css, "square", one.name) for one in networks]
    points = [p for one in networks for p in one.points]
    return (*keys, Key("null", "dash", "chance")) if any(known(p.row.chance) for p in points) else tuple(keys)


def _spoken(title: str, networks: Sequence[Line], groups: Sequence[str]) -> str:
    """The drawing in words."""
    parts = []
    for one in networks:
        values = ", ".join(
            f"{group} {number(p.row.value)} {interval_text(p.row.low, p.row.high)}".strip()
            for group, p in zip(groups, one.points, strict=True)
        )
        parts.append(f"{one.name}: {values}")
    return f"{title}. {'; '.join(parts)}."


def _y(share: float) -> float:
    return _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - share)
