"""Names with control characters, marks of direction and halves of characters: kept in answers, written out for eyes."""

import json

import pytest

from kdlens.answer import Answer, Notes, Row
from kdlens.report import DataCard, Meta, ModelCard, Report
from kdlens.report.notebook import answer_card, report_card
from kdlens.visible import HIDDEN

NAMES = (
    "\x1b[31mred", "nul\x00", "two\nlines", "cr\rname", "exe\u202etxt", "zero\u200bwidth", "half \ud800", "del\x7f",
)  # fmt: skip


@pytest.fixture
def report(make_report):
    return make_report(
        NAMES[:2],
        classes=(*NAMES, "plain", "<b>"),
        images=10,
        title=f"What did {NAMES[4]} learn?",
        command=f"kdlens explain {NAMES[6]}.yaml",
        study="a: 1\nb:\n\t2\n",
        environment={NAMES[5]: NAMES[0]},
        alerts=list(NAMES),
        failed={"colours": f"RuntimeError: first\n\tsecond {NAMES[0]}"},
    )


def said(answer):
    """An answer whose sentences quote every name."""
    for name in NAMES:
        i = answer.add(Row("class_gain", 1.0, model=name, layer=name, class_name=name, compared_with=name))
        answer.say(f'kd gains on "{name}".', rows=[i])
    return answer


def test_the_page_hides_nothing(report, parse):
    said(report.answers["accuracy"])
    html = report.html()
    html.encode("utf-8")
    assert set(HIDDEN.findall(html)) <= {"\n"}  # the page's own lines
    page = parse(html)
    shown = "".join(page.text["bdi"])
    for name in (r"\x1b[31mred", r"nul\x00", r"two\nlines", r"cr\rname", r"exe\u202etxt", r"half \ud800", "<b>"):
        assert name in shown
    assert r"kd gains on &#34;two\nlines&#34;." in html
    numbers = json.loads(page.text["script"][0])
    assert numbers["meta"]["data"]["classes"][:8] == list(NAMES)  # the numbers keep them


def test_lines_stay_where_they_are_meant(report):
    html = report.html()
    assert "a: 1\nb:\n    2\n" in html
    assert "RuntimeError: first\n    second \\x1b[31mred" in html
    assert "could not be answered: RuntimeError: first second \\x1b[31mred" in html


def test_cards_and_the_text_hide_nothing(report):
    said(report.answers["accuracy"])
    for card in (
        report_card(report.answers, report.meta),
        answer_card(report["accuracy"]),
        answer_card(report["unicam"]),
    ):
        card.encode("utf-8")
        assert set(HIDDEN.findall(card)) <= {"\n"}
    text = str(Report({"accuracy": said(Answer("accuracy", Notes("?")))}, Meta(NAMES[0], data=DataCard(NAMES[1], 3))))
    assert set(HIDDEN.findall(text)) <= {"\n"}
    assert text.splitlines()[:3] == [
        r"\x1b[31mred", r"nul\x00: 3 images, 0 classes", r'kd gains on "\x1b[31mred".',
    ]  # fmt: skip
    assert r'kd gains on "two\nlines".' in text.splitlines()


def test_figures_hide_nothing(report):
    for answer in report.answers.values():
        figure = answer.figure()
        figure.canvas.draw()
        for axes in figure.axes:
            texts = [axes.get_title(loc="left"), *(label.get_text() for label in axes.get_yticklabels())]
            assert not HIDDEN.search("".join(texts))


def test_a_stored_answer_keeps_its_names(tmp_path):
    answer = said(Answer("accuracy", Notes("Did it help?", options={"name": NAMES[6]})))
    answer.save(tmp_path)
    loaded = Answer.load(tmp_path)
    assert loaded.rows == answer.rows
    assert loaded.findings == answer.findings
    assert loaded.notes == answer.notes


def test_networks_with_such_names_can_be_reported(parse):
    cards = [ModelCard(name, "student", weights=f"/tmp/{name}", layers=(name,)) for name in NAMES]
    html = Report({}, Meta(models=cards)).html()
    assert r"/tmp/half \ud800" in html
    assert set(HIDDEN.findall(html)) <= {"\n"}
