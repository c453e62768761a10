"""Which section shows what: names, order, plug-ins, and what happens when one breaks."""

import logging
import re

import numpy as np
import pytest

from kdlens.answer import Answer, Finding, Notes, Row
from kdlens.report import DataCard, Meta, ModelCard, Report
from kdlens.report.blocks import Chart, Grid, Picker, Strip, Text
from kdlens.report.gallery import _gain, gallery_of, scale_of
from kdlens.report.names import metric_name, sentence_case
from kdlens.report.sections import SECTIONS, all_sections, section_of
from kdlens.report.sections.accuracy import accuracy_blocks
from kdlens.report.sections.relevance import panels, relevance_blocks
from kdlens.report.sections.reliance import reliance_blocks
from kdlens.report.sections.unicam import unicam_blocks
from kdlens.report.sentences import key_findings, sentence, told
from kdlens.report.setting import LEVELS, Setting
from kdlens.report.tables import answer_table, models_table


def setting_of(report):
    return Setting(report.meta, report.answers, {name: name for name in (*report.answers, *report.meta.failed)})


def walk(blocks):
    for block in blocks:
        yield block
        if isinstance(block, Grid | Picker):
            yield from walk(block.blocks)


def strips(blocks):
    return {block.title: block for block in walk(blocks) if isinstance(block, Strip)}


def charts(blocks):
    return [block for block in walk(blocks) if isinstance(block, Chart)]


@pytest.mark.parametrize("name", SECTIONS.names())
def test_every_section_draws_and_survives_an_answer_without_rows(one_student, name):
    assert list(SECTIONS[name](one_student[name], setting_of(one_student)))
    empty = Answer(name, Notes(""))
    assert isinstance(list(SECTIONS[name](empty, setting_of(one_student))), list)
    assert Report({name: empty}).html()


@pytest.mark.parametrize("name", SECTIONS.names())
def test_every_section_survives_undefined_numbers(one_student, name):
    source = one_student[name]
    rows = [Row(**{**vars_of(row), "value": float("nan"), "low": None, "high": None}) for row in source.rows]
    broken = Answer(name, source.notes, rows, source.arrays, source.findings)
    html = Report({name: broken}, one_student.meta).html()
    assert "could not be drawn" not in html
    text = re.sub(r"data:image/webp;base64,[^\"]*", "", html.split("</style>")[1].split("<script")[0])
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def vars_of(row):
    return {name: getattr(row, name) for name in row.__slots__}


def test_order_of_sections(one_student):
    later = Answer("zebra", Notes(""), [Row("m", 1.0)])
    first = Answer("aardvark", Notes(""), [Row("m", 1.0)])
    report = Report({"zebra": later, "aardvark": first, **one_student.answers}, Meta(failed={"fairness": "no"}))
    found = [section.anchor for section in all_sections(setting_of(report))]
    assert found == [
        "unicam",
        "relevance",
        "accuracy",
        "reliance",
        "knowledge",
        "dynamics",
        "dissection",
        "class_similarity",
        "conflict",
        "zebra",
        "aardvark",
        "fairness",
    ]


def test_a_renderer_that_breaks_costs_its_drawings_only(monkeypatch, caplog, one_student):
    def broken(answer, setting):
        raise KeyError("map.teacher")

    monkeypatch.setitem(SECTIONS._loaded, "unicam", broken)
    with caplog.at_level(logging.CRITICAL):
        section = section_of(one_student["unicam"], setting_of(one_student))
    assert section.blocks[0].title == "This section could not be drawn"
    assert "KeyError" in section.blocks[0].error
    assert charts(section.blocks)  # the numbers are shown as of an unknown question


def test_a_section_can_be_added(monkeypatch):
    monkeypatch.setitem(SECTIONS._loaded, "mine", lambda answer, setting: [Text(paragraphs=("drawn by me",))])
    assert "drawn by me" in Report({"mine": Answer("mine", Notes(""))}).html()


def test_students_are_those_of_the_study_in_its_order():
    meta = Meta(models=[ModelCard("b", "student"), ModelCard("a", "student"), ModelCard("t", "teacher")])
    answer = Answer("x", Notes(""), [Row("m", 1.0, model=name) for name in ("a", "t", "b", "baseline", "unknown")])
    assert Setting(meta, {}).students(answer) == ["b", "a", "unknown"]


def test_accuracy_shows_a_strip_of_classes_for_every_student(three_students):
    found = strips(accuracy_blocks(three_students["accuracy"], setting_of(three_students)))
    assert len([title for title in found if title.startswith("Gain by class")]) == 3
    values = [row.marks[0].at for row in found["Gain by class: kd"].rows]
    assert values == sorted(values, reverse=True)
    assert {"Images helped and hurt", "Log-loss", "Agreement with the teacher"} <= set(found)


def test_many_classes_are_cut_to_the_largest_gains_and_losses():
    rows = [Row("class_gain", float(i), model="kd", class_name=f"c{i}", unit="points") for i in range(-50, 50)]
    answer = Answer("accuracy", Notes(""), rows)
    found = strips(accuracy_blocks(answer, Setting(Meta(), {"accuracy": answer})))["Gain by class"]
    assert len(found.rows) == 24
    assert [found.rows[0].label, found.rows[-1].label] == ["c49", "c-50"]
    assert "of 100 classes" in found.note


def test_helped_and_hurt_lie_on_both_sides_of_zero(one_student):
    found = strips(accuracy_blocks(one_student["accuracy"], setting_of(one_student)))["Images helped and hurt"]
    helped, hurt = found.rows[0].marks
    assert helped.low == pytest.approx(found.zero) == pytest.approx(hurt.high)
    assert hurt.low < found.zero < helped.high


def test_relevance_shows_three_drawings_a_student_on_common_axes(three_students):
    found = panels(three_students["relevance"], setting_of(three_students))
    assert list(found) == ["kd", "fitnet", "attention-transfer"]
    for place in range(3):
        assert len({of_student[place].axis for of_student in found.values()}) == 1
    assert [line.name for line in found["fitnet"][0].lines] == [
        "fitnet and teacher", "baseline and teacher", "fitnet and baseline",
    ]  # fmt: skip
    assert len(charts(relevance_blocks(three_students["relevance"], setting_of(three_students)))) == 9


def test_distilled_and_residual_are_not_mixed_up(one_student):
    answer = one_student["relevance"]
    drawn = {line.name: line for line in panels(answer, setting_of(one_student))["kd"][2].lines}
    for half in ("distilled", "residual"):
        expected = [row.value for row in answer.select(metric=f"rs_{half}", model="kd", seed=None)]
        assert [p.row.value for p in drawn[half].points] == expected
        assert drawn[half].css == half


def test_reliance_shows_three_versions_of_every_network(one_student):
    found = strips(reliance_blocks(one_student["reliance"], setting_of(one_student)))
    accuracy = found["Accuracy when the image is changed"]
    assert [len(row.marks) for row in accuracy.rows] == [3, 3, 3]
    assert "Reliance on the background" in found


def test_unicam_shows_gallery_shares_and_layers(one_student):
    blocks = list(unicam_blocks(one_student["unicam"], setting_of(one_student)))
    labels = [row.label for row in strips(blocks)["How much of the map lies on the object"].rows]
    assert labels == ["teacher", "kd", "kd: distilled", "kd: residual", "baseline"]
    assert [chart.title for chart in charts(blocks)] == ["Unique fraction", "Relevance of what is unique, R*"]


def test_the_gallery_keeps_the_order_of_the_issue_and_the_scale_of_the_answer(three_students):
    gallery = gallery_of(three_students["unicam"], setting_of(three_students))
    kinds = list(dict.fromkeys(column.kind for column in gallery.columns))
    assert kinds == ["teacher", "student", "distilled", "residual", "baseline"]
    assert len(gallery.columns) == 2 + 3 * 3
    arrays = three_students["unicam"].arrays
    assert scale_of(arrays, []) == float(arrays["scale"])
    assert gallery.sortable


def test_a_gain_that_is_undefined_is_a_dash_and_not_sorted_by(make_report):
    report = make_report(images=2)
    report["unicam"].arrays["gain.kd"][0] = float("nan")
    gallery = gallery_of(report["unicam"], setting_of(report))
    assert [item.gains[0].value is None for item in gallery.items] == [True, False]
    assert report.html().count('data-gain-0="') == 1


def test_labels_without_names_are_numbered(make_report):
    report = make_report(images=2)
    report["unicam"].arrays["label"][:] = 99
    assert gallery_of(report["unicam"], setting_of(report)).items[0].label == "class 99"


def test_the_scale_is_made_where_the_answer_has_none(one_student):
    arrays = {k: v for k, v in one_student["unicam"].arrays.items() if k != "scale"}
    maps = [name for name in arrays if name.startswith("map.")]
    assert scale_of(arrays, maps) == pytest.approx(float(one_student["unicam"].arrays["scale"]), rel=1e-3)


def test_sentences_point_to_their_rows():
    answer = Answer("x", Notes(""), [Row("m", 1.0, model="kd"), Row("m", 2.0)])
    found = sentence(Finding("Seen.", (1, 0)), answer, "x")
    assert found.links == (("row-x-2", "2"), ("row-x-1", "1"))
    assert found.subject == "kd"
    assert sentence(Finding("Beware.", (), "alert"), answer, "x").links == (("x", ""),)


def test_only_a_verdict_has_a_badge():
    answer = Answer("x", Notes(""), [Row("m", 1.0)])
    assert sentence(Finding("HURT: it fell.", (0,), "verdict"), answer, "x").badge == "HURT"
    assert sentence(Finding("HURT: it fell.", (0,)), answer, "x").badge == ""
    assert sentence(Finding("HURTLING on.", (0,), "verdict"), answer, "x").badge == ""


def test_key_findings_take_some_of_every_question():
    answer = Answer("x", Notes(""), [Row("m", 1.0)])

    def said(*tones, kind="finding"):
        return [sentence(Finding(f"{i}", (0,), kind, tone), answer, "x") for i, tone in enumerate(tones)]

    long = said("neutral", "neutral", "good", "bad", "good")
    assert [s.text for s in key_findings([long, said("neutral"), []], most=6)] == ["2", "3", "4", "0"]
    verdicts = said("neutral", kind="verdict")
    assert [s.kind for s in key_findings([[*long, *verdicts], long], most=4)] == [
        "finding",
        "verdict",
        "finding",
        "finding",
    ]
    assert len(key_findings([long] * 8, most=9)) == 16  # never fewer than two of a question


def test_a_verdict_without_badge_is_said_by_its_section():
    answer = Answer("x", Notes(""), [Row("m", 1.0)])
    found = [Finding("HURT: it fell.", (0,), "verdict"), Finding("It is so.", (0,), "verdict"), Finding("Seen.", (0,))]
    assert [s.text for s in told(sentence(f, answer, "x") for f in found)] == ["It is so.", "Seen."]


def test_networks_at_a_glance(three_students):
    table = models_table(three_students.meta, three_students["accuracy"])
    assert [row[0].text for row in table.rows] == ["teacher", "baseline", "kd", "fitnet", "attention-transfer"]
    assert table.rows[2][0].detail == "student, 3 seeds"
    assert table.columns == ("Network", "Architecture", "Top-1", "ECE", "Log-loss", "Agreement", "KL from teacher")
    assert table.rows[0][5].why == "the teacher itself"
    assert models_table(three_students.meta, None).columns == ("Network", "Architecture")


def test_a_table_leaves_out_what_no_row_has():
    answer = Answer("x", Notes(""), [Row("m", 1.0, n=5)])
    assert answer_table(answer, "x", most=LEVELS[0].rows).columns == ("Measure", "Value", "n")


def test_the_margin_of_one_point_is_said_in_the_singular(make_report):
    report = make_report(images=1)
    assert "Shaded: within 1 point, the margin of the rule." in report.html()
    report["accuracy"].notes.options["margin"] = 0.5
    assert "Shaded: within 0.5 points, the margin of the rule." in report.html()


@pytest.mark.parametrize(
    ("measures", "said"), [(13, "1 more measure is in the table."), (14, "2 more measures are in")]
)
def test_measures_left_out_are_counted(measures, said):
    answer = Answer("x", Notes("?"), [Row(f"m{i}", 1.0, model="kd") for i in range(measures)])
    assert said in Report({"x": answer}).html()


def test_every_measure_of_our_own_questions_has_a_name_for_people():
    for metric in (
        "background_reliance_change",
        "teacher_advantage",
        "kl_change",
        "rs_layer_null",
        "top1_gain_by_seed",
    ):
        assert metric_name(metric) != sentence_case(metric)


def test_a_reason_for_many_rows_is_given_to_each_without_their_names():
    answer = Answer("relevance", Notes("?"), [Row("fss", float("nan"), model="kd", layer=f"l{i}") for i in range(3)])
    answer.say("No score for kd at l0 and l1: the features are the same.", rows=[0, 1], kind="alert")
    answer.say("kd has no score at l2: there is none.", rows=[2], kind="alert")
    shown = [next(cell.why for cell in row if cell.why) for row in answer_table(answer, "relevance", most=9).rows]
    assert shown == ["The features are the same."] * 2 + ["kd has no score at l2: there is none."]


@pytest.mark.parametrize(("value", "text"), [(-0.001, "0.00"), (0.001, "0.00"), (-0.25, "−0.25"), (0.25, "+0.25")])
def test_a_gain_of_nothing_has_no_sign(value, text):
    assert _gain(0, {"gain.kd": np.array([value])}, 0, "kd").text == text


def test_a_name_without_end_is_shown_shortened(make_report):
    endless = "x" * 3000
    rows = [Row("class_gain", float(i), model="kd", class_name=name) for i, name in enumerate(("short", endless))]
    meta = Meta(data=DataCard("d", 2, ["short", endless]), models=[ModelCard("kd", "student")])
    page = Report({"accuracy": Answer("accuracy", Notes("?"), rows)}, meta).html()
    shown, payload = page.split('type="application/json"', 1)
    assert "x" * 59 + "…" in shown
    assert "x" * 61 not in shown
    assert endless in payload  # what is downloaded has the name as it is
