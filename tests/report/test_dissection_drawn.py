"""Dissection in the report: bars with chance, curves by threshold, gains, concepts, and units as strips of images."""

import base64
import copy
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from kdlens.answer import Answer, Notes, Row
from kdlens.report import Report
from kdlens.report.bars import bar_chart
from kdlens.report.blocks import Chart, Grid, Picker, Strip, Table
from kdlens.report.layers import Line
from kdlens.report.names import metric_name, sentence_case
from kdlens.report.rows import Measured
from kdlens.report.sections.dissection import dissection_blocks
from kdlens.report.setting import LEVELS, Setting
from kdlens.report.units import Units, darkened

HOSTILE = '<img src=x onerror="alert(1)"> (object)'
METRICS = ("detectors", "detectors_share", "detectors_also", "detectors_held_out", "unique_detectors")


@pytest.fixture
def report(one_student):
    """A report whose answer may be changed."""
    return Report({"dissection": copy.deepcopy(one_student["dissection"])}, one_student.meta)


def inside(blocks):
    for block in blocks:
        yield block
        yield from inside(getattr(block, "blocks", ()))


def drawn(report, kind, **changes):
    setting = Setting(report.meta, report.answers, {"dissection": "dissection"}, **changes)
    return [block for block in inside(dissection_blocks(report["dissection"], setting)) if isinstance(block, kind)]


def test_the_section_has_counts_gains_units_and_concepts(report):
    charts = {chart.title: chart for chart in drawn(report, Chart)}
    assert list(charts) == [
        "Concept detectors by category",
        "Share of units that detect a concept",
        "Concept detectors by threshold",
    ]
    legend = [key.label for key in charts["Concept detectors by category"].legend]
    assert legend == ["kd", "baseline", "teacher", "chance"]
    [gains] = drawn(report, Strip)
    assert [row.label for row in gains.rows] == ["IoU from .04", "IoU from .05", "held out", "different concepts"]
    [table] = drawn(report, Table)
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["red (color)", "gained", "0", "2", "+2.0"],
        ["cat (object)", "kept", "3", "4", "+1.0"],
        ["dog (object)", "lost", "1", "0", "−1.0"],
    ]


def test_only_the_last_layer_is_drawn_by_category_and_threshold(report):
    charts = {chart.title: str(chart.drawing) for chart in drawn(report, Chart)}
    bars = charts["Concept detectors by category"]
    assert bars.count('class="bar student"') == 2
    [value] = [row.value for row in report["dissection"].select(metric="detectors", model="kd", layer="layer2", seed=0)]
    assert value == pytest.approx(8.0, abs=1.0)
    assert re.search(rf"kd: object {value:.3f}".rstrip("0").rstrip("."), bars)
    curve = charts["Concept detectors by threshold"]
    assert all(f">{at}</text>" in curve for at in (".03", ".04", ".1"))


def test_units_are_dark_where_they_are_not_active(report):
    [block] = drawn(report, Units)
    assert [(g.name, g.css, g.story.partition(":")[0]) for g in block.groups] == [
        ("kd", "student", "gained"),
        ("kd", "student", "kept"),
        ("baseline", "baseline", "lost"),
    ]
    unit = block.groups[0].units[0]
    assert (unit.title, unit.detail, len(unit.pictures)) == ("unit 12: red (color)", "IoU .21", 2)
    assert len(block.groups[2].units[0].pictures) == 1  # the other image is missing
    data = base64.b64decode(unit.pictures[0].partition(",")[2])
    picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    whole = report["dissection"].arrays["unit.image"][0]
    assert np.array_equal(picture[:, :8], whole[:, :8])
    assert np.array_equal(picture[:, 8:], (whole[:, 8:].astype(np.float32) * 0.2).round().astype(np.uint8))


def test_a_smaller_report_has_fewer_units(report):
    arrays = report["dissection"].arrays
    for name in ("row", "images", "active"):
        arrays[f"unit.{name}"] = np.concatenate([arrays[f"unit.{name}"][:1]] * 12)
    many, few = (drawn(report, Units, detail=level)[0].groups[0].units for level in (LEVELS[0], LEVELS[-1]))
    assert (len(many), len(few)) == (12, 3)


def test_darkening_keeps_what_is_active():
    image = np.full((2, 2, 3), 200, np.uint8)
    assert darkened(image, np.array([[1, 0], [0, 1]], np.uint8))[..., 0].tolist() == [[200, 40], [40, 200]]


def test_names_of_concepts_are_text(report):
    rows = report["dissection"].rows
    rows[:] = [replace(row, class_name=row.class_name.replace("dog (object)", HOSTILE)) for row in rows]
    page = report.html()
    assert "<img src=x" not in page
    assert page.count("&lt;img src=x onerror") > 2
    assert "Which concepts units detect" in page


def test_several_students_stand_in_a_picker(three_students):
    report = Report({"dissection": three_students["dissection"]}, three_students.meta)
    [counts, *_] = drawn(report, Picker)
    assert len(counts.students) == 3
    assert tuple(grid.title for grid in counts.blocks if isinstance(grid, Grid)) == counts.students
    titles = [table.title for table in drawn(report, Table)]
    assert titles == [f"Concepts gained, kept and lost: {name}" for name in counts.students]


def test_without_pictures_and_without_rows(report):
    report["dissection"].arrays.clear()
    assert not drawn(report, Units)
    empty = Report({"dissection": Answer("dissection", Notes(""))}, report.meta)
    assert not drawn(empty, Chart)
    assert "This question gave no numbers." in empty.html()


def test_bars_stand_on_zero_and_chance_is_a_dashed_line():
    point = lambda value: Measured(Row("detectors", value, model="kd", low=1.0, high=9.0, chance=2.0), 0)  # noqa: E731
    lines = [Line("kd", "student", [point(4.0), point(0.0), point(float("nan"))])]
    chart = bar_chart(lines, ["object", "a long category name", "c"], title="t")
    drawing = str(chart.drawing)
    heights = [float(h) for h in re.findall(r'<rect[^>]* height="([\d.]+)" class="bar student"', drawing)]
    assert len(heights) == 2
    assert heights[0] > 0
    assert heights[1] == 0
    assert drawing.count('class="chance"') == 2
    assert "<title>a long category name</title>" in drawing
    assert bar_chart([], ["object"], title="t") is None


@pytest.mark.parametrize(
    "metric", [*METRICS, "detectors_gain", "concept_lost_change", "unit_kept", "detectors_rotated"]
)
def test_measures_have_names_for_people(metric):
    assert metric_name(metric) != sentence_case(metric)


def test_the_figure_of_the_answer(report):
    assert len(report["dissection"].figure().axes) == 2
