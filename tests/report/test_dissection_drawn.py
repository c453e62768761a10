"""Dissection in the report: bars with chance, curves by threshold, gains, concepts, and units as strips of images."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from kdlens.answer import Answer, Notes, Row
from kdlens.report import DataCard, Meta, ModelCard, Report
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


def answer_of(students=("kd",), layers=("layer1", "layer2")):
    """Plausible counts of a baseline, the students and a teacher, and units of the first student."""
    answer = Answer(
        "dissection", Notes("Which concepts do its units detect?", options={"threshold": 0.04, "also": 0.05})
    )
    for at, name in enumerate(("teacher", "baseline", *students)):
        for place, layer in enumerate(layers):
            base = {"model": name, "layer": layer, "n": 500, "unit": "units"}
            for seed in (0, 1, None):
                value = 4.0 + at + 2 * place + (seed or 0)
                answer.add(
                    Row("detectors_share", value, seed=seed, low=1.0, high=40.0, chance=2.0, **{**base, "unit": "%"})
                )
                answer.add(Row("detectors", value, seed=seed, low=value - 2, high=value + 3, chance=1.5, p=0.2, **base))
                for category, share in (("object", 0.75), ("color", 0.25)):
                    columns = {"class_name": category, "chance": 1.0, "low": 0.0, "high": 20.0}
                    answer.add(Row("detectors_in_category", share * value, seed=seed, **columns, **base))
            for threshold in ("0.03", "0.04", "0.1"):
                columns = {"class_name": f"IoU {threshold}", "low": 0.0, "high": 9.0, "chance": 0.5}
                answer.add(Row("detectors_sweep", 3 / float(threshold) / 30, **columns, **base))
    for name in students:
        pair = {"model": name, "compared_with": "baseline", "layer": layers[-1], "unit": "units"}
        for metric in ("detectors_gain", "detectors_also_gain", "detectors_held_out_gain", "unique_detectors_gain"):
            answer.add(Row(metric, 1.0, low=-1.0, high=3.0, n=500, p=0.3, **pair))
        for story, concept, change in (
            ("gained", "red (color)", 2),
            ("kept", "cat (object)", 1),
            ("lost", HOSTILE, -1),
        ):
            answer.add(Row(f"concept_{story}_change", change, class_name=concept, **pair))
            units = {"gained": 2.0, "kept": 4.0, "lost": 0.0}[story]
            answer.add(Row("concept_units", units, model=name, layer=layers[-1], class_name=concept, unit="units"))
    add_units(answer, students[0], layers[-1])
    return answer


def add_units(answer, student, layer):
    rows = [
        answer.add(Row("unit_gained", 0.213, student, "", 0, layer, "unit 12: red (color)", unit="IoU")),
        answer.add(Row("unit_kept", 0.1, student, "", 0, layer, "unit 3: cat (object)", unit="IoU")),
        answer.add(Row("unit_lost", 0.06, "baseline", student, 0, layer, f"unit 7: {HOSTILE}", unit="IoU")),
    ]
    rng = np.random.default_rng(0)
    answer.arrays |= {
        "unit.row": np.array(rows),
        "unit.image": rng.integers(60, 255, (4, 16, 16, 3), dtype=np.uint8),
        "unit.images": np.array([[0, 1], [2, 3], [1, -1]]),
        "unit.active": np.tile((np.arange(16) < 8).astype(np.uint8), (3, 2, 16, 1)),
    }


def setting_of(answer, students=("kd",), **changes):
    roles = {"teacher": "teacher", "baseline": "baseline", **dict.fromkeys(students, "student")}
    cards = [ModelCard(name, role, 0, "cnn", 1, ("layer1", "layer2"), "", "") for name, role in roles.items()]
    meta = Meta(models=cards, data=DataCard("pictures", 500, ("a", "b"), (3, 16, 16)))
    return Setting(meta, {"dissection": answer}, {"dissection": "dissection"}, **changes)


def inside(blocks):
    for block in blocks:
        yield block
        yield from inside(getattr(block, "blocks", ()))


def drawn(answer, kind, **changes):
    return [
        block for block in inside(dissection_blocks(answer, setting_of(answer, **changes))) if isinstance(block, kind)
    ]


def test_the_section_has_counts_gains_units_and_concepts():
    answer = answer_of()
    charts = {chart.title: chart for chart in drawn(answer, Chart)}
    assert list(charts) == [
        "Concept detectors by category",
        "Share of units that detect a concept",
        "Concept detectors by threshold",
    ]
    assert [key.label for key in charts["Concept detectors by category"].legend] == [
        "kd",
        "baseline",
        "teacher",
        "chance",
    ]
    [gains] = drawn(answer, Strip)
    assert [row.label for row in gains.rows] == ["IoU from .04", "IoU from .05", "held out", "different concepts"]
    [table] = drawn(answer, Table)
    texts = [[cell.text for cell in row] for row in table.rows]
    assert texts[0] == ["red (color)", "gained", "0", "2", "+2.0"]
    assert texts[1] == ["cat (object)", "kept", "3", "4", "+1.0"]
    assert texts[2][1:] == ["lost", "1", "0", "−1.0"]


def test_only_the_last_layer_is_drawn_by_category_and_threshold():
    chart = next(c for c in drawn(answer_of(), Chart) if c.title == "Concept detectors by category")
    assert str(chart.drawing).count('class="bar student"') == 2
    assert "kd: object 6 [0, 20], color 2 [0, 20]" in re.sub(r"\.000", "", str(chart.drawing))
    curve = next(c for c in drawn(answer_of(), Chart) if c.title == "Concept detectors by threshold")
    assert ".03</text>" in str(curve.drawing)


def test_units_are_dark_where_they_are_not_active():
    answer = answer_of()
    [block] = drawn(answer, Units)
    assert [(group.name, group.css) for group in block.groups] == [
        ("kd", "student"), ("kd", "student"), ("baseline", "baseline"),
    ]  # fmt: skip
    unit = block.groups[0].units[0]
    assert (unit.title, unit.detail, len(unit.pictures)) == ("unit 12: red (color)", "IoU .21", 2)
    assert len(block.groups[2].units[0].pictures) == 1  # the other image is missing
    data = base64.b64decode(unit.pictures[0].partition(",")[2])
    picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    whole = answer.arrays["unit.image"][0]
    assert np.array_equal(picture[:, :8], whole[:, :8])
    assert np.array_equal(picture[:, 8:], (whole[:, 8:] * 0.2).round().astype(np.uint8))


def test_a_smaller_report_has_fewer_units():
    answer = answer_of()
    answer.rows[int(answer.arrays["unit.row"][1])] = answer.rows[int(answer.arrays["unit.row"][0])]
    for name in ("row", "images", "active"):
        answer.arrays[f"unit.{name}"] = np.concatenate([answer.arrays[f"unit.{name}"][:1]] * 12)
    many, few = (drawn(answer, Units, detail=level)[0].groups[0].units for level in (LEVELS[0], LEVELS[-1]))
    assert (len(many), len(few)) == (12, 3)


def test_darkening_keeps_what_is_active():
    image = np.full((2, 2, 3), 200, np.uint8)
    assert darkened(image, np.array([[1, 0], [0, 1]], np.uint8))[..., 0].tolist() == [[200, 40], [40, 200]]


def test_names_of_concepts_are_text():
    page = Report({"dissection": answer_of()}, setting_of(answer_of()).meta).html()
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror" in page
    assert "Which concepts units detect" in page


def test_two_students_stand_in_a_picker():
    students = ("kd", "at")
    answer = answer_of(students)
    pickers = drawn(answer, Picker, students=students)
    assert pickers[0].students == students
    assert [grid.title for grid in pickers[0].blocks if isinstance(grid, Grid)] == ["kd", "at"]
    assert [table.title for table in drawn(answer, Table, students=students)] == [
        "Concepts gained, kept and lost: kd", "Concepts gained, kept and lost: at",
    ]  # fmt: skip


def test_without_arrays_and_without_rows():
    answer = answer_of()
    answer.arrays.clear()
    assert not drawn(answer, Units)
    empty = Answer("dissection", Notes(""))
    [block] = dissection_blocks(empty, setting_of(empty))
    assert block.paragraphs == ("This question gave no numbers.",)


def test_undefined_numbers_leave_gaps():
    answer = answer_of()
    answer.rows = [Row(**{**{f: getattr(row, f) for f in row.__slots__}, "value": float("nan")}) for row in answer.rows]
    assert drawn(answer, Chart)
    assert "nan" not in str([chart.drawing for chart in drawn(answer, Chart)]).lower()


def test_bars_stand_on_zero_and_chance_is_a_dashed_line():
    point = lambda value: Measured(Row("detectors", value, model="kd", low=1.0, high=9.0, chance=2.0), 0)  # noqa: E731
    chart = bar_chart([Line("kd", "student", [point(4.0), point(0.0)])], ["object", "a long category name"], title="t")
    drawing = str(chart.drawing)
    heights = [float(h) for h in re.findall(r'<rect[^>]* height="([\d.]+)" class="bar student"', drawing)]
    assert heights[0] > 0
    assert heights[1] == 0
    assert drawing.count('class="chance"') == 2
    assert bar_chart([], ["object"], title="t") is None


@pytest.mark.parametrize(
    "metric", [*METRICS, "detectors_gain", "concept_lost_change", "unit_kept", "detectors_rotated"]
)
def test_measures_have_names_for_people(metric):
    assert metric_name(metric) != sentence_case(metric)


def test_the_figure_of_the_answer():
    assert len(answer_of().figure().axes) == 2
