"""Axes, strips and drawings by layer: every value lies where its number says."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdlens.answer import Answer, Notes, Row
from kdlens.report.axis import Axis
from kdlens.report.layers import HEIGHT, Line, layer_chart, lines_of, shape_path
from kdlens.report.numbers import MINUS, number
from kdlens.report.places import on_scale
from kdlens.report.rows import measured
from kdlens.report.strips import axis_of, strip
from kdlens.report.svg import Svg

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(st.one_of(NUMBERS, st.none(), st.just(float("nan"))), max_size=8))
def test_an_axis_holds_its_values_between_round_ticks(values):
    axis = Axis.over(values)
    finite = [v for v in values if v is not None and v == v]
    assert all(axis.low - 1e-6 <= v <= axis.high + 1e-6 for v in finite)
    assert 2 <= len(axis.ticks) <= 6
    rounding = 1e-6 * (axis.high - axis.low)
    assert axis.low - rounding <= axis.ticks[0] < axis.ticks[-1] <= axis.high + rounding
    steps = [b - a for a, b in itertools.pairwise(axis.ticks)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-6)
    assert all(0 <= share <= 1 for share, _ in axis.labels())
    texts = [text for _, text in axis.labels()]
    assert len(set(texts)) == len(texts)


@given(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5))
def test_an_axis_keeps_order(a, b):
    low, high = sorted((a, b))
    axis = Axis.over([a, b, 0.0, 1.0])
    assert axis.at(low) <= axis.at(high)


def test_ticks_have_the_digits_they_need():
    def texts(*ends):
        return [text for _, text in Axis.over([], include=ends).labels()]

    assert texts(0, 10) == ["0", "2", "4", "6", "8", "10"]
    assert texts(-0.5, 0.5) == [f"{MINUS}0.4", f"{MINUS}0.2", "0.0", "0.2", "0.4"]
    assert texts(0, 12) == ["0.0", "2.5", "5.0", "7.5", "10.0"]
    assert texts(0, 3000) == ["0", "1,000", "2,000", "3,000"]


def test_there_is_room_around_values_but_not_around_fixed_ends():
    axis = Axis.over([0.0, 4.0], include=[0.0])
    assert axis.low == 0.0
    assert axis.high == pytest.approx(4.2)


@given(st.floats(-1e9, 1e9), st.sampled_from(["", "%", "points", "images", "bits"]))
def test_a_number_can_be_read_back(value, unit):
    read = float(number(value, unit).replace(",", "").replace(MINUS, "-"))
    allowed = {"%": 0.051, "points": 0.051, "images": 0.051}.get(unit, max(0.00051, 0.051 * (abs(value) >= 10)))
    assert abs(read - value) <= max(allowed, 0.051 * abs(value) * (abs(value) < 0.0005))


def test_minus_zero_is_zero():
    assert number(-0.001, "%") == "0.0"
    assert number(-0.0, "points", signed=True) == "0.0"


def gains():
    rows = [
        Row("top1_gain", 4.0, model="kd", seed=0, unit="points", n=100),
        Row("top1_gain", 8.0, model="kd", seed=1, unit="points", n=100),
        Row("top1_gain", 6.0, model="kd", low=2.0, high=10.0, unit="points", n=100, p=0.01),
        Row("top1_gain", -2.0, model="at", low=-4.0, high=0.0, unit="points", n=100),
    ]
    return Answer("accuracy", Notes(""), rows)


def test_a_strip_puts_numbers_in_proportion():
    found = strip(measured(gains(), "top1_gain"), title="Gain", colour=lambda m: "student", zone=1.0)
    low, high = found.axis.low, found.axis.high

    def at(value):
        return pytest.approx(100 * (value - low) / (high - low))

    mark = found.rows[0].marks[0]
    assert (mark.at, mark.low, mark.high) == (at(6), at(2), at(10))
    assert list(mark.seeds) == [at(4), at(8)]
    assert found.zero == at(0)
    assert found.zone == (at(-1), at(1))
    assert found.rows[0].text == "+6.0\N{NO-BREAK SPACE}points"
    assert found.rows[0].detail == "[+2.0, +10.0], p = 0.010, 2 seeds"
    assert found.note == "n = 100 images."


def test_what_numbers_rest_on_stands_in_the_line_where_it_differs():
    rows = [Row("ece", 0.1, model="kd", n=10), Row("ece", 0.2, model="at", n=20)]
    found = strip(measured(Answer("a", Notes(""), rows), "ece"), title="", colour=lambda m: "student")
    assert [row.detail for row in found.rows] == ["10 images", "20 images"]
    assert found.note == ""


def test_chance_far_away_does_not_squeeze_the_values():
    near = [Row("top1", 90.0, model="kd", chance=89.0, low=88.0, high=92.0)]
    far = [Row("top1", 90.0, model="kd", chance=10.0, low=88.0, high=92.0)]
    drawn = [strip(measured(Answer("a", Notes(""), r), "top1"), title="", colour=lambda m: "x") for r in (near, far)]
    assert drawn[0].rows[0].marks[0].chance is not None
    assert drawn[1].rows[0].marks[0].chance is None
    assert drawn[1].axis.low > 50


def test_seeds_without_a_number_over_them_stay_apart():
    rows = [Row("rho", value, model="kd", seed=seed) for seed, value in enumerate((0.1, 0.9))]
    assert [m.label for m in measured(Answer("a", Notes(""), rows), "rho")] == ["kd (seed 0)", "kd (seed 1)"]


def test_seeds_that_stand_apart_are_lines_of_their_own():
    rows = [Row("rs", s / 10, model="kd", layer=layer, seed=s) for s in (0, 1) for layer in ("a", "b")]
    found = lines_of("kd", "student", measured(Answer("x", Notes(""), rows), "rs"))
    assert [(line.name, [p.row.layer for p in line.points]) for line in found] == [
        ("kd (seed 0)", ["a", "b"]),
        ("kd (seed 1)", ["a", "b"]),
    ]


def test_a_row_with_the_suffix_null_is_the_band_of_chance():
    rows = [Row("rs", 0.5, model="kd", layer="a"), Row("rs_null", 0.0, model="kd", layer="a", low=-0.1, high=0.1)]
    assert measured(Answer("a", Notes(""), rows), "rs")[0].null == (-0.1, 0.1)


def lines(values, **columns):
    rows = [Row("rs", v, model="kd", layer=f"layer{i}", **columns) for i, v in enumerate(values)]
    return [Line("kd", "student", measured(Answer("a", Notes(""), rows), "rs"))]


def heights(drawing):
    return [float(y) for y in re.findall(r'd="M[\d.]+,([\d.]+)a', drawing)]


def test_higher_values_are_drawn_higher():
    drawn = heights(layer_chart(lines([0.1, 0.3, 0.2]), title="RS").drawing)
    assert drawn[1] < drawn[2] < drawn[0] < HEIGHT


def test_a_gap_in_the_values_is_a_gap_in_the_line():
    drawing = layer_chart(lines([0.1, float("nan"), 0.2, 0.3]), title="RS").drawing
    assert len(heights(drawing)) == 3
    assert drawing.count('class="join student"') == 1
    assert "layer1 –" in drawing  # said to a screen reader


def test_a_drawing_speaks():
    drawing = layer_chart(lines([0.1, 0.2], low=0.0, high=0.4), title="RS").drawing
    assert 'aria-label="RS. kd: layer0 0.100 [0.000, 0.400], layer1 0.200 [0.000, 0.400]."' in drawing


def test_nothing_to_draw_is_no_chart():
    assert layer_chart([], title="RS") is None
    assert layer_chart([Line("kd", "student", [])], title="RS") is None
    assert strip([], title="", colour=lambda m: "x") is None


def test_many_layers_keep_readable_labels():
    values = [0.1] * 24
    drawing = layer_chart(lines(values), title="RS").drawing
    assert 4 <= drawing.count('text-anchor="middle"') <= 12


def across(drawing):
    return [float(x) for x in re.findall(r'd="M([\d.]+),[\d.]+a', drawing)]


def test_points_stand_at_their_numbers():
    epochs = [0, 1, 2, 4, 6, 10, 20]
    drawing = layer_chart(lines([0.1] * 7), title="RS", at=epochs).drawing
    places = across(drawing)
    steps = [
        (b - a) / (y - x) for (a, b), (x, y) in zip(itertools.pairwise(places), itertools.pairwise(epochs), strict=True)
    ]
    assert min(steps) == pytest.approx(max(steps), rel=0.01)
    assert drawing.count(f'y2="{HEIGHT - 24}" class="zero"') == 7  # a tick each


def test_side_by_side_only_the_order_counts():
    steps = [b - a for a, b in itertools.pairwise(across(layer_chart(lines([0.1] * 7), title="RS").drawing))]
    assert min(steps) == pytest.approx(max(steps), rel=0.01)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=40, unique=True).map(sorted))
def test_names_on_a_scale_never_touch_and_the_ends_are_named(epochs):
    found = on_scale(epochs, [str(e) for e in epochs], 40, 334)
    assert all(40 <= x <= 334 for x in found.at)
    assert list(found.at) == sorted(found.at)
    assert found.names[0][1] == str(epochs[0])
    assert found.names[-1][1] == str(epochs[-1])
    for (x, one, _), (y, other, _) in itertools.pairwise(found.names):
        assert y - x > 3.2 * (len(one) + len(other)) + 4
    assert all(x == found.at[epochs.index(int(name))] for x, name, _ in found.names)


def test_one_moment_stands_in_the_middle():
    assert on_scale([5], ["5"], 0, 100).at == (50,)


def test_the_axis_of_a_difference_has_zero():
    assert axis_of(measured(gains(), "top1_gain")).at(0.0) > 0
    assert axis_of(measured(Answer("a", Notes(""), [Row("top1_gain", 5.0, unit="points")]), "top1_gain")).low <= 0


@pytest.mark.parametrize("shape", ["circle", "square", "diamond", "triangle"])
def test_markers_are_closed_paths_around_their_point(shape):
    assert shape_path(shape, 10, 20, 4).endswith("z")


def test_drawings_escape_everything():
    drawing = Svg(10, 10, '"><script>')
    drawing.text(0, 0, "<b>&", "tick", full='"<i>')
    text = str(drawing.markup())
    assert "<script>" not in text
    assert "<b>" not in text
    assert "<i>" not in text
    assert "&lt;b&gt;&amp;" in text
