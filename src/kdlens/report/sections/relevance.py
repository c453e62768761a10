"""FSS and RS, layer by layer, one row of drawings a student."""

from collections.abc import Sequence

from kdlens.answer import Answer
from kdlens.report.axis import Axis
from kdlens.report.blocks import Block, Chart, Grid, Picker
from kdlens.report.layers import Line, layer_chart
from kdlens.report.rows import Measured, measured, only
from kdlens.report.sections.generic import generic_blocks
from kdlens.report.setting import Setting
from kdlens.report.strips import axis_of

FSS_NOTE = "1: both networks arrange the images in the same way; 0: unrelated."
RS_NOTE = "How far the arrangement of the images follows their classes."
UNIQUE_NOTE = "Relevance of what only the student has (distilled) and of what only the baseline has (residual)."


def relevance_blocks(answer: Answer, setting: Setting) -> Sequence[Block]:
    """Likeness, relevance, and relevance of what is unique, on axes that all students share."""
    students = setting.students(answer)
    fss, rs = measured(answer, "fss"), measured(answer, "rs_layer")
    unique = measured(answer, "rs_distilled", "rs_residual")
    axes = [axis_of(found, include=(0.0,)) for found in (fss, rs, unique)]
    grids = [
        Grid(
            title=student if len(students) > 1 else "",
            student=place,
            blocks=tuple(block for block in _student(student, fss, rs, unique, axes, setting) if block),
        )
        for place, student in enumerate(students)
    ]
    grids = [grid for grid in grids if grid.blocks]
    if not grids:
        return generic_blocks(answer, setting)
    name = f"{setting.anchors.get(answer.question, 'relevance')}-student"
    return (Picker(name=name, students=tuple(students), blocks=tuple(grids)),)


def _student(
    student: str,
    fss: Sequence[Measured],
    rs: Sequence[Measured],
    unique: Sequence[Measured],
    axes: Sequence[Axis],
    setting: Setting,
) -> list[Chart | None]:
    own = only(unique, model=student)
    baseline = next((m.row.compared_with for m in own), "baseline")
    roles = {setting.role(m.row.model): m.row.model for m in rs}
    teacher = roles.get("teacher", "teacher")
    lines = [
        Line(student, "student", only(rs, model=student)),
        Line(teacher, "teacher", only(rs, model=teacher)),
        Line(baseline, "baseline", only(rs, model=baseline)),
    ]
    alike = _likeness(student, baseline, fss, setting)
    return [
        layer_chart(alike, title="Feature similarity", note=FSS_NOTE, axis=axes[0]),
        layer_chart(lines, title="Relevance to the classes", note=RS_NOTE, axis=axes[1]),
        layer_chart(unique_lines(own), title="Relevance of what is unique", note=UNIQUE_NOTE, axis=axes[2]),
    ]


def _likeness(student: str, baseline: str, fss: Sequence[Measured], setting: Setting) -> list[Line]:
    """Who is like whom: the student and the baseline like the teacher, the student like the baseline."""
    found = [m for m in fss if m.row.model in (student, baseline)]
    pairs = dict.fromkeys((m.row.model, m.row.compared_with) for m in found)
    lines = []
    for model, other in pairs:
        to_teacher = setting.role(other) == "teacher"
        css = ("student" if model == student else "baseline") if to_teacher else "other"
        lines.append(Line(f"{model} and {other}", css, only(found, model=model, compared_with=other)))
    return sorted(lines, key=lambda line: ("student", "baseline", "other").index(line.css))


def unique_lines(found: Sequence[Measured]) -> list[Line]:
    """The lines of a measure's `_distilled` and `_residual` halves."""
    return [
        Line(half, half, [m for m in found if m.row.metric.endswith(f"_{half}")]) for half in ("distilled", "residual")
    ]
