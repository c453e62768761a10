"""Learning dynamics: the points over the epochs, how far the weights had travelled, and what was known when."""

from collections.abc import Sequence
from dataclasses import replace

from kdlens.answer import Answer, Row
from kdlens.report.axis import Axis
from kdlens.report.blocks import Block, Grid, Picker
from kdlens.report.cells import cells_of, unit_of
from kdlens.report.layers import Line
from kdlens.report.names import metric_name
from kdlens.report.rows import Measured, measured
from kdlens.report.sections.generic import generic_blocks
from kdlens.report.sections.knowledge import Names, beside, curve_panels
from kdlens.report.sections.relevance import Panel, picked_charts
from kdlens.report.setting import Setting
from kdlens.report.strips import strip

_PATH = "How far the layer's weights had travelled (W), in lengths of the weights they started from. {by}."
_BY = {
    "epoch": "By epochs",
    "checkpoint": "By checkpoints, oldest first; how many epochs lie between them is not known",
}
_LAPSE = (
    "Cells of which the layer discards less than of the background, checkpoint by checkpoint; all images and networks "
    "move together."
)
_NOTES = {
    "d_mean": "How far the weights had travelled when an image had most points on the object.",
    "d_std": "How much that differs between images.",
    "rho": "Of the object's cells that were ever points, the part that is at the end.",
    "epoch_of_most_points": "The same in epochs: when an image had most points on the object.",
    "checkpoint_of_most_points": "The same in checkpoints: at which an image had most points on the object.",
}


def dynamics_blocks(answer: Answer, setting: Setting) -> Sequence[Block]:
    """Curves first, then the time-lapse, then the measures of the hypotheses."""
    if not answer.rows:
        return generic_blocks(answer, setting)
    students, anchor = setting.students(answer), setting.anchors.get(answer.question, answer.question)
    kind = str(answer.notes.options.get("path", "per_step"))
    unit = unit_of(answer)
    found = [
        [*curve_panels(answer, "curve", f"{unit}s", names, _BY.get(unit, "")), *_path(answer, kind, names)]
        for names in (beside(answer, setting, student) for student in students)
    ]
    blocks = [_in_pairs(block) for block in picked_charts(f"{anchor}-curves", students, found)]
    film = cells_of(answer, setting, title="What was known when", note=_LAPSE)
    if film is not None:
        blocks.append(Picker(name=f"{anchor}-film", students=tuple(students), blocks=(film,), everyone=False))
    strips = [_strip(answer, setting, metric, kind) for metric in _NOTES]
    return [*blocks, Grid(blocks=tuple(s for s in strips if s), least="wide")]


def _in_pairs(block: Block) -> Block:
    """Four drawings stand two by two."""
    if not isinstance(block, Picker):
        return block
    return replace(block, blocks=tuple(replace(b, least="pairs") if isinstance(b, Grid) else b for b in block.blocks))


def _strip(answer: Answer, setting: Setting, metric: str, kind: str) -> Block | None:
    name = f"{metric}_{kind}" if metric.startswith("d_") else metric
    return strip(
        measured(answer, name), title=metric_name(name), note=_NOTES[metric], colour=setting.colour, include=(0.0,)
    )


def _path(answer: Answer, kind: str, names: Names) -> list[Panel]:
    """The path of the weights over the epochs."""
    start = f"path.{kind}."
    every = {name.removeprefix(start): array for name, array in answer.arrays.items() if name.startswith(start)}
    names = [(name, css) for name, css in names if name in every]
    if not names:
        return []
    axis = Axis.over([float(value) for array in every.values() for value in array], include=(0.0,))
    unit = unit_of(answer)
    scale = [float(number) for number in answer.arrays[f"{unit}s"]]
    at = [f"{epoch:g}" for epoch in scale]
    lines = [
        Line(name, css, [_point(name, place, value) for place, value in zip(at, every[name], strict=True)])
        for name, css in names
    ]
    return [Panel("Path of the weights, over training", _PATH.format(by=_BY[unit]), lines, axis, scale)]


def _point(name: str, place: str, value: float) -> Measured:
    return Measured(Row("path", float(value), model=name, layer=place), -1)
