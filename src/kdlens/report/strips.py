"""Numbers with intervals as strips: one line a number, all on one axis."""

from collections.abc import Callable, Sequence

from kdlens.report.axis import Axis
from kdlens.report.blocks import Key, Mark, Strip, StripRow
from kdlens.report.numbers import count, interval_text, known, p_text, signed, value_text, with_unit
from kdlens.report.rows import Measured


def strip(
    found: Sequence[Measured],
    *,
    title: str,
    colour: Callable[[Measured], str],
    note: str = "",
    label: Callable[[Measured], str] = lambda m: m.label,
    detail: Callable[[Measured], str] | None = None,
    include: Sequence[float] = (),
    zone: float | None = None,
    student: int | None = None,
    head: str = "Network",
) -> Strip | None:
    """A strip of numbers; `None` where there are none.

    Args:
        found: the numbers.
        title: heading.
        colour: gives the class that colours a number.
        note: a sentence below.
        label: gives a line's label.
        detail: gives a line's second, smaller text; n and p where it is not given.
        include: values the axis must hold.
        zone: a difference smaller than this does not matter; drawn as a band around zero.
        student: place of the student it is about.
        head: heading of the first column.
    """
    if not found:
        return None
    unit = found[0].row.unit
    axis = axis_of(found, unit=unit, include=(*include, *((zone, -zone) if zone else ())))
    rows = tuple(StripRow(label(m), (mark(m, axis, colour(m)),), number_text(m), (detail or _detail)(m)) for m in found)
    zero = 100 * axis.at(0.0) if axis.low < 0 < axis.high or signed(found[0].row) else None
    band = (100 * axis.at(-zone), 100 * axis.at(zone)) if zone else None
    return Strip(
        title=title,
        note=note,
        rows=rows,
        axis=axis,
        zero=zero,
        zone=band,
        student=student,
        heads=(head, "Chart", "Value [95 % interval]"),
    )


def axis_of(found: Sequence[Measured], *, unit: str = "", include: Sequence[float] = ()) -> Axis:
    """An axis that holds values, intervals, seeds and chance levels."""
    zero = (0.0,) if any(signed(m.row) for m in found) else ()
    values = [v for m in found for v in (m.row.value, m.row.low, m.row.high, m.row.chance, *(m.null or ()))]
    return Axis.over([*values, *(s.value for m in found for s in m.seeds)], unit=unit, include=(*include, *zero))


def mark(m: Measured, axis: Axis, css: str, *, shape: str = "circle") -> Mark:
    """A number's place on an axis."""
    row = m.row

    def at(value: float | None) -> float | None:
        return 100 * axis.at(value) if value is not None and known(value) else None

    seeds = tuple(100 * axis.at(s.value) for s in m.seeds if known(s.value))
    return Mark(at(row.value), at(row.low), at(row.high), seeds, at(row.chance), css, shape)


def number_text(m: Measured) -> str:
    """A number with its unit and interval."""
    row = m.row
    value = with_unit(value_text(row), row.unit)
    return f"{value} {interval_text(row.low, row.high, row.unit, signed=signed(row))}".strip()


def legend_of_roles(pairs: Sequence[tuple[str, str]]) -> tuple[Key, ...]:
    """A legend of dots from (role, words)."""
    return tuple(Key(css, "circle", words) for css, words in pairs)


def _detail(m: Measured) -> str:
    row = m.row
    parts = [count(row.n, "image")] if row.n is not None else []
    if len(m.seeds) > 1:
        parts.append(count(len(m.seeds), "seed"))
    if row.p is not None and known(row.p):
        text = p_text(row.p)
        parts.append(f"p {text}" if text.startswith("<") else f"p = {text}")
    return ", ".join(parts)
