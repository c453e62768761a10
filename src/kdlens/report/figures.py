"""Figures for papers and notebooks: one matplotlib figure an answer, without pyplot and its global state."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kdlens.answer import Answer
from kdlens.report.gallery import KINDS, scale_of, students_in
from kdlens.report.images import coloured, dimmed, map_strength
from kdlens.report.layers import Line
from kdlens.report.meta import Meta
from kdlens.report.names import metric_name
from kdlens.report.numbers import known
from kdlens.report.rows import Measured, measured
from kdlens.report.sections.relevance import panels
from kdlens.report.setting import Setting
from kdlens.visible import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "teacher": "#6b4fbb",
    "student": "#08776f",
    "baseline": "#a8620b",
    "distilled": "#08776f",
    "residual": "#b4531f",
    "other": "#67727f",
}
_SHAPES = "osD^"
_MOST_IMAGES, _MOST_LINES, _MOST_MEASURES = 4, 24, 4


def figure_of(answer: Answer) -> "Figure":
    """The main figure of an answer.

    Example:
        >>> from kdlens.answer import Notes, Row
        >>> answer = Answer("accuracy", Notes(""), [Row("top1_gain", 2.1, model="kd", low=1.4, high=2.8)])
        >>> len(figure_of(answer).axes)
        1
    """
    setting = Setting(Meta(), {answer.question: answer})
    draw = _DRAWERS.get(answer.question, _numbers)
    return draw(answer, setting) or _numbers(answer, setting) or _nothing()


def _accuracy(answer: Answer, setting: Setting) -> "Figure | None":
    found = [(metric, measured(answer, metric)) for metric in ("top1_gain", "top1")]
    return _strips([(metric_name(metric), numbers) for metric, numbers in found if numbers], setting)


def _reliance(answer: Answer, setting: Setting) -> "Figure | None":
    metrics = ("accuracy_original", "accuracy_background_swapped", "accuracy_object_removed", "background_reliance")
    found = [(metric, measured(answer, metric)) for metric in metrics]
    return _strips([(metric_name(metric), numbers) for metric, numbers in found if numbers], setting)


def _relevance(answer: Answer, setting: Setting) -> "Figure | None":
    found = {student: [p for p in of if any(p.lines)] for student, of in panels(answer, setting).items()}
    found = {student: of for student, of in found.items() if any(line.points for p in of for line in p.lines)}
    if not found:
        return None
    columns = max(len(of) for of in found.values())
    figure = _figure(3.4 * columns, 2.9 * len(found))
    grid = figure.subplots(len(found), columns, squeeze=False)
    for axes, (student, of_student) in zip(grid, found.items(), strict=True):
        for axis, panel in zip(axes, of_student, strict=False):
            _layers(axis, panel.lines)
            axis.set_ylim(panel.axis.low, panel.axis.high)
            axis.set_title(
                _plain(panel.title if len(found) == 1 else f"{student}: {panel.title}"), fontsize=9, loc="left"
            )
    return figure


def _dissection(answer: Answer, setting: Setting) -> "Figure | None":
    """Detectors as shares of the units, and gains, at every layer."""
    found = [(metric, measured(answer, metric)[:_MOST_LINES]) for metric in ("detectors_gain", "detectors_share")]
    return _strips([(metric_name(metric), numbers) for metric, numbers in found if numbers], setting)


def _class_similarity(answer: Answer, setting: Setting) -> "Figure | None":
    """The similarity matrices side by side, on one scale, like classes beside each other."""
    every = {name.removeprefix("similarity."): a for name, a in answer.arrays.items() if name.startswith("similarity.")}
    if "order" not in answer.arrays or not every:
        return None
    order = answer.arrays["order"]
    figure = _figure(2.6 * len(every) + 0.6, 3.0)
    most = max(float(np.nanmax(matrix, initial=0.0)) for matrix in every.values()) or 1.0
    grid = figure.subplots(1, len(every), squeeze=False)
    for axis, (name, matrix) in zip(grid[0], every.items(), strict=True):
        shown = axis.imshow(matrix[np.ix_(order, order)], cmap="Greys", vmin=0.0, vmax=most)
        axis.set_title(_plain(name), fontsize=9, loc="left")
        axis.set_xticks([])
        axis.set_yticks([])
    figure.colorbar(shown, ax=grid.ravel().tolist(), fraction=0.025, label="share of what is left to wrong classes")
    return figure


def _unicam(answer: Answer, setting: Setting) -> "Figure | None":
    """Some images beside the maps of the first student, on one scale."""
    arrays = answer.arrays
    students = students_in(arrays, setting)
    wanted = [(k, f"map.{k}" if k in ("teacher", "baseline") else f"map.{k}.{s}") for k in KINDS for s in students[:1]]
    found = [(kind, name) for kind, name in wanted if name in arrays]
    if "image" not in arrays or not len(arrays["image"]) or not found:
        return None
    images = arrays["image"][:_MOST_IMAGES]
    scale = scale_of(arrays, [name for name in arrays if name.startswith("map.")])
    figure = _figure(1.35 * (len(found) + 1), 1.22 * len(images) + 0.3)
    grid = figure.subplots(len(images), len(found) + 1, squeeze=False)
    for i, (axes, image) in enumerate(zip(grid, images, strict=True)):
        axes[0].imshow(image)
        for axis, (_, name) in zip(axes[1:], found, strict=True):
            axis.imshow(dimmed(image))
            axis.imshow(coloured(map_strength(arrays[name][i], scale)))
        for axis, title in zip(axes, ["image", *(kind for kind, _ in found)], strict=True):
            axis.set_axis_off()
            axis.set_title(title if i == 0 else "", fontsize=9)
    _colour_bar(figure, grid, scale)
    return figure


def _colour_bar(figure: "Figure", grid: np.ndarray, scale: float) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    on_grey = coloured(np.linspace(0, 1, 256)[None])[0] / 255.0
    opaque = on_grey[:, :3] * on_grey[:, 3:] + 0.27 * (1 - on_grey[:, 3:])
    bar = ScalarMappable(Normalize(0, scale if known(scale) else 1.0), ListedColormap(opaque))
    figure.colorbar(bar, ax=grid.ravel().tolist(), fraction=0.025, label="map, one scale for all")


def _numbers(answer: Answer, setting: Setting) -> "Figure | None":
    """The first measures of any answer."""
    metrics = list(dict.fromkeys(row.metric for row in answer.rows if not row.metric.endswith("_null")))
    found = [(metric_name(metric), measured(answer, metric)[:_MOST_LINES]) for metric in metrics[:_MOST_MEASURES]]
    return _strips(found, setting)


def _strips(found: Sequence[tuple[str, Sequence[Measured]]], setting: Setting) -> "Figure | None":
    """One set of axes a measure, side by side; one line a number with its interval."""
    if not found:
        return None
    figure = _figure(3.6 * len(found), 0.9 + 0.34 * max(len(numbers) for _, numbers in found))
    for axis, (title, numbers) in zip(figure.subplots(1, len(found), squeeze=False)[0], found, strict=True):
        for y, m in enumerate(reversed(numbers)):
            colour = COLOURS.get(setting.colour(m), COLOURS["other"])
            if m.row.low is not None and m.row.high is not None:
                axis.plot(
                    [m.row.low, m.row.high], [y, y], color=colour, alpha=0.45, linewidth=3, solid_capstyle="round"
                )
            axis.plot([s.value for s in m.seeds], [y - 0.25] * len(m.seeds), ".", color=colour, markersize=3)
            axis.plot([m.row.value], [y], "o", color=colour, markersize=5)
        axis.set_yticks(range(len(numbers)), [_label(m) for m in reversed(numbers)])
        axis.set_ylim(-0.7, len(numbers) - 0.3)
        if axis.get_xlim()[0] < 0 < axis.get_xlim()[1]:
            axis.axvline(0, color="#9aa3ad", linewidth=0.8)
        axis.spines[["top", "right"]].set_visible(False)
        unit = numbers[0].row.unit if numbers else ""
        axis.set_title(_plain(f"{title} ({unit})" if unit else title), fontsize=9, loc="left")
    return figure


def _layers(axis: "Axes", lines: Sequence[Line]) -> None:
    for place, line in enumerate(line for line in lines if line.points):
        colour, at = COLOURS.get(line.css, COLOURS["other"]), np.arange(len(line.points)) + 0.07 * place
        values = np.array([p.row.value for p in line.points])
        shape = _SHAPES[place % len(_SHAPES)]
        axis.plot(at, values, f"-{shape}", color=colour, markersize=4, linewidth=1.2, label=_plain(line.name))
        for x, p in zip(at, line.points, strict=True):
            if p.row.low is not None and p.row.high is not None:
                axis.plot([x, x], [p.row.low, p.row.high], color=colour, alpha=0.45, linewidth=2)
            if p.null is not None:
                axis.fill_between([x - 0.3, x + 0.3], *p.null, color="#8a94a0", alpha=0.12, linewidth=0)
        axis.set_xticks(range(len(line.points)), [_plain(p.row.layer) for p in line.points], fontsize=7)
    axis.legend(fontsize=7, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)


def _label(m: Measured) -> str:
    return _plain(" ".join(part for part in (m.label, m.row.layer, m.row.class_name) if part)[:40])


def _plain(text: str) -> str:
    return visible(text).replace("$", r"\$")  # else matplotlib reads mathematics


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(min(width, 24.0), min(height, 24.0)), layout="constrained")


def _nothing() -> "Figure":
    figure = _figure(4, 1)
    figure.text(0.5, 0.5, "no numbers", ha="center", va="center")
    return figure


Drawer = Callable[[Answer, Setting], "Figure | None"]
_DRAWERS: dict[str, Drawer] = {
    "accuracy": _accuracy,
    "class_similarity": _class_similarity,
    "dissection": _dissection,
    "unicam": _unicam,
    "relevance": _relevance,
    "reliance": _reliance,
}
