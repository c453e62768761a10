import re

import numpy as np
import pytest

from kdlens.answer import Answer, Notes, Row
from kdlens.report import DataCard, Meta, ModelCard, Report
from kdlens.report.cells import cells_of, squares
from kdlens.report.setting import Setting

CARDS = (ModelCard("baseline", "baseline"), ModelCard("kd", "student"), ModelCard("fitnet", "student"))
META = Meta(title="Points", models=CARDS, data=DataCard(name="scenes", n=100, classes=("cat", "dog"), size=(3, 32, 32)))
METRICS = ("points_on_object", "points_off_object", "points_share")


def pictures(k=2, grid=4):
    rng = np.random.default_rng(0)
    mask = np.zeros((k, 32, 32), np.uint8)
    mask[:, 8:24, 8:24] = 1
    foreground = np.zeros((k, grid, grid), np.uint8)
    foreground[:, 1:3, 1:3] = 1
    image = rng.integers(0, 255, (k, 32, 32, 3)).astype(np.uint8)
    return {"image": image, "mask": mask, "foreground": foreground, "label": np.arange(k), "index": np.arange(k) + 10}


def knowledge(students=("kd",)):
    """Points at two layers, and examples in which the second image of the baseline was left out."""
    arrays = pictures()
    rows = []
    for at, name in enumerate(("baseline", *students)):
        kept = np.zeros((2, 4, 4), np.uint8)
        kept[:, 1, : 2 + at] = 1
        arrays[f"kept.{name}"] = kept
        arrays[f"counted.{name}"] = np.array([1, 0 if name == "baseline" else 1], np.uint8)
        for layer in ("layer1", "layer2"):
            rows += [Row(m, 5.0 + at, model=name, layer=layer, low=4.0, high=7.0, n=50) for m in METRICS]
            if at:
                rows += [Row(f"{m}_gain", 1.0, model=name, compared_with="baseline", layer=layer) for m in METRICS]
        for metric in METRICS:
            arrays[f"sweep.{metric}.{name}"] = np.array([[5.0, 4.0, 6.0], [1.0, 0.5, 1.5]])
    arrays["sweep.thresholds"] = np.array([0.1, 0.2])
    return Answer("knowledge", Notes("How much?", options={"threshold": 0.2}), rows, arrays)


def dynamics():
    """Three checkpoints."""
    answer = knowledge()
    arrays = pictures() | {"epochs": np.array([0, 2, 5])}
    for name in ("baseline", "kd"):
        kept = np.zeros((3, 2, 4, 4), np.uint8)
        kept[1:, :, 1, 1] = 1
        kept[2, :, 0, 0] = 1
        arrays[f"kept.{name}"] = kept
        arrays[f"path.per_step.{name}"] = np.array([0.0, 0.5, 0.75])
        for metric in METRICS:
            arrays[f"curve.{metric}.{name}"] = np.array([[0.0, 0.0, 0.0], [1.0, 0.5, 1.5], [1.0, 0.5, 1.5]])
    rows = [Row("rho", 80.0, model=name, layer="layer2", low=70.0, high=90.0, unit="%") for name in ("baseline", "kd")]
    rows += [Row("rho_gain", 0.0, model="kd", compared_with="baseline", layer="layer2", unit="points")]
    return Answer("dynamics", Notes("When?", options={"path": "per_step"}), rows + answer.rows, arrays)


def setting(answer):
    return Setting(META, {answer.question: answer}, {answer.question: answer.question})


def test_squares_are_in_units_of_cells():
    assert squares(np.array([[1, 0], [0, 1]])) == "M0,0h1v1h-1zM1,1h1v1h-1z"


def test_points_on_and_off_the_object_are_told_apart():
    answer = knowledge()
    drawn = cells_of(answer, setting(answer), title="", note="")
    baseline, kd = drawn.items[0].watched
    assert (baseline.css, kd.css, baseline.student, kd.student) == ("baseline", "student", None, 0)
    assert kd.frames[0].caption == "2 points on the object, 1 off it"
    assert kd.frames[0].on == "M1,1h1v1h-1zM2,1h1v1h-1z"
    assert kd.frames[0].off == "M0.5,1l.5,.5l-.5,.5l-.5-.5z"
    assert drawn.items[0].label == "cat"
    assert drawn.moments == ()


def test_an_image_that_was_left_out_says_so():
    answer = knowledge()
    drawn = cells_of(answer, setting(answer), title="", note="")
    assert drawn.items[1].watched[0].rejected
    assert "left out</span>" in Report({"knowledge": answer}, META).html()


def test_a_film_has_a_frame_a_checkpoint():
    answer = dynamics()
    drawn = cells_of(answer, setting(answer), title="", note="")
    assert drawn.moments == ("epoch 0", "epoch 2", "epoch 5")
    captions = [frame.caption for frame in drawn.items[0].watched[1].frames]
    assert captions == [
        f"{text} off it"
        for text in ("0 points on the object, 0", "1 point on the object, 0", "1 point on the object, 1")
    ]


def test_without_pictures_there_are_numbers():
    for answer in (knowledge(), dynamics()):
        answer.arrays.clear()
        html = Report({answer.question: answer}, META).html()
        assert "could not be drawn" not in html
        assert 'class="cells-box' not in html


def test_knowledge_is_drawn_by_layer_and_by_threshold_for_every_student():
    html = Report({"knowledge": knowledge(("kd", "fitnet"))}, META).html()
    assert html.count(">Points on the object</bdi></h4>") == 2
    assert html.count("Points off the object, by threshold</bdi>") == 2
    assert "elsewhere 0.2." in html
    assert len(re.findall(r'class="watched of of-1"', html)) == 2


def test_the_teacher_is_drawn_beside_the_others():
    answer = knowledge()
    answer.rows += [Row(m, 9.0, model="teacher", layer=layer) for m in METRICS for layer in ("a", "b")]
    answer.arrays["kept.teacher"] = answer.arrays["kept.kd"]
    for metric in METRICS:
        answer.arrays[f"sweep.{metric}.teacher"] = answer.arrays[f"sweep.{metric}.kd"]
    drawn = cells_of(answer, setting(answer), title="", note="")
    assert [(w.name, w.css, w.student) for w in drawn.items[0].watched] == [
        ("teacher", "teacher", None),
        ("baseline", "baseline", None),
        ("kd", "student", 0),
    ]
    html = Report({"knowledge": answer}, META).html()
    assert html.count("teacher: a 9") == 3  # in every drawing by layer
    assert html.count("; teacher: 0.1 5") == 3  # in every curve over thresholds


def test_dynamics_are_drawn_over_the_epochs():
    html = Report({"dynamics": dynamics()}, META).html()
    for title in ("Points on the object, over training", "Path of the weights, over training", "What was known when"):
        assert title in html
    assert html.count('<li class="now">') == 4
    assert "Points that stayed (rho)" in html


def test_moments_that_are_no_epochs_are_not_called_so():
    answer = dynamics()
    answer.arrays["checkpoints"] = answer.arrays.pop("epochs") + 1
    drawn = cells_of(answer, setting(answer), title="", note="")
    assert drawn.moments == ("checkpoint 1", "checkpoint 3", "checkpoint 6")
    section = re.search(
        r'<section[^>]*id="dynamics".*?</section>', Report({"dynamics": answer}, META).html(), re.DOTALL
    )
    assert "how many epochs lie between them is not known" in section.group()
    assert not re.search(r"epoch \d|[Bb]y epochs\.", section.group())
    assert "Path of the weights, over training" in section.group()


def test_epochs_are_as_far_apart_as_they_are():
    html = Report({"dynamics": dynamics()}, META).html()
    drawn = re.search(r'aria-label="Path of the weights, over training[^>]*>.*?</svg>', html, re.DOTALL).group()
    first, second, third = (float(x) for x in re.findall(r'd="M([\d.]+),[\d.]+a[^>]*student', drawn))
    assert (third - second) / (second - first) == pytest.approx(3 / 2, rel=0.01)  # epochs 0, 2 and 5


def test_figures_can_be_drawn():
    for answer in (knowledge(), dynamics()):
        assert answer.figure().axes


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    place = tmp_path_factory.mktemp("film") / "report.html"
    Report({"dynamics": dynamics()}, META).save(place)
    return place.as_uri()


@pytest.mark.browser
def test_the_slider_moves_all_films_together(browser, film):
    page = browser.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(film)
    shown = page.locator(".filmed .frames > li:visible")
    assert shown.count() == 4
    assert page.locator(".when").text_content() == "epoch 5"
    page.locator(".moment").focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator(".when").text_content() == "epoch 2"
    assert shown.count() == 4
    assert all("1 point on the object, 0 off it" in text for text in shown.all_text_contents())
    page.keyboard.press("Home")
    assert page.locator(".moment").get_attribute("aria-valuetext") == "epoch 0"
    page.locator(".play").click()
    page.locator(".play", has_text="Stop").wait_for()
    page.locator(".when", has_text="epoch 5").wait_for()
    page.locator(".play", has_text="Play").wait_for()
    assert errors == []
    page.close()


@pytest.mark.browser
def test_without_javascript_all_moments_stand_beside_each_other(browser, film):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(film)
    assert page.locator(".filmed .frames > li:visible").count() == 12
    assert not page.locator(".player").is_visible()
    context.close()
