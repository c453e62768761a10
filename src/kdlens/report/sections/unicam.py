"""UniCAM: the gallery, how much of the maps lies on the object, and how much is unique, layer by layer."""

from collections.abc import Sequence

from kdlens.answer import Answer, Row
from kdlens.report.blocks import Block, Picker, Text
from kdlens.report.gallery import gallery_of
from kdlens.report.layers import Line, lines_of
from kdlens.report.rows import Measured, measured, only
from kdlens.report.sections.relevance import UNIQUE_NOTE, Panel, picked_charts, unique_lines
from kdlens.report.setting import Setting
from kdlens.report.strips import axis_of, strip

FRACTION_NOTE = "Share of a network's arrangement of the images that the other does not explain."
_SHARE = "share_on_object"
_CURVES = {
    "deletion": (
        "Causal check: deletion",
        "Nats of its lead that the student loses when so much of the image is blurred, in the order of each map.",
    ),
    "insertion": (
        "Causal check: insertion",
        "Nats of lead that so much of the image brings to the blurred one, in the order of each map.",
    ),
}
_FORGETTING = {
    "map_likeness_cascade": ("signed", "student"),
    "map_rank_likeness_cascade": ("strength, by rank", "other"),
}
_FORGETTING_NOTE = (
    "Correlation of the student's own maps with those it has when its weights are shuffled, from the head (left) to "
    "the input, where all are. Dashes: real maps of different images."
)
_HALVES = ("teacher", "student", "distilled", "residual", "baseline")


def unicam_blocks(answer: Answer, setting: Setting) -> Sequence[Block]:
    """The gallery first, then the numbers behind it."""
    blocks: list[Block] = []
    gallery = gallery_of(answer, setting)
    anchor = setting.anchors.get(answer.question, "unicam")
    if gallery is None:
        blocks.append(Text(paragraphs=("There are no maps to show.",)))
    else:
        students = gallery.students
        blocks.append(Picker(name=f"{anchor}-gallery", students=students, blocks=(gallery,), everyone=False))
    on_object = _on_object(answer, setting)
    checked = _checked(answer, setting, f"{anchor}-check")
    return [*blocks, *checked, *((on_object,) if on_object else ()), *_by_layer(answer, setting, f"{anchor}-student")]


def _checked(answer: Answer, setting: Setting, name: str) -> Sequence[Block]:
    """What the checks of the maps found, student by student."""
    students = setting.students(answer)
    forgotten = _forgetting(answer, students)
    both = [[*curves, *cascade] for curves, cascade in zip(_causal(answer, students), forgotten, strict=True)]
    return picked_charts(name, students, both)


def _causal(answer: Answer, students: Sequence[str]) -> list[list[Panel]]:
    """Deletion and insertion curves of every student."""
    shares = answer.arrays.get("curve.shares")
    if shares is None:
        return [[] for _ in students]
    at = [f"{100 * share:.3g} %" for share in shares]
    lines = {way: [_curves(answer, way, student, at) for student in students] for way in _CURVES}
    axes = {way: axis_of([p for of in found for line in of for p in line.points]) for way, found in lines.items()}
    return [
        [Panel(title, note, lines[way][place], axes[way]) for way, (title, note) in _CURVES.items()]
        for place in range(len(students))
    ]


def _forgetting(answer: Answer, students: Sequence[str]) -> list[list[Panel]]:
    """How like the maps of every student stay while it forgets what it learned."""
    found = measured(answer, *_FORGETTING)
    axis = axis_of(found, include=(0.0, 1.0))
    panels = []
    for student in students:
        lines = [Line(name, css, only(found, model=student, metric=m)) for m, (name, css) in _FORGETTING.items()]
        panels.append([Panel("Sanity check: shuffled weights", _FORGETTING_NOTE, lines, axis)])
    return panels


def _curves(answer: Answer, way: str, student: str, at: Sequence[str]) -> list[Line]:
    """One line an order; the places of a line are shares of the image."""
    found: list[Line] = []
    if f"curve.{way}.distilled.{student}" not in answer.arrays:
        return found
    for order, css in (("distilled", "distilled"), ("residual", "residual"), ("random", "other")):
        values = answer.arrays[f"curve.{way}.{order}.{student}"]
        points = [
            Measured(Row(way, float(value), model=student, layer=share, low=float(low), high=float(high)), -1)
            for share, (value, low, high) in zip(at, values, strict=True)
        ]
        found.append(Line("anywhere" if order == "random" else order, css, points))
    return found


def _on_object(answer: Answer, setting: Setting) -> Block | None:
    found = measured(answer, *(f"{_SHARE}_{half}" for half in _HALVES))
    several = len({m.row.layer for m in found if setting.role(m.row.model) == "student"}) > 1

    def half(m: Measured) -> str:
        return m.row.metric.removeprefix(f"{_SHARE}_")

    def label(m: Measured) -> str:
        name = m.label if half(m) == setting.role(m.row.model) else f"{m.label}: {half(m)}"
        return f"{name} · {m.row.layer}" if several and m.row.layer else name

    return strip(
        sorted(found, key=lambda m: _HALVES.index(half(m))),
        title="How much of the map lies on the object",
        note="Share of the maps' positive part inside the mask; the tick is the mask's share of the image.",
        colour=half,
        label=label,
        include=(0.0,),
        head="Map",
    )


def _by_layer(answer: Answer, setting: Setting, name: str) -> Sequence[Block]:
    students = setting.students(answer)
    fraction = measured(answer, "unique_fraction_distilled")  # the residual one is the same number, 1 - u^2
    relevance = measured(answer, "relevance_distilled", "relevance_residual")
    axes = [axis_of(found, include=(0.0,)) for found in (fraction, relevance)]
    found = [
        [
            Panel(
                "Unique fraction", FRACTION_NOTE, lines_of(student, "student", only(fraction, model=student)), axes[0]
            ),
            Panel(
                "Relevance of what is unique, R*", UNIQUE_NOTE, unique_lines(only(relevance, model=student)), axes[1]
            ),
        ]
        for student in students
    ]
    return picked_charts(name, students, found)
