"""Any question: its numbers by measure, each with its interval."""

from collections.abc import Sequence

from kdlens.answer import Answer
from kdlens.report.blocks import Block, Grid, Text
from kdlens.report.layers import Line, layer_chart
from kdlens.report.names import metric_name
from kdlens.report.rows import Measured, measured
from kdlens.report.setting import Setting
from kdlens.report.strips import strip

_MOST_MEASURES = 12
_MOST_LINES = 24


def generic_blocks(answer: Answer, setting: Setting) -> Sequence[Block]:
    """Show every measure: by layer as lines where it has layers, else as a strip."""
    if not answer.rows:
        return (Text(paragraphs=("This question gave no numbers.",)),)
    metrics = list(dict.fromkeys(row.metric for row in answer.rows if not row.metric.endswith("_null")))
    blocks = [block for metric in metrics[:_MOST_MEASURES] if (block := _measure(answer, metric, setting))]
    left_out = len(metrics) - _MOST_MEASURES
    more = "1 more measure is" if left_out == 1 else f"{left_out} more measures are"
    note = f"{more} in the table." if left_out > 0 else ""
    return (Grid(blocks=tuple(blocks), note=note),)


def _measure(answer: Answer, metric: str, setting: Setting) -> Block | None:
    found = measured(answer, metric)
    lines = _lines(found, setting)
    if sum(len(line.points) for line in lines) > len(lines):
        return layer_chart(lines[:6], title=metric_name(metric), include=())
    note = f"The first {_MOST_LINES} of {len(found)}; the table has all." if len(found) > _MOST_LINES else ""
    return strip(
        found[:_MOST_LINES],
        title=metric_name(metric),
        colour=setting.colour,
        label=_label,
        note=note,
    )


def _lines(found: Sequence[Measured], setting: Setting) -> list[Line]:
    names: dict[str, list[Measured]] = {}
    for one in found:
        if one.row.layer and not one.row.class_name:
            against = f" against {one.row.compared_with}" if one.row.compared_with else ""
            names.setdefault(f"{one.label}{against}", []).append(one)
    return [Line(name, setting.role(points[0].row.model), points) for name, points in names.items()]


def _label(m: Measured) -> str:
    row = m.row
    return " · ".join(part for part in (m.label, row.layer, row.class_name) if part) or metric_name(row.metric)
