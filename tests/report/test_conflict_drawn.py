"""Conflicts in the report: two-coloured matrices, the table of pairs, routing as a graph, attention and VAM tables."""

import re

import numpy as np
import pytest

from kdlens.answer import Answer, Notes, Row
from kdlens.report import DataCard, Meta, ModelCard, Report
from kdlens.report.blocks import Chart, Grid, Picker, Table
from kdlens.report.matrices import Axis, Diverging, matrix_chart
from kdlens.report.routing import routing_chart
from kdlens.report.sections.conflict import conflict_blocks
from kdlens.report.setting import Setting

NAMES = ("cat", "dog", "car", "bus")
META = Meta(
    models=[ModelCard("teacher", "teacher"), ModelCard("baseline", "baseline"), ModelCard("kd", "student")],
    data=DataCard(classes=NAMES),
)
FIRST = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
LAST = np.array([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.1, 0.0, 0.9]])


def answer_with(*, attention=True, vam=True):
    answer = Answer("conflict", Notes("?", options={"margin": 5.0, "superclasses": {"pets": [], "wheels": []}}))
    for name in ("teacher", "baseline", "kd"):
        answer.add(Row("conflict_rate", 40.0, model=name, low=35.0, high=45.0, chance=50.0, n=64, unit="%"))
        answer.add(Row("pair_cosine", -0.2, model=name, class_name="cat / dog", low=-0.3, high=-0.1))
    answer.add(
        Row("conflict_rate_change", -3.0, model="kd", compared_with="baseline", low=-6.0, high=-1.0, unit="points")
    )
    answer.add(Row("pair_stopped", 0.5, model="kd", compared_with="baseline", class_name="cat / dog", p=0.01))
    answer.add(Row("pair_moved", 0.1, model="kd", compared_with="baseline", class_name="car / bus", low=0.0, high=0.2))
    cosines = np.array([[1, -0.5, 0.2, np.nan], [-0.5, 1, 0, 0.1], [0.2, 0, 1, 0.4], [np.nan, 0.1, 0.4, 1]])
    answer.arrays.update({f"conflict.{name}": cosines.astype(np.float32) for name in ("teacher", "baseline", "kd")})
    answer.arrays.update(order=np.array([1, 0, 2, 3]), superclass=np.array([0, 0, 1, 1]))
    if attention:
        answer.arrays.update({"routing.kd.0": FIRST, "routing.kd.1": LAST})
        answer.add(Row("attention_entropy", 0.7, model="kd", layer="levels.0", chance=1.0986, unit="nats"))
        answer.add(Row("dead_experts", 0.0, model="kd", layer="levels.0"))
    if vam:
        for metric, value in (("top1_trained", 80.0), ("top1_even", 75.0), ("nll_trained", 0.6), ("nll_even", 0.9)):
            answer.add(Row(f"vam_{metric}", value, model="kd", unit="%" if "top1" in metric else "nats"))
        answer.add(Row("vam_top1_change", 5.0, model="kd", low=2.0, high=8.0, unit="points"))
        answer.add(Row("vam_nll_change", -0.3, model="kd", unit="nats"))
        answer.add(Row("vam_parameters", 96.0, model="kd"))
    return answer


def blocks_of(answer, meta=META):
    def flat(blocks):
        for block in blocks:
            yield block
            if isinstance(block, Grid | Picker):
                yield from flat(block.blocks)

    return list(flat(conflict_blocks(answer, Setting(meta, {"conflict": answer}, {"conflict": "conflict"}))))


def titled(blocks, title):
    return [block for block in blocks if block.title == title]


def drawn(values, most=0.5):
    axis = Axis([0, 1, 2, 3], NAMES, [0, 0, 1, 1], ["pets", "wheels"])
    return str(matrix_chart(values, axis, Diverging(most), title="kd", css="student").drawing)


def cells(drawing, css):
    """Corners of the cells of one shade; the last is the scale's."""
    parts = re.findall(rf'<path d="([^"]*)" class="{css}"', drawing)
    return [corner for part in parts[:-1] for corner in re.findall(r"M([\d.]+),([\d.]+)", part)]


def test_signs_have_colours_and_the_diagonal_has_none():
    values = np.full((4, 4), 0.0)
    np.fill_diagonal(values, 1.0)
    values[0, 1], values[2, 3], values[3, 2] = -0.5, 0.25, np.nan
    drawing = drawn(values)
    assert len(cells(drawing, "heat h8 clash")) == 1
    assert len(cells(drawing, "heat h4 accord")) == 1
    assert not cells(drawing, "heat h8 accord")  # the diagonal is grey
    assert "−0.50</text>" in drawing
    assert "+0.50</text>" in drawing
    assert "Most opposed class of each: cat: dog −0.500" in drawing


@pytest.mark.parametrize("k", [2, 30, 300])
def test_any_number_of_classes_is_drawn(k):
    generator = np.random.default_rng(0)
    values = generator.uniform(-1, 1, (k, k))
    names = [f"class {c}" for c in range(k)]
    axis = Axis(list(range(k)), names, [-1] * k, [])
    assert len(str(matrix_chart(values, axis, Diverging(0.5), title="kd", css="student").drawing)) < 600_000
    rows = [generator.dirichlet(np.ones(4), 4), generator.dirichlet(np.ones(4), k)]
    assert len(str(routing_chart(rows, names, title="kd", css="student").drawing)) < 100_000


def test_routing_is_a_graph_with_the_tree_on_top():
    drawing = str(routing_chart([FIRST, LAST], NAMES, title="kd", css="student").drawing)
    kept = re.findall(r'stroke-width="([\d.]+)" class="edge kept student"', drawing)
    assert sorted(map(float, kept)) == sorted([8 * w for w in (0.7, 0.8, 0.4, 0.9, 0.8, 0.7, 0.9)])
    faint = re.findall(r'class="edge"', drawing)
    assert len(faint) == 6 + 8 - 2 + 3  # what is not read most, less what is hardly read, and the trunk's
    assert drawing.index('class="edge"') < drawing.index("edge kept")
    for name in NAMES:
        assert f"{name}</text>" in drawing
    assert "cat: 0, 0; dog: 0, 0; car: 2, 2; bus: 2, 2" in drawing
    assert drawing.count("expert unread") == 2  # expert 1 of both levels


def test_many_classes_are_groups_and_a_table_names_them_all():
    answer = answer_with(vam=False)
    k = 40
    names = tuple(f"class{c:02}" for c in range(k))
    answer.arrays["routing.kd.1"] = np.eye(3)[np.arange(k) % 3]
    answer.arrays.update({f"conflict.{n}": np.eye(k) for n in ("teacher", "baseline", "kd")})
    answer.arrays.update(order=np.arange(k), superclass=np.full(k, -1))
    meta = Meta(models=META.models, data=DataCard(classes=names))
    blocks = blocks_of(answer, meta)
    [table] = titled(blocks, "Experts of the last level: kd")
    assert [row[1].text for row in table.rows] == ["14", "13", "13"]
    assert all(any(name in row[2].text for row in table.rows) for name in names)
    graph = next(b for b in blocks if isinstance(b, Chart) and "Experts read most" in str(b.drawing))
    assert "14: class00, clas" in str(graph.drawing)


def test_the_section_shows_all_there_is():
    blocks = blocks_of(answer_with())
    assert titled(blocks, "Pairs of classes in conflict")
    assert [b.title for b in titled(blocks, "Which classes pull apart")[0].blocks] == ["baseline", "kd", "teacher"]
    [table] = titled(blocks, "Pairs of classes")
    assert [row[0].text for row in table.rows] == ["cat / dog", "car / bus"]
    assert table.rows[0][1].text == "stopped pulling apart"
    assert table.columns[2:5] == ("baseline", "kd", "teacher")
    assert table.rows[1][2].why == "not measured"
    [attention] = titled(blocks, "Attention")
    assert [cell.text for cell in attention.rows[0]][:3] == ["kd", "levels.0", "0.700 (1.099)"]
    assert attention.rows[0][-1].text == "0"
    [vam] = titled(blocks, "Virtual attention, as trained and even")
    assert [cell.text for cell in vam.rows[0]][3] == "+5.0"
    assert vam.rows[0][-1].text == "96"


def test_networks_without_attention_have_none_drawn():
    blocks = blocks_of(answer_with(attention=False, vam=False))
    assert not any(isinstance(b, Table) and "ttention" in b.title for b in blocks)
    assert not titled(blocks, "Which classes share experts")


def test_the_page_holds_it_and_hostile_names_stay_text():
    answer = answer_with()
    meta = Meta(models=META.models, data=DataCard(classes=("<script>alert(1)</script>", *NAMES[1:])))
    answer.say("kd: 1 pair stopped.", rows=[0])
    page = Report({"conflict": answer}, meta).html()
    assert "Conflicts between classes" in page
    assert "<script>alert(1)" not in page
    assert "edge kept" in page
    assert "Dashed: read most by none" in page


def test_an_answer_without_rows_is_shown_as_text():
    answer = Answer("conflict", Notes("?"))
    answer.say("A conflict needs two classes.", kind="alert")
    assert conflict_blocks(answer, Setting(META, {"conflict": answer})) is not None
