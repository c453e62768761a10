"""Numbers with intervals as strips: one line a number, all on one axis."""

from collections.abc import Callable, Sequence

from kdlens.report.axis import Axis
from kdlens.report.blocks import Mark, Strip, StripRow
from kdlens.report.numbers import count, interval_text, known, p_text, signed, value_text, with_unit
from kdlens.report.rows import Measured


def strip(
    found: Sequence[Measured],
    *,
    title: str,
    colour: Callable[[Measured], str],
    note: str = "",
    label: Callable[[Measured], str] = lambda m: m.label,
    include: Sequence[float] = (),
    zone: float | None = None,
    student: int | None = None,
    head: str = "Network",
) -> Strip | None:
    """A strip of numbers; `None` where there are none.

    How many images and how many seeds the numbers rest on stands below where it is the same for all, else in every
    line.

    Args:
        found: the numbers.
        title: heading.
        colour: gives the class that colours a number.
        note: a sentence below.
        label: gives a line's label.
        include: values the axis must hold.
        zone: a difference smaller than this does not matter; drawn as a band around zero.
        student: place of the student it is about.
        head: heading of the first column.
    """
    if not found:
        return None
    axis = axis_of(found, include=(*include, *((zone, -zone) if zone else ())))
    common, own = _basis(found)
    return Strip(
        title=title,
        note=" ".join(part for part in (note, common) if part),
        rows=tuple(_line(m, label(m), mark(m, axis, colour(m)), basis) for m, basis in zip(found, own, strict=True)),
        axis=axis,
        zero=100 * axis.at(0.0) if axis.low < 0 < axis.high or signed(found[0].row) else None,
        zone=(100 * axis.at(-zone), 100 * axis.at(zone)) if zone else None,
        student=student,
        heads=(head, "Chart", "Value [95 % interval]"),
    )


def axis_of(found: Sequence[Measured], *, include: Sequence[float] = ()) -> Axis:
    """An axis that holds values, intervals and seeds; chance, too, where that leaves them room."""
    fixed = [*include, *((0.0,) if any(signed(m.row) for m in found) else ())]
    values = [v for m in found for v in (m.row.value, m.row.low, m.row.high, *(m.null or ()))]
    values = [v for v in (*values, *(s.value for m in found for s in m.seeds)) if known(v)]
    ends = [v for v in (*values, *fixed) if v is not None] or [0.0, 1.0]
    low, high = min(ends), max(ends)
    chances = [m.row.chance for m in found if m.row.chance is not None]
    near = [chance for chance in chances if known(chance) and 2 * low - high <= chance <= 2 * high - low]
    return Axis.over([*values, *near], include=fixed)


def mark(m: Measured, axis: Axis, css: str, *, shape: str = "circle") -> Mark:
    """A number's place on an axis."""
    row = m.row

    def at(value: float | None) -> float | None:
        return 100 * axis.at(value) if value is not None and known(value) else None

    seeds = tuple(100 * axis.at(s.value) for s in m.seeds if known(s.value))
    chance = at(row.chance) if row.chance is not None and axis.low <= row.chance <= axis.high else None
    return Mark(at(row.value), at(row.low), at(row.high), seeds, chance, css, shape)


def value_with_unit(m: Measured) -> str:
    """A number with its unit."""
    return with_unit(value_text(m.row), m.row.unit)


def interval_of(m: Measured) -> str:
    """A number's interval in brackets, or nothing."""
    return interval_text(m.row.low, m.row.high, m.row.unit, signed=signed(m.row))


def _line(m: Measured, label: str, place: Mark, basis: str) -> StripRow:
    p = p_text(m.row.p)
    said = (p if p.startswith("<") else f"= {p}") if p else ""
    parts = (interval_of(m), f"p {said}" if said else "", basis)
    return StripRow(label, (place,), value_with_unit(m), ", ".join(part for part in parts if part))


def _basis(found: Sequence[Measured]) -> tuple[str, list[str]]:
    """What the numbers rest on: what they have in common as a sentence, and for every number what they have not."""
    images = [count(m.row.n, "image") if m.row.n is not None else "" for m in found]
    seeds = [count(len(m.seeds), "seed") if len(m.seeds) > 1 else "" for m in found]
    images = [f"n = {text}" if text and len(set(images)) == 1 else text for text in images]
    alike = [texts[0] for texts in (images, seeds) if len(set(texts)) == 1 and texts[0]]
    apart = [texts for texts in (images, seeds) if len(set(texts)) > 1]
    own = [", ".join(text for text in texts if text) for texts in zip(*apart, strict=True)] or [""] * len(found)
    return (f"{', '.join(alike)}." if alike else "", own)
