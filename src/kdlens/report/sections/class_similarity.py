"""Class similarity: matrices side by side, entropy by temperature, and what became of the confusions."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from kdlens.answer import Answer, Row
from kdlens.report.axis import Axis
from kdlens.report.blocks import Block, Cell, Chart, Grid, Picker, Table
from kdlens.report.layers import Line, layer_chart
from kdlens.report.matrices import Axis as Classes
from kdlens.report.matrices import Shading, matrix_chart
from kdlens.report.names import metric_name
from kdlens.report.numbers import MISSING, interval_text, known, number, p_text, short_name
from kdlens.report.rows import Measured, measured
from kdlens.report.sections.generic import generic_blocks
from kdlens.report.setting import Setting
from kdlens.report.strips import strip

_ROWS = 24
_STORIES = {
    "confusion_transferred": "from the teacher",
    "confusion_own": "the student's own",
    "confusion_dropped": "made less often",
    "confusion_missing": "did not arrive",
    "confusion_undecided": "no clear difference",
}
_MATRIX = (
    "Rows: true class. Columns: how the wrong classes share what is left. Empty: no more than an even share. "
    "One scale for all."
)
_CURVE = "A softer network has a higher entropy without knowing more; so compare at one confidence, too."
_SOFTNESS = ("similarity_matched_gain", "within_category_entropy", "within_category_entropy_matched")
_NOTES = {
    "similarity_gain": "Rank correlation with the teacher, student minus baseline.",
    "similarity_matched_gain": "The same with all networks at the teacher's confidence: softness plays no role.",
    "similarity_correlation": "1: the teacher's order of the other classes for every class. Tick: classes relabelled.",
    "within_category_entropy": "More: more probability for classes of the same category. Tick: an even share.",
    "within_category_entropy_matched": "Every network at the temperature that gives it the teacher's confidence.",
}


def class_similarity_blocks(answer: Answer, setting: Setting) -> Sequence[Block]:
    """Likeness and gain, the matrices, how much of it is softness, and the table of confusions."""
    if not answer.rows:
        return generic_blocks(answer, setting)
    students, anchor = setting.students(answer), setting.anchors.get(answer.question, answer.question)
    plain = [_strip(answer, setting, m) for m in ("similarity_correlation", "similarity_gain")]
    soft = [_strip(answer, setting, m) for m in _SOFTNESS]
    blocks: list[Block | None] = [
        _grid(plain),
        _picker(f"{anchor}-matrices", students, [_matrices(answer, setting, s, students) for s in students]),
        _grid([*soft, _curve(answer, setting)], title="How much of it is softness"),
        _picker(f"{anchor}-pairs", students, [_confusions(answer, setting, s, students) for s in students]),
    ]
    return [block for block in blocks if block is not None] or generic_blocks(answer, setting)


def _grid(blocks: Sequence[Block | None], *, title: str = "") -> Grid | None:
    shown = tuple(block for block in blocks if block is not None)
    return Grid(title=title, blocks=shown, least="wide") if shown else None


def _picker(name: str, students: Sequence[str], blocks: Sequence[Block | None]) -> Picker | None:
    shown = tuple(block for block in blocks if block is not None)
    return Picker(name=name, students=tuple(students), blocks=shown, everyone=False) if shown else None


def _strip(answer: Answer, setting: Setting, metric: str) -> Block | None:
    margin = answer.notes.options.get("margin")
    gain = metric.endswith("_gain")
    zone = float(margin) if gain and isinstance(margin, int | float) and margin > 0 else None
    note = f"{_NOTES[metric]} Shaded: within {margin:g} of 0." if zone else _NOTES[metric]
    title = metric_name(metric)
    return strip(measured(answer, metric), title=title, note=note, colour=setting.colour, zone=zone)


def _matrices(answer: Answer, setting: Setting, student: str, students: Sequence[str]) -> Grid | None:
    """Teacher, student and baseline on one scale."""
    arrays = answer.arrays
    if "order" not in arrays:
        return None
    every = {name.removeprefix("similarity."): a for name, a in arrays.items() if name.startswith("similarity.")}
    classes = classes_of(answer, setting)
    values = np.concatenate([a.ravel() for a in every.values()])
    even = 1 / max(1, len(classes.order) - 1)
    shading = Shading(even, max(float(np.nanmax(values, initial=even)), even + 1e-9))
    names = [name for name in every if setting.role(name) == "teacher"]
    names += [name for name in (student, _baseline(answer, student)) if name in every]
    charts = [
        matrix_chart(every[name], classes, shading, title=name, css=setting.role(name), note=_MATRIX if not at else "")
        for at, name in enumerate(names)
    ]
    place = students.index(student)
    title = "Which classes are alike" + (f": {student}" if len(students) > 1 else "")
    return Grid(title=title, student=place, blocks=tuple(charts), least="trio") if charts else None


def classes_of(answer: Answer, setting: Setting) -> Classes:
    """How the classes stand along the matrices."""
    order = [int(k) for k in answer.arrays["order"]]
    category = [int(c) for c in answer.arrays["category"]] if "category" in answer.arrays else [-1] * len(order)
    categories = answer.notes.options.get("categories")
    names = [str(name) for name in categories] if isinstance(categories, Mapping) else []
    names += [f"category {c + 1}" for c in range(len(names), max(category, default=-1) + 1)]
    return Classes(order, [setting.class_name(k) for k in range(len(order))], category, names)


def _baseline(answer: Answer, student: str) -> str:
    """Whom the student's gains are against."""
    gains = ("similarity_gain", "within_category_entropy_gain")
    return next((row.compared_with for m in gains for row in answer.select(metric=m, model=student)), "baseline")


def _curve(answer: Answer, setting: Setting) -> Chart | None:
    """Entropy of every network at every temperature, on a scale of their logarithms."""
    if "temperatures" not in answer.arrays:
        return None
    at = [float(t) for t in answer.arrays["temperatures"]]
    every = {name.removeprefix("entropy."): a for name, a in answer.arrays.items() if name.startswith("entropy.")}
    chance = next((row.chance for row in answer.select(metric="within_category_entropy")), None)
    lines = [
        Line(name, setting.role(name), [_point(name, t, p, chance) for t, p in zip(at, points, strict=True)])
        for name, points in every.items()
        if len(points) == len(at)
    ]
    values = [float(v) for points in every.values() for v in points.ravel()]
    axis = Axis.over([*values, chance], include=(0.0,))
    scale = [math.log2(t) for t in at] if all(b > a for a, b in pairwise(at)) else None
    return layer_chart(lines, title="Entropy within categories, by temperature", note=_CURVE, axis=axis, at=scale)


def _point(name: str, temperature: float, point: np.ndarray, chance: float | None) -> Measured:
    value, low, high = (float(v) for v in point)
    row = Row("within_category_entropy", value, model=name, layer=f"{temperature:g}", low=low, high=high, chance=chance)
    return Measured(row, -1)


def _confusions(answer: Answer, setting: Setting, student: str, students: Sequence[str]) -> Grid | None:
    """The pairs with a story first, then those that changed most."""
    rates = {(row.model, row.class_name): row for row in answer.select(metric="confusion_rate")}
    share = {row.class_name: row for row in answer.select(metric="share_of_wrong")}
    rows = [row for story in _STORIES for row in answer.select(metric=story, model=student)]
    rows = [row for row in rows if (student, row.class_name) in rates]
    if not rows:
        return None
    rank = {story: place for place, story in enumerate(_STORIES)}
    rows.sort(key=lambda row: (rank[row.metric], -abs(row.value) if known(row.value) else 0.0))
    teacher = next((row.model for row in share.values()), "teacher")
    names = (teacher, student, _baseline(answer, student))
    note = (
        "p is over images, corrected for the number of pairs. Share of wrong: what the teacher gives the pair of all "
        "that it leaves to wrong classes."
    )
    left_out = len(rows) - _ROWS
    note += f" {left_out} more pairs are in the table of numbers." if left_out > 0 else ""
    columns = ("True → named", "What became of it", *names, "Change", "p", "Share of wrong")
    table = Table(
        title="Confusions" + (f": {student}" if len(students) > 1 else ""),
        columns=columns,
        numeric=(False, False, *(True for _ in columns[2:])),
        rows=tuple(_pair(row, names, rates, share.get(row.class_name)) for row in rows[:_ROWS]),
        note=note,
    )
    return Grid(blocks=(table,), student=students.index(student), least="tables")


def _pair(row: Row, names: Sequence[str], rates: Mapping[tuple[str, str], Row], share: Row | None) -> tuple[Cell, ...]:
    """One pair of classes: how often each network makes it, and what the tests say."""
    found = [rates.get((name, row.class_name)) for name in names]
    change = number(row.value, "points", signed=True)
    against = f"against {row.compared_with}" if row.metric == "confusion_missing" else ""
    return (
        Cell(short_name(row.class_name), "head"),
        Cell(_STORIES[row.metric]),
        *(_rate(one) for one in found),
        Cell(change, "number", detail=f"{interval_text(row.low, row.high, 'points', signed=True)} {against}".strip()),
        Cell(p_text(row.p), "number"),
        _rate(share),
    )


def _rate(row: Row | None) -> Cell:
    if row is None or not known(row.value):
        return Cell(MISSING, "number", why="not measured")
    detail = interval_text(row.low, row.high, "%")
    return Cell(f"{number(row.value, '%')}\N{NO-BREAK SPACE}%", "number", detail=detail)
