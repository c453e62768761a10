"""FSS and RS, layer by layer, one row of drawings a student; below it, the same on what maps keep of the images."""

from collections.abc import Sequence
from dataclasses import dataclass

from kdlens.answer import Answer
from kdlens.report.axis import Axis
from kdlens.report.blocks import Block, Grid, Picker
from kdlens.report.layers import Line, layer_chart, lines_of
from kdlens.report.rows import Measured, measured, only
from kdlens.report.sections.generic import generic_blocks
from kdlens.report.setting import Setting
from kdlens.report.strips import axis_of

FSS_NOTE = "1: both networks arrange the images in the same way; 0: unrelated."
RS_NOTE = "How far the arrangement of the images follows their classes."
UNIQUE_NOTE = "Relevance of what only the student has (distilled) and of what only the baseline has (residual)."
_KEPT_FSS_NOTE = "Student and baseline on whole images, and each shown only what its own maps keep."
_KEPT_NOTE = (
    "{model} shown only what its {half} maps keep, and shown their outline without content. Only what lies above the "
    "outline is about the images. The axis is that of relevance to the classes."
)
_HALVES = ("distilled", "residual")


@dataclass(frozen=True)
class Panel:
    """One drawing before it is drawn: by layer, or over the numbers `at`; `axis` is shared by all students."""

    title: str
    note: str
    lines: Sequence[Line]
    axis: Axis
    at: Sequence[float] | None = None


def relevance_blocks(answer: Answer, setting: Setting) -> Sequence[Block]:
    """Likeness, relevance, and relevance of what is unique, on axes that all students share."""
    students = setting.students(answer)
    name = f"{setting.anchors.get(answer.question, 'relevance')}-student"
    found = panels(answer, setting)
    return picked_charts(name, students, [found[s] for s in students]) or generic_blocks(answer, setting)


def picked_charts(name: str, students: Sequence[str], found: Sequence[Sequence[Panel]]) -> Sequence[Block]:
    """One row of drawings a student, of which a reader may pick; empty where there is nothing to draw."""
    grids = []
    for place, (student, of_student) in enumerate(zip(students, found, strict=True)):
        charts = [layer_chart(p.lines, title=p.title, note=p.note, axis=p.axis, at=p.at) for p in of_student]
        shown = tuple(chart for chart in charts if chart)
        if shown:
            grids.append(Grid(title=student if len(students) > 1 else "", student=place, blocks=shown))
    return (Picker(name=name, students=tuple(students), blocks=tuple(grids)),) if grids else ()


def panels(answer: Answer, setting: Setting) -> dict[str, list[Panel]]:
    """What is drawn for every student."""
    fss, rs = measured(answer, "fss"), measured(answer, "rs_layer")
    unique = measured(answer, "rs_distilled", "rs_residual")
    kept = _Kept(answer)
    axes = [axis_of(found, include=(0.0,)) for found in (fss + kept.fss, rs + kept.rs + kept.outlines, unique)]
    teacher = next((m.row.model for m in rs if setting.role(m.row.model) == "teacher"), "teacher")
    drawn = {}
    for student in setting.students(answer):
        own = only(unique, model=student)
        baseline = next((m.row.compared_with for m in own), "baseline")
        names = ((student, "student"), (teacher, "teacher"), (baseline, "baseline"))
        plain = [line for name, css in names for line in lines_of(name, css, only(rs, model=name))]
        drawn[student] = [
            Panel("Feature similarity", FSS_NOTE, _likeness(student, baseline, fss, setting), axes[0]),
            *kept.similarity(student, baseline, fss, axes[0]),
            Panel("Relevance to the classes", RS_NOTE, plain, axes[1]),
            Panel("Relevance of what is unique", UNIQUE_NOTE, unique_lines(own), axes[2]),
            *kept.relevance(student, baseline, axes[1]),
        ]
    return drawn


class _Kept:
    """Scores on what maps keep of the images, and on the outlines of what they keep; nothing where not measured."""

    def __init__(self, answer: Answer) -> None:
        self.fss = measured(answer, "fss_conditioned")
        self.rs = measured(answer, *(f"rs_{half}_conditioned" for half in _HALVES))
        self.outlines = measured(answer, "rs_mask_only")

    def similarity(self, student: str, baseline: str, whole: Sequence[Measured], axis: Axis) -> list[Panel]:
        """FSS of a student and its baseline, beside that on whole images."""
        pair = {"model": student, "compared_with": baseline}
        kept, plain = only(self.fss, **pair), only(whole, **pair)
        lines = [*lines_of("what the maps keep", "student", kept), *lines_of("whole images", "other", plain)]
        return [Panel("Feature similarity on what the maps keep", _KEPT_FSS_NOTE, lines, axis)] if kept else []

    def relevance(self, student: str, baseline: str, axis: Axis) -> list[Panel]:
        """RS of the student on what distilled maps keep, of the baseline on what residual ones keep; and a control."""
        found = []
        for half, model, other in (("distilled", student, baseline), ("residual", baseline, student)):
            kept = only(self.rs, metric=f"rs_{half}_conditioned", model=student, compared_with=baseline)
            outline = only(self.outlines, model=model, compared_with=other)
            lines = [*lines_of("what the maps keep", half, kept), *lines_of("their outline alone", "other", outline)]
            title = f"Relevance of what {half} maps keep"
            found += [Panel(title, _KEPT_NOTE.format(model=model, half=half), lines, axis)] if kept else []
        return found


def _likeness(student: str, baseline: str, fss: Sequence[Measured], setting: Setting) -> list[Line]:
    """Who is like whom: the student and the baseline like the teacher, the student like the baseline."""
    found = [m for m in fss if m.row.model in (student, baseline)]
    pairs = dict.fromkeys((m.row.model, m.row.compared_with) for m in found)
    lines: list[Line] = []
    for model, other in pairs:
        to_teacher = setting.role(other) == "teacher"
        css = ("student" if model == student else "baseline") if to_teacher else "other"
        lines += lines_of(f"{model} and {other}", css, only(found, model=model, compared_with=other))
    return sorted(lines, key=lambda line: ("student", "baseline", "other").index(line.css))


def unique_lines(found: Sequence[Measured]) -> list[Line]:
    """The lines of a measure's `_distilled` and `_residual` halves."""
    halves = {half: [m for m in found if m.row.metric.endswith(f"_{half}")] for half in ("distilled", "residual")}
    return [line for half, of_half in halves.items() for line in lines_of(half, half, of_half)]
