"""Cards: small, static, safe, and their styles stay inside."""

import re

import pytest

from kdlens.answer import Answer, Notes, Row
from kdlens.report import Meta, Report
from kdlens.report.notebook import LIMIT, answer_card, report_card

TAGS = set("div style p span ul li figure img figcaption table thead tbody tr th td small".split())  # noqa: SIM905


def cards(report):
    return [report._repr_html_(), *(answer_card(answer) for answer in report.answers.values())]


@pytest.mark.parametrize("name", ["one_student", "three_students", "hostile"])
def test_cards_are_small_and_static(request, parse, name):
    for card in cards(request.getfixturevalue(name)):
        assert len(card.encode()) <= LIMIT == 300_000
        for tag, attributes in parse(card).elements:
            assert tag in TAGS
            assert set(attributes) <= {"id", "class", "src", "alt", "scope"}
            assert attributes.get("src", "data:image/webp").startswith("data:image/webp")


def test_hostile_names_are_text(hostile):
    for card in cards(hostile):
        assert "<script>alert" not in card
        assert "<img src=x" not in card


def test_at_most_six_pictures_with_words(one_student):
    card = answer_card(one_student["unicam"])
    pictures = re.findall(r"<img [^>]*>", card)
    assert len(pictures) == 6
    assert all(re.search(r'alt="[^"]+"', picture) for picture in pictures)


def test_pictures_say_whose_they_are_where_there_are_several_students(one_student, three_students):
    assert "<figcaption>distilled (kd)</figcaption>" in answer_card(three_students["unicam"])
    assert "<figcaption>baseline</figcaption>" in answer_card(three_students["unicam"])
    assert "<figcaption>distilled</figcaption>" in answer_card(one_student["unicam"])


def test_a_card_of_large_pictures_is_small(make_report):
    report = make_report(images=2, size=512)
    assert len(report._repr_html_().encode()) <= LIMIT


def test_every_style_rule_names_its_card(one_student):
    card = answer_card(one_student["accuracy"])
    scope = re.search(r'<div id="(kdlens-[0-9a-f]{12})">', card).group(1)
    style = re.search(r"<style>(.*?)</style>", card, re.DOTALL).group(1)
    for rule in re.findall(r"([^{}]+)\{[^{}]*\}", style.replace("@media (prefers-color-scheme: dark) {", "")):
        for selector in rule.split(","):
            assert selector.strip().startswith(f"#{scope}"), selector
    assert answer_card(one_student["accuracy"]) != card  # another id each time


def test_the_card_says_the_verdict_first(three_students):
    card = report_card(three_students.answers, three_students.meta)
    assert card.index("HELPED") < card.index("INCONCLUSIVE") < card.index("HURT") < card.index("<table")


def test_alerts_and_failures_are_on_the_card():
    card = Report({}, Meta(alerts=["teacher is in train mode"], failed={"unicam": "DataError: no"}))._repr_html_()
    assert "teacher is in train mode" in card
    assert "Where the networks look could not be answered: DataError: no" in card


def test_a_long_table_is_cut():
    answer = Answer("x", Notes(""), [Row("m", float(i), class_name=f"c{i}" * 200) for i in range(3000)])
    card = answer_card(answer)
    assert card.count("<tr>") == 13
    assert "2,988 more rows" in card
    assert len(card.encode()) <= LIMIT


def test_numbers_over_seeds_come_before_single_seeds(three_students):
    table = answer_card(three_students["relevance"])
    assert "Seed" not in re.findall(r'<th scope="col"[^>]*>(.*?)</th>', table)


def test_an_undefined_number_has_its_reason():
    answer = Answer("x", Notes(""), [Row("rho", float("nan"), model="kd", layer="a")])
    answer.say("rho of kd at a is unknown.", kind="alert")
    assert "–<small>rho of kd at a is unknown.</small>" in answer_card(answer)
