"""Knowledge points: which cells are kept, how many by layer, and how that depends on the threshold."""

from collections.abc import Sequence

from kdlens.answer import Answer, Row
from kdlens.report.axis import Axis
from kdlens.report.blocks import Block, Picker
from kdlens.report.cells import cells_of
from kdlens.report.layers import Line, lines_of
from kdlens.report.rows import Measured, measured, only
from kdlens.report.sections.generic import generic_blocks
from kdlens.report.sections.relevance import Panel, picked_charts
from kdlens.report.setting import Setting
from kdlens.report.strips import axis_of

Names = Sequence[tuple[str, str]]
"""Networks and the classes that colour them."""

MEASURES = {
    "points_on_object": ("Points on the object", "Cells an image (N_fg)."),
    "points_off_object": ("Points off the object", "Cells an image (N_bg)."),
    "points_share": ("Share of the points on the object", "Per cent (lambda); an image without points counts as 0."),
}
_STILL = "Cells of which the last layer discards less than of the background."
_BY_THRESHOLD = "by the nats that a cell must lie below the background, at the last layer; elsewhere {threshold}"


def knowledge_blocks(answer: Answer, setting: Setting) -> Sequence[Block]:
    """Examples first, then counts by layer and by threshold, baseline and student on common axes."""
    if not answer.rows:
        return generic_blocks(answer, setting)
    students, anchor = setting.students(answer), setting.anchors.get(answer.question, answer.question)
    blocks: list[Block] = []
    still = cells_of(answer, setting, title="Which cells are kept", note=_STILL)
    if still is not None:
        name = f"{anchor}-still"
        blocks.append(Picker(name=name, students=tuple(students), blocks=(still,), everyone=False))
    by_layer = _by_layer(answer, setting, students)
    by = _BY_THRESHOLD.format(threshold=answer.notes.options.get("threshold", 0.2))
    by_threshold = [
        curve_panels(answer, "sweep", "sweep.thresholds", beside(answer, setting, student), by) for student in students
    ]
    both = [[*of_layer, *of_threshold] for of_layer, of_threshold in zip(by_layer, by_threshold, strict=True)]
    return [*blocks, *picked_charts(f"{anchor}-student", students, both)]


def _by_layer(answer: Answer, setting: Setting, students: Sequence[str]) -> list[list[Panel]]:
    """One drawing a measure, with the student, its baseline and the teacher, for every student."""
    found = {metric: measured(answer, metric) for metric in MEASURES}
    axes = {metric: axis_of(points, include=(0.0,)) for metric, points in found.items()}
    return [
        [
            Panel(title, f"{note} By layer, first to last.", _lines(found[metric], names), axes[metric])
            for metric, (title, note) in MEASURES.items()
        ]
        for names in (beside(answer, setting, student) for student in students)
    ]


def _lines(found: Sequence[Measured], names: Names) -> list[Line]:
    return [line for name, css in names for line in lines_of(name, css, only(found, model=name))]


def beside(answer: Answer, setting: Setting, student: str) -> Names:
    """Whom a student is drawn beside: its baseline, and the teacher where it was measured."""
    teachers = dict.fromkeys(row.model for row in answer.rows if setting.role(row.model) == "teacher")
    return [(student, "student"), (baseline_of(answer, student), "baseline"), *((name, "teacher") for name in teachers)]


def baseline_of(answer: Answer, student: str) -> str:
    """What a student is compared with."""
    return next((row.compared_with for row in answer.rows if row.model == student and row.compared_with), "baseline")


def curve_panels(answer: Answer, kind: str, places: str, names: Names, by: str) -> list[Panel]:
    """One drawing a measure from the arrays `KIND.MEASURE.NAME` of some networks, on axes of all.

    Args:
        answer: with the arrays.
        kind: first part of their names.
        places: array of what the points stand at.
        names: whose drawings.
        by: what that is, in words.
    """
    if places not in answer.arrays:
        return []
    scale = [float(place) for place in answer.arrays[places]]
    at = [f"{place:g}" for place in scale]
    panels = []
    for metric, (title, note) in MEASURES.items():
        lines = [Line(name, css, _points(answer, f"{kind}.{metric}.{name}", metric, name, at)) for name, css in names]
        every = [array for name, array in answer.arrays.items() if name.startswith(f"{kind}.{metric}.")]
        axis = Axis.over([float(value) for array in every for value in array.ravel()], include=(0.0,))
        panels.append(Panel(f"{title}, {kind_in_words(kind)}", f"{note} {by.capitalize()}.", lines, axis, scale))
    return panels


def kind_in_words(kind: str) -> str:
    """What a kind of curve runs over."""
    return "by threshold" if kind == "sweep" else "over training"


def _points(answer: Answer, name: str, metric: str, model: str, at: Sequence[str]) -> list[Measured]:
    """Points of a curve: mean and interval at every place."""
    values = answer.arrays.get(name)
    if values is None or len(values) != len(at):
        return []
    return [
        Measured(Row(metric, float(value), model=model, layer=place, low=float(low), high=float(high)), -1)
        for place, (value, low, high) in zip(at, values, strict=True)
    ]
