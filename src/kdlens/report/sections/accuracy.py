"""Accuracy in detail: images helped and hurt, gains by class, calibration, likeness to the teacher."""

from collections.abc import Sequence

from kdlens.answer import Answer
from kdlens.report.axis import Axis
from kdlens.report.blocks import Block, Grid, Mark, Picker, Strip, StripRow
from kdlens.report.names import metric_name
from kdlens.report.numbers import count, known, number, short_name
from kdlens.report.rows import Measured, measured, only
from kdlens.report.setting import Setting
from kdlens.report.strips import axis_of, strip

_MOST_CLASSES = 24
_NOTES = {
    "ece": "Mean distance between confidence and share right; the tick is what a perfectly calibrated network shows.",
    "nll": "Mean negative log-probability of the right class; lower is better.",
    "agreement": "Share of images that are named as the teacher names them, right or wrong.",
    "kl_to_teacher": "Divergence of the class probabilities from the teacher's, at temperature 1.",
}


def accuracy_blocks(answer: Answer, setting: Setting) -> Sequence[Block]:
    """Everything about right and wrong that the verdict does not show already."""
    students = setting.students(answer)
    changed = _helped_and_hurt(answer)
    classes = [
        block for place, name in enumerate(students) if (block := _classes(answer, setting, name, place, len(students)))
    ]
    quality = [
        strip(measured(answer, metric), title=metric_name(metric), note=note, colour=setting.colour)
        for metric, note in _NOTES.items()
    ]
    name = f"{setting.anchors.get(answer.question, 'accuracy')}-student"
    blocks: list[Block | None] = [
        changed,
        Picker(name=name, students=tuple(students), blocks=tuple(classes), everyone=False) if classes else None,
        Grid(blocks=tuple(block for block in quality if block), least="wide"),
    ]
    return [block for block in blocks if block is not None]


def gain_strip(answer: Answer, setting: Setting) -> Strip | None:
    """The gain of every student, with the margin below which it does not matter."""
    margin = answer.notes.options.get("margin")
    margin = float(margin) if isinstance(margin, int | float) and margin > 0 else None
    note = "Filled dot: over seeds; small dots: single seeds. " if any(m.seeds for m in _gains(answer)) else ""
    if margin:
        size = "1 point" if margin == 1 else f"{margin:g} points"
        note += f"Shaded: within {size}, the margin of the rule."
    return strip(
        _gains(answer),
        title="Gain in top-1 accuracy over the baseline",
        note=note.strip(),
        colour=setting.colour,
        zone=margin,
    )


def top1_strip(answer: Answer, setting: Setting) -> Strip | None:
    """The accuracy of every network."""
    rank = {"teacher": 0, "student": 1, "baseline": 2}
    found = sorted(measured(answer, "top1"), key=lambda m: rank[setting.role(m.row.model)])
    return strip(found, title="Top-1 accuracy", colour=setting.colour)


def _gains(answer: Answer) -> list[Measured]:
    return measured(answer, "top1_gain")


def _classes(answer: Answer, setting: Setting, student: str, place: int, students: int) -> Strip | None:
    found = [m for m in only(measured(answer, "class_gain"), model=student) if known(m.row.value)]
    found.sort(key=lambda m: -m.row.value)
    note = ""
    if len(found) > _MOST_CLASSES:
        half = _MOST_CLASSES // 2
        note = f"The {half} largest gains and the {half} largest losses of {len(found)} classes; the table has all."
        found = [*found[:half], *found[-half:]]
    return strip(
        found,
        title=f"Gain by class: {student}" if students > 1 else "Gain by class",
        note=f"{note} p is corrected for the number of classes.".strip(),
        colour=setting.colour,
        label=lambda m: short_name(m.row.class_name),
        student=place,
        head="Class",
    )


def _helped_and_hurt(answer: Answer) -> Strip | None:
    """Bars to the right for images that only the student names right, to the left for those only the baseline does."""
    helped, hurt = measured(answer, "helped_images"), measured(answer, "hurt_images")
    if not (helped and hurt):
        return None
    most = max(axis_of([*helped, *hurt]).high, 1.0)
    axis = Axis.over([-most, most])
    rows = []
    for gain in helped:
        loss = next((m for m in hurt if m.label == gain.label), None)
        if loss is None or not known(gain.row.value) or not known(loss.row.value):
            continue
        zero = 100 * axis.at(0.0)
        bars = (
            Mark(None, zero, 100 * axis.at(gain.row.value), css="helped", shape="bar"),
            Mark(None, 100 * axis.at(-loss.row.value), zero, css="hurt", shape="bar"),
        )
        text = f"{number(gain.row.value, 'images')} helped, {number(loss.row.value, 'images')} hurt"
        detail = f"of {count(gain.row.n, 'image')}" if gain.row.n else ""
        rows.append(StripRow(gain.label, bars, text, detail))
    return Strip(
        title="Images helped and hurt",
        note="Right: only the student is right. Left: only the baseline is. A small gain can hide many of both.",
        rows=tuple(rows),
        axis=axis,
        zero=100 * axis.at(0.0),
        heads=("Student", "Chart", "Images"),
    )
