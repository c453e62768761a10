"""Dissection: detectors by category and by layer, by threshold, what became of the concepts, and units with images."""

from collections.abc import Sequence
from dataclasses import replace

from kdlens.answer import Answer, Row
from kdlens.report.axis import Axis
from kdlens.report.bars import bar_chart
from kdlens.report.blocks import Block, Cell, Chart, Grid, Picker, Table
from kdlens.report.layers import Line, layer_chart, lines_of
from kdlens.report.numbers import MISSING, known, number, short_name
from kdlens.report.rows import Measured, measured, only
from kdlens.report.sections.generic import generic_blocks
from kdlens.report.sections.knowledge import Names, baseline_of, beside
from kdlens.report.setting import Setting
from kdlens.report.strips import axis_of, strip
from kdlens.report.units import units_of

_GAINS = {
    "detectors_gain": "IoU from {threshold}",
    "detectors_also_gain": "IoU from {also}",
    "detectors_held_out_gain": "held out",
    "detectors_other_rule_gain": "other category rule",
    "unique_detectors_gain": "different concepts",
}
_STORIES = {"gained": "gained", "kept": "kept", "lost": "lost", "mixed": "in some seeds only"}
_LEVELS = {"threshold": 0.04, "also": 0.05}
_ROWS = 30
_BY_CATEGORY = "Units whose best concept is of the category, at the last layer. Dots: seeds."
_BY_LAYER = "Share of the units that are detectors, by layer, first to last."
_BY_THRESHOLD = "Units, by the IoU from which one counts, at the last layer; elsewhere {threshold}."
_UNITS = (
    "First seed. For every concept the unit that detects it best, beside the images that move it most; bright is where "
    "the unit is active."
)


def dissection_blocks(answer: Answer, setting: Setting) -> Sequence[Block]:
    """Counts first, then whether they differ, which concepts changed, and what single units see."""
    if not answer.select(metric="detectors"):
        return generic_blocks(answer, setting)
    students, anchor = setting.students(answer), setting.anchors.get(answer.question, answer.question)
    counts = [_counts(answer, setting, student, place) for place, student in enumerate(students)]
    tables = [_concepts(answer, student, place, len(students)) for place, student in enumerate(students)]
    strips = [
        units_of(answer, setting, student, title=_titled("Units and what moves them", student, students), note=_UNITS,
                 place=place)
        for place, student in enumerate(students)
    ]  # fmt: skip
    shown: list[Block | None] = [
        _picker(f"{anchor}-counts", students, counts),
        _picker(f"{anchor}-units", students, strips),
        _picker(f"{anchor}-concepts", students, tables),
    ]
    return [block for block in shown if block is not None]


def _picker(name: str, students: Sequence[str], blocks: Sequence[Block | None]) -> Picker | None:
    shown = tuple(block for block in blocks if block is not None)
    return Picker(name=name, students=tuple(students), blocks=shown, everyone=False) if shown else None


def _titled(title: str, student: str, students: Sequence[str]) -> str:
    return f"{title}: {student}" if len(students) > 1 else title


def _counts(answer: Answer, setting: Setting, student: str, place: int) -> Grid | None:
    """By category, by layer and by threshold; axes are those of all students."""
    names = beside(answer, setting, student)
    threshold = answer.notes.options.get("threshold", 0.04)
    charts: list[Block | None] = [
        _by_category(answer, names),
        _by_layer(answer, names),
        _by_threshold(answer, names, f"{threshold:g}"),
        _gains(answer, setting, student),
    ]
    shown = tuple(chart for chart in charts if chart is not None)
    several = len(setting.students(answer)) > 1
    return Grid(title=student if several else "", student=place, blocks=shown) if shown else None


def _by_category(answer: Answer, names: Names) -> Chart | None:
    found = measured(answer, "detectors_in_category")
    groups = list(dict.fromkeys(m.row.class_name for m in found))
    lines = [Line(name, css, _last(only(found, model=name))) for name, css in names]
    axis = axis_of([m for name in dict.fromkeys(m.row.model for m in found) for m in _last(only(found, model=name))],
                   include=(0.0,))  # fmt: skip
    return bar_chart(lines, groups, title="Concept detectors by category", note=_BY_CATEGORY, axis=axis)


def _by_layer(answer: Answer, names: Names) -> Chart | None:
    found = measured(answer, "detectors_share")
    axis = axis_of(found, include=(0.0,))
    lines = [line for name, css in names for line in lines_of(name, css, only(found, model=name))]
    return layer_chart(lines, title="Share of units that detect a concept", note=_BY_LAYER, axis=axis)


def _by_threshold(answer: Answer, names: Names, threshold: str) -> Chart | None:
    found = measured(answer, "detectors_sweep")
    every = {name: _last(only(found, model=name)) for name in dict.fromkeys(m.row.model for m in found)}
    places = list(dict.fromkeys(m.row.class_name for m in found))
    at = [float(place.split()[-1]) for place in places]
    lines = [Line(name, css, [_placed(m) for m in every.get(name, [])]) for name, css in names]
    values = [v for own in every.values() for m in own for v in (m.row.value, m.row.low, m.row.high)]
    note = _BY_THRESHOLD.format(threshold=threshold.removeprefix("0"))
    axis = Axis.over(values, include=(0.0,))
    return layer_chart(lines, title="Concept detectors by threshold", note=note, axis=axis, at=at)


def _placed(m: Measured) -> Measured:
    """The number at its threshold instead of its layer."""
    return replace(m, row=replace(m.row, layer=m.row.class_name.removeprefix("IoU ").removeprefix("0")))


def _last(found: Sequence[Measured]) -> list[Measured]:
    """Those of the last layer."""
    return [m for m in found if m.row.layer == found[-1].row.layer] if found else []


def _gains(answer: Answer, setting: Setting, student: str) -> Block | None:
    """What a student has beyond its baseline at its last layer, however it is counted."""
    options = answer.notes.options
    said = {name: f"{options.get(name, default):g}".removeprefix("0") for name, default in _LEVELS.items()}
    found = [m for metric in _GAINS for m in _last(only(measured(answer, metric), model=student))]
    if not found:
        return None
    note = f"{student} minus {found[0].row.compared_with}, at {found[0].row.layer}."
    label = lambda m: _GAINS[m.row.metric].format(**said)  # noqa: E731
    return strip(found, title="Gain in detectors", note=note, colour=setting.colour, label=label, head="Counted")


def _concepts(answer: Answer, student: str, place: int, students: int) -> Grid | None:
    """Which concepts were gained, kept and lost, with the units that detect them."""
    rows = [row for story in _STORIES for row in answer.select(metric=f"concept_{story}_change", model=student)]
    if not rows:
        return None
    baseline = baseline_of(answer, student)
    order = {f"concept_{story}_change": at for at, story in enumerate(_STORIES)}
    rows.sort(key=lambda row: (order[row.metric], -abs(row.value), row.class_name))
    left_out = len(rows) - _ROWS
    table = Table(
        title="Concepts gained, kept and lost" + (f": {student}" if students > 1 else ""),
        columns=("Concept", "What became of it", f"Units of {baseline}", f"Units of {student}", "Change"),
        numeric=(False, False, True, True, True),
        rows=tuple(_concept(answer, row, student) for row in rows[:_ROWS]),
        note="Units whose best concept it is, mean over seeds."
        + (f" {left_out} more are in the table of numbers." if left_out > 0 else ""),
    )
    return Grid(blocks=(table,), student=place, least="tables")


def _concept(answer: Answer, row: Row, student: str) -> tuple[Cell, ...]:
    story = row.metric.removeprefix("concept_").removesuffix("_change")
    mine = next((r.value for r in answer.select(metric="concept_units", model=student, layer=row.layer,
                                                class_name=row.class_name)), float("nan"))  # fmt: skip
    return (
        Cell(short_name(row.class_name), "head"),
        Cell(_STORIES[story]),
        _units(mine - row.value),
        _units(mine),
        Cell(number(row.value, "units", signed=True), "number"),
    )


def _units(value: float) -> Cell:
    if not known(value):
        return Cell(MISSING, "number", why="not measured")
    return Cell(f"{value:.0f}" if abs(value - round(value)) < 1e-9 else number(value, "units"), "number")
