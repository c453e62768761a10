"""Class similarity in the report: shades, order and frames of matrices, the curve, the table of confusions."""

import re

import numpy as np
import pytest

from kdlens.answer import Answer, Notes, Row
from kdlens.report import DataCard, Meta, ModelCard, Report
from kdlens.report.blocks import Chart, Grid, Picker, Table
from kdlens.report.matrices import Axis, Shading, matrix_chart
from kdlens.report.sections.class_similarity import class_similarity_blocks
from kdlens.report.setting import Setting

NAMES = ("Shirt", "Coat", "Bag", "Boot")


def drawn(values, **changes):
    told = {"order": [0, 1, 2, 3], "names": NAMES, "category": [0, 0, 1, 1], "categories": ["top", "rest"]}
    axis = Axis(**{**told, **changes})
    return str(matrix_chart(values, axis, Shading(1 / 3, 1.0), title="kd", css="student").drawing)


def cells(drawing, css):
    """Path data of the cells of one shade."""
    found = re.search(rf'<path d="([^"]*)" class="{css}"', drawing)
    return re.findall(r"M([\d.]+),([\d.]+)", found[1]) if found else []


def test_only_more_than_an_even_share_is_shaded_and_the_order_is_the_one_given():
    values = np.full((4, 4), 0.2)
    values[0, 1] = 1.0
    first = drawn(values)
    [(x, y)] = cells(first, "heat h8 student")[:1]
    assert not cells(first, "heat h1 student")[:-1]  # the last one is the scale's
    [(x2, y2)] = cells(drawn(values, order=[3, 2, 1, 0], category=[0, 0, 1, 1]), "heat h8 student")[:1]
    assert float(y) < float(y2)  # Shirt is the first row, then the last
    assert float(x) < float(x2)  # Coat is the second column, then the third
    side = (float(y2) - float(y)) / 3
    assert float(x2) - float(x) == pytest.approx(side, abs=0.1)


def test_categories_are_framed_and_names_are_numbered():
    drawing = drawn(np.full((4, 4), 0.3))
    assert drawing.count('class="frame"') == 2
    assert "Shirt 1</text>" in drawing
    assert "Boot 4</text>" in drawing
    alone = drawn(np.full((4, 4), 0.3), category=[0, 1, 2, 3], categories=["a", "b", "c", "d"])
    assert 'class="frame"' not in alone


def test_it_is_said_in_words():
    values = np.full((4, 4), 0.1)
    values[0, 1], values[1, 0], values[2, 3], values[3, 2] = 0.8, 0.7, 0.6, 0.5
    assert "Likest class of each: Shirt: Coat 80.0 %; Coat: Shirt 70.0 %; Bag: Boot 60.0 %" in drawn(values)


@pytest.mark.parametrize("k", [3, 24, 100, 700])
def test_any_number_of_classes_is_drawn_and_stays_small(k):
    values = np.random.default_rng(0).dirichlet(np.full(k, 0.3), k)
    values[0] = np.nan  # a class without images
    names = [f"class {i}" for i in range(k)]
    axis = Axis(list(range(k)), names, [i // 5 for i in range(k)], [f"g{i}" for i in range(k)])
    drawing = str(matrix_chart(values, axis, Shading(1 / (k - 1), 0.9), title="kd", css="student").drawing)
    assert "nan" not in drawing
    assert len(drawing) < 400_000
    assert drawing.count("<text") < 45


def walk(blocks):
    for block in blocks:
        yield block
        if isinstance(block, Grid | Picker):
            yield from walk(block.blocks)


def test_the_section_has_matrices_of_teacher_student_and_baseline_and_a_table(three_students):
    answer = three_students["class_similarity"]
    setting = Setting(three_students.meta, three_students.answers)
    blocks = list(walk(class_similarity_blocks(answer, setting)))
    titles = [block.title for block in blocks if isinstance(block, Chart)]
    assert titles[:3] == ["teacher", "kd", "baseline"]
    assert titles.count("fitnet") == 1
    assert "Entropy within categories, by temperature" in titles
    tables = [block for block in blocks if isinstance(block, Table)]
    assert len(tables) == 3
    first = [cell.text for cell in tables[0].rows[0]]
    assert first[:2] == ["Shirt → Coat", "from the teacher"]
    assert first[2:5] == ["15.0\N{NO-BREAK SPACE}%", "12.0\N{NO-BREAK SPACE}%", "4.0\N{NO-BREAK SPACE}%"]
    assert tables[0].columns[2:5] == ("teacher", "kd", "baseline")


def test_one_scale_for_all_matrices(one_student):
    html = one_student.html()
    section = html.split('id="class-similarity"')[1].split("</section>")[0]
    scales = re.findall(r">([\d.]+ %)</text>", section)
    assert len(set(scales)) == 1
    assert len(scales) == 3


def test_without_arrays_the_numbers_are_shown():
    answer = Answer("class_similarity", Notes(""), [Row("within_category_entropy", 0.5, model="kd", unit="nats")])
    meta = Meta(models=[ModelCard("kd", "student")], data=DataCard(classes=NAMES))
    html = Report({"class_similarity": answer}, meta).html()
    assert "Entropy within categories" in html
    assert "could not be drawn" not in html
