"""Figures: drawn from the object API, and nothing is left in pyplot."""

import io
import subprocess
import sys
import warnings

import numpy as np
import pytest

from kdlens.answer import Answer, Notes, Row
from kdlens.report.figures import figure_of


@pytest.mark.parametrize("question", ["accuracy", "unicam", "relevance", "reliance", "class_similarity"])
@pytest.mark.parametrize("report", ["one_student", "three_students"])
def test_every_question_has_a_figure_that_can_be_saved(request, report, question):
    figure = figure_of(request.getfixturevalue(report)[question])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    assert buffer.getvalue().startswith(b"\x89PNG")


def test_values_and_intervals_are_where_they_belong(one_student):
    axes = figure_of(one_student["accuracy"]).axes[0]
    row = one_student["accuracy"].select(metric="top1_gain", seed=None)[0]
    drawn = [line.get_xdata().tolist() for line in axes.lines]
    assert [row.low, row.high] in drawn
    assert [row.value] in drawn


def test_layers_keep_their_order(one_student):
    axes = figure_of(one_student["relevance"]).axes[2]
    distilled = one_student["relevance"].select(metric="rs_distilled", seed=None)
    assert axes.lines[0].get_ydata().tolist() == [row.value for row in distilled]
    assert [t.get_text() for t in axes.get_xticklabels()] == [row.layer for row in distilled]


def test_similarity_matrices_stand_in_their_order_on_one_scale(one_student):
    answer = one_student["class_similarity"]
    axes = [axis for axis in figure_of(answer).axes if axis.images]
    assert [axis.get_title(loc="left") for axis in axes] == ["teacher", "baseline", "kd"]
    shown = axes[2].images[0]
    assert np.allclose(shown.get_array(), answer.arrays["similarity.kd"][::-1, ::-1])
    assert len({axis.images[0].get_clim() for axis in axes}) == 1


def test_maps_share_the_scale_of_the_answer(one_student):
    figure = figure_of(one_student["unicam"])
    bar = next(axes for axes in figure.axes if axes.get_ylabel().startswith("map"))
    assert bar.get_ylim() == pytest.approx((0, float(one_student["unicam"].arrays["scale"])), rel=1e-5)
    assert sum(bool(axes.images) for axes in figure.axes) == 4 * 6


@pytest.mark.parametrize(
    "answer",
    [
        Answer("unknown", Notes("")),
        Answer("unknown", Notes(""), [Row("m", float("nan"))]),
        Answer("unicam", Notes(""), [Row("m", 1.0, model="$x^{")]),
        Answer("relevance", Notes(""), [Row("m", 1.0)]),
        Answer("unicam", Notes(""), arrays={"image": np.zeros((0, 4, 4, 3), np.uint8)}),
    ],
)
def test_there_is_always_a_figure(answer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure_of(answer).savefig(io.BytesIO(), format="svg")


def test_pyplot_is_not_touched():
    code = """
import sys
from kdlens.answer import Answer, Notes, Row
Answer("accuracy", Notes(""), [Row("top1_gain", 1.0, model="kd")]).figure()
sys.exit("matplotlib.pyplot" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
