"""The page as a file: safe, whole, small, and every link inside it leads somewhere."""

import base64
import hashlib
import io
import itertools
import json
import re
import time

import numpy as np
import pytest
from PIL import Image

from kdlens.answer import Answer, Notes, Row
from kdlens.report import Meta, Report
from kdlens.report.images import colours
from kdlens.report.page import LIMIT, render_at
from kdlens.report.setting import LEVELS

TAGS = set(
    """meta img input html head title style body a header nav main footer section article div p span h1 h2 h3 h4 ol ul
    li dl dt dd button fieldset legend label select option table caption thead tbody tfoot tr th td figure figcaption
    details summary pre code bdi b output time script svg g line rect circle path text use defs""".split()  # noqa: SIM905
)
ATTRIBUTES = set(
    """lang charset http-equiv content name class href id tabindex type aria-pressed aria-label aria-labelledby
    aria-hidden aria-sort role viewbox width height cx cy r d x y x1 y1 x2 y2 overflow text-anchor stroke-width
    datetime scope src alt decoding checked value min max for data-rows data-short data-sort data-place data-class
    data-download data-question hidden preserveaspectratio aria-valuetext""".split()  # noqa: SIM905 - a list of fifty strings reads worse
)


@pytest.fixture(scope="module", params=["one_student", "three_students", "hostile"])
def html(request):
    return request.getfixturevalue(request.param).html()


@pytest.fixture(scope="module")
def page(html, parse):
    return parse(html)


def test_only_known_elements_and_attributes(page):
    for tag, attributes in page.elements:
        assert tag in TAGS, tag
        for name in attributes:
            assert name in ATTRIBUTES or re.fullmatch(r"data-gain-\d+", name), (tag, name)


def test_nothing_points_outside(page):
    for _tag, attributes in page.elements:
        for name in ("src", "href"):
            if name in attributes:
                assert attributes[name].startswith(("data:image/webp;base64,", "#")), attributes[name][:80]
    for style in page.text["style"]:
        assert set(re.findall(r"url\((.{22})", style)) <= {"data:image/webp;base64"}
        assert "@import" not in style


def test_hostile_names_stay_text(hostile, parse):
    html = hostile.html()
    page = parse(html)
    assert len(page.all("script")) == 2
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    for name in ("<script>alert(1)</script>", "{{7*7}}", "فستان سهرة طويل", "👩🏽‍🚀🧥"):
        assert name in "".join(page.text["bdi"])
    assert "<script>alert" not in html
    assert "<" not in page.text["script"][0]  # nothing in the numbers can end their element


def test_the_policy_names_exactly_this_style_and_this_script(page):
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    style, script = page.text["style"][0], page.text["script"][-1]

    def digest(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": digest(style),
        "script-src": digest(script),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert not any("style" in attributes for _, attributes in page.elements)


def test_ids_are_unique_and_every_link_has_a_target(page):
    assert len(page.ids) == len(set(page.ids))
    targets = set(page.ids)
    for tag, attributes in page.elements:
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in targets, (tag, attributes["href"])
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in targets
        for name in attributes.get("data-rows", "").split():
            assert name in targets


def test_every_sentence_links_to_its_evidence(one_student, parse):
    html = one_student.html()
    page = parse(html)
    links = [a for a in page.all("a") if a.get("class") == "evidence"]
    findings = [f for answer in one_student.answers.values() for f in answer.findings]
    assert len(links) >= len(findings)
    verdict = next(a for a in links if a["href"].startswith("#row-accuracy-"))
    row = one_student["accuracy"].rows[int(verdict["href"].rpartition("-")[2]) - 1]
    assert row.metric == "top1_gain"


def test_every_picture_has_words(page):
    assert page.all("img")
    for image in page.all("img"):
        assert "alt" in image
        assert image["alt"] or image.get("class") == "cold"  # the negative part lies over a map that has words
    for drawing in page.all("svg"):
        assert drawing.get("aria-hidden") == "true" or drawing.get("aria-label") or "x" in drawing


def test_headings_descend_by_one(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_tables_say_what_they_are(page):
    assert len(page.all("caption")) == len(page.all("table"))
    assert all("scope" in head for head in page.all("th"))


def test_the_numbers_are_in_the_page(three_students, parse):
    page = parse(three_students.html())
    content = json.loads(page.text["script"][0])
    answer = content["answers"]["accuracy"]
    gains = [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]
    expected = three_students["accuracy"].value("top1_gain", model="fitnet", seed=1)
    found = [g["value"] for g in gains if (g["metric"], g["model"], g["seed"]) == ("top1_gain", "fitnet", 1)]
    assert found == [pytest.approx(expected)]
    assert content["meta"]["command"] == "kdlens explain study.yaml -o out/"


def test_sections_stand_in_their_order(one_student, parse):
    sections = [s["id"] for s in parse(one_student.html()).all("section")]
    assert sections == [
        "verdict", "alerts", "models", "unicam", "relevance", "accuracy", "reliance", "knowledge", "dynamics",
        "dissection", "class-similarity", "conflict", "data", "methods", "making",
    ]  # fmt: skip


@pytest.mark.parametrize(("word", "tone"), [("HELPED", "good"), ("HURT", "bad"), ("NO EFFECT", "neutral")])
def test_the_verdict_is_a_badge(word, tone):
    answer = Answer("accuracy", Notes("Did it help?"))
    i = answer.add(Row("top1_gain", 2.06, model="kd", low=1.4, high=2.8, unit="points"))
    answer.say(f"{word}: kd gains.", rows=[i], kind="verdict", tone=tone)
    html = Report({"accuracy": answer}).html()
    assert f'<span class="badge">{word}</span>' in html
    assert '<span class="amount">+2.1\N{NO-BREAK SPACE}points</span>' in html
    assert "kd gains." in html
    assert f"{word}: kd gains." not in html.split("<script")[0]


def test_a_verdict_without_a_badge_word_is_shown_whole():
    answer = Answer("dynamics", Notes("When did it learn?"))
    i = answer.add(Row("epoch", 12.0, model="kd"))
    answer.say("kd learned at epoch 12.", rows=[i], kind="verdict")
    assert "kd learned at epoch 12." in Report({"dynamics": answer}).html()


def test_failed_questions_are_shown_first_and_in_red(parse):
    html = Report({}, Meta(failed={"relevance": "DataError: <empty>"})).html()
    page = parse(html)
    assert {"class": "failed", "id": "relevance", "aria-labelledby": "relevance-title"} in page.all("section")
    assert "DataError: &lt;empty&gt;" in html
    assert html.index("could not be answered") < html.index('id="relevance"')
    assert any(a.get("class") == "evidence" and a["href"] == "#relevance" for a in page.all("a"))


def test_alerts_from_outside_come_with_a_link(parse):
    html = Report({}, Meta(alerts=["teacher is in train mode"])).html()
    assert "teacher is in train mode" in html
    assert any(a.get("class") == "evidence" and a["href"] == "#models" for a in parse(html).all("a"))


def test_an_empty_report_is_a_page(parse):
    page = parse(Report({}).html())
    assert "No question of this report gives a verdict." in "".join(page.text["p"])


def test_a_number_that_is_undefined_is_a_dash_with_its_reason():
    answer = Answer("dynamics", Notes("When?"))
    answer.add(Row("rho", float("nan"), model="kd", layer="layer1"))
    j = answer.add(Row("rho", float("nan"), model="kd", layer="layer2"))
    answer.add(Row("rho", 0.5, model="kd", layer="layer3"))
    answer.say("rho of kd at layer1 is unknown: the path has no length.", kind="alert")
    answer.say("All points are the same.", rows=[j])
    html = Report({"dynamics": answer}).html()
    cells = re.findall(r'<span class="missing">–<span class="detail">(.*?)</span>', html)
    assert cells == ["rho of kd at layer1 is unknown: the path has no length.", "All points are the same."]
    assert "nan" not in html.split("<script")[0].lower().split("</style>")[1]


def test_unknown_questions_need_no_code(parse):
    answer = Answer("my-question_2", Notes("What is new?", "By counting.", "More is more.", "Never.", ("Me, 2026",)))
    for layer in ("a", "b", "c"):
        answer.add(Row("count", 3.0, model="kd", layer=layer, low=1.0, high=5.0, unit="bits"))
    answer.add(Row("total", 9.0, model="kd"))
    answer.say("There are nine.", rows=[3])
    html = Report({"my-question_2": answer}).html()
    page = parse(html)
    assert "my-question-2" in page.ids
    assert "My question 2" in html
    assert "There are nine." in html
    for text in ("By counting.", "More is more.", "Never.", "Me, 2026"):
        assert text in html
    assert sum(d.get("class") == "chart" for d in page.all("svg")) == 1


@pytest.mark.parametrize(
    "missing",
    ["mask", "scale", "map.teacher", "map.student.kd", "map.baseline", "gain.kd", "correct.kd", "label", "index"],
)
def test_any_array_may_be_missing(make_report, missing, parse):
    report = make_report(images=3)
    del report["unicam"].arrays[missing]
    page = parse(report.html())
    assert sum(image.get("class", "").startswith("picture") for image in page.all("img")) == 3
    assert not report.html().count("could not be drawn")


def test_without_maps_or_images_there_is_no_gallery(make_report):
    for names in (["image"], [name for name in make_report(images=2)["unicam"].arrays if name.startswith("map.")]):
        report = make_report(images=2)
        for name in names:
            del report["unicam"].arrays[name]
        assert "There are no maps to show." in report.html()


def test_all_maps_are_drawn_on_the_scale_of_the_answer(make_report):
    report = make_report(images=1)
    found = report["unicam"].arrays
    for name in [name for name in found if name.startswith("map.")]:
        found[name][:] = 0.5
    found["map.teacher"][:], found["scale"] = 1.0, np.float32(1.0)
    sources = re.findall(r'<img class="warm" src="data:image/webp;base64,([^"]+)"', report.html())
    teacher, *others = [np.asarray(Image.open(io.BytesIO(base64.b64decode(s)))).mean((0, 1)) for s in sources]
    assert len({tuple(colour) for colour in others}) == 1
    assert teacher[:3] == pytest.approx(colours()[255][:3], abs=4)
    assert others[0][:3] == pytest.approx(colours()[128][:3], abs=4)


def test_undefined_and_empty_maps_are_labelled(make_report):
    report = make_report(images=3)
    maps = report["unicam"].arrays["map.distilled.kd"]
    maps[0], maps[1] = np.nan, -1.0
    html = report.html()
    assert 'aria-hidden="true">undefined</span><span class="vh">Distilled map of kd' in html
    assert 'aria-hidden="true">nothing</span><span class="vh">Distilled map of kd' in html


def test_five_megabytes_hold_a_large_report(make_report, parse):
    report = make_report(("kd", "fitnet", "attention-transfer"), seeds=3, images=48, size=224)
    html = report.html()
    assert len(html.encode()) <= 4_000_000
    assert sum(image.get("class", "").startswith("picture") for image in parse(html).all("img")) == 48


def test_detail_gives_way_to_size(make_report, monkeypatch):
    report = make_report(images=30, size=128)
    sizes = [len(render_at(report.answers, report.meta, detail).encode()) for detail in LEVELS]
    assert sizes == sorted(sizes, reverse=True)
    monkeypatch.setattr("kdlens.report.page.LIMIT", sizes[2])
    assert abs(len(report.html().encode()) - sizes[2]) < 10
    assert LIMIT == 5_000_000


def test_a_table_of_a_thousand_classes_is_cut_but_not_its_evidence(parse):
    answer = Answer("accuracy", Notes("Did it help?"))
    for i in range(6000):
        answer.add(
            Row("class_gain", float(i % 7), model="kd", compared_with="baseline", class_name=f"c{i}", unit="points")
        )
    answer.say("One class gains.", rows=[5999])
    page = parse(html := Report({"accuracy": answer}).html())
    rows = [name for name in page.ids if name.startswith("row-")]
    assert len(rows) == 1500
    assert "row-accuracy-6000" in rows
    assert "4,500 more rows" in html
    assert len(json.loads(page.text["script"][0])["answers"]["accuracy"]["rows"]) == 6000
    assert len(html.encode()) < LIMIT


def test_a_typical_report_takes_less_than_five_seconds(three_students):
    start = time.process_time()
    three_students.html()
    assert time.process_time() - start < 5


def test_the_same_report_is_the_same_page(one_student):
    assert one_student.html() == one_student.html()
