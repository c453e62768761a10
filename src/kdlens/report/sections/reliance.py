"""What the networks do when the background is swapped or the object removed."""

from collections.abc import Sequence

from kdlens.answer import Answer
from kdlens.report.blocks import Block, Grid, Key, Strip, StripRow
from kdlens.report.names import metric_name
from kdlens.report.rows import Measured, measured, only
from kdlens.report.sections.generic import generic_blocks
from kdlens.report.setting import Setting
from kdlens.report.strips import axis_of, mark, strip, value_with_unit

_VERSIONS = (
    ("accuracy_original", "original", "circle"),
    ("accuracy_background_swapped", "swapped", "diamond"),
    ("accuracy_object_removed", "removed", "square"),
)


_STRIPS = (
    ("background_reliance", "Points of accuracy that are lost when the background comes from another class."),
    ("answers_changed", "Images whose answer, right or wrong, changes with the background."),
)


def reliance_blocks(answer: Answer, setting: Setting) -> Sequence[Block]:
    """Accuracy on the three versions of the images, one line a network, and the reliance on the background."""
    found = measured(answer, *(metric for metric, _, _ in _VERSIONS))
    if not found:
        return generic_blocks(answer, setting)
    strips = [
        strip(measured(answer, metric), title=metric_name(metric), note=note, colour=setting.colour, include=(0.0,))
        for metric, note in _STRIPS
    ]
    return (_versions(found), Grid(blocks=tuple(s for s in strips if s), least="wide"))


def _versions(found: Sequence[Measured]) -> Strip:
    axis = axis_of(found, include=(0.0,))
    rows = []
    for name in dict.fromkeys(m.label for m in found):
        of_name = [m for m in found if m.label == name]
        chosen = [(m, css, shape) for metric, css, shape in _VERSIONS for m in only(of_name, metric=metric)]
        values = " → ".join(value_with_unit(m) for m, _, _ in chosen)
        marks = tuple(mark(m, axis, css, shape=shape) for m, css, shape in reversed(chosen))  # the original on top
        rows.append(StripRow(name, marks, values))
    return Strip(
        title="Accuracy when the image is changed",
        note="The further a network falls when only the background is swapped, the more it had read the background.",
        rows=tuple(rows),
        axis=axis,
        legend=tuple(Key(css, shape, metric_name(metric)) for metric, css, shape in _VERSIONS),
        heads=("Network", "Chart", "Original → background swapped → object removed"),
    )
