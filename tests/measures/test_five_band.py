"""The five-band score by hand, against a slow loop, and what it must not depend on."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import kdlens
from kdlens.errors import ConfigError, DataError
from kdlens.measures.five_band import SCORES, SOFT, bands, five_band

HEAT = torch.tensor([[1, 0.5, 0], [-0.5, 0.2, 0.9]])
TRUTH = torch.tensor([[0.9, 0.9, 0], [0, 0.4, 0.9]])


def values(step):
    return [getattr(step, name).value for name in SCORES]


def test_by_hand_hard_and_softest():
    assert bands(HEAT).tolist() == [[2, 1, 0], [-1, 0, 2]]
    assert bands(TRUTH).tolist() == [[2, 2, 0], [0, 1, 2]]
    found = kdlens.measures.five_band(HEAT, TRUTH, softening=SOFT)
    assert len(found.steps) == 56
    assert values(found[0]) == pytest.approx([1 / 2, 2 / 3, 1 / 2, 2 / 3])
    assert found[-1].softening == pytest.approx(0.275)
    assert values(found[-1]) == pytest.approx([5 / 6, 1, 4 / 5, 1 / 2])


def test_each_band_has_its_upper_end():
    at = torch.tensor([-0.7, -0.3, 0.3, 0.7], dtype=torch.float64)
    assert bands(at).tolist() == [-2, -1, 0, 1]
    assert bands(at + 1e-9).tolist() == [-1, 0, 1, 2]
    assert bands(torch.tensor([0.45, -0.45]), softening=0.275).tolist() == [2, -2]


def slowly(heat, truth, softening):
    """The description, one pixel after the other."""

    def band(x, by):
        for name, end in zip((-2, -1, 0, 1), (-0.7 + by, -0.3 + by, 0.3 - by, 0.7 - by), strict=True):
            if x <= end:
                return name
        return 2

    largest = np.abs(heat).max()
    heat = heat / largest if largest > 0 else heat
    count = dict.fromkeys(("tp", "fp", "tn", "fn", "right"), 0)
    for h, t in zip(heat.ravel(), truth.ravel(), strict=True):
        b, b0 = band(h, softening), band(t, 0)
        count["right"] += b == b0
        count["tp"] += b != 0 and b0 != 0 and b == b0
        count["fp"] += (b != 0 and b0 == 0) or (b != 0 and b0 != 0 and b != b0)
        count["tn"] += b == 0 and b0 == 0
        count["fn"] += b == 0 and b0 != 0
    tp, fp, tn, fn = (count[name] for name in ("tp", "fp", "tn", "fn"))

    def over(a, b):
        return a / b if b else math.nan

    return [count["right"] / heat.size, over(tp, tp + fn), over(tp, tp + fp), over(fp, fp + tn)]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 0.29), st.integers(1, 3))
def test_as_the_description_reads(seed, softening, channels):
    rng = np.random.default_rng(seed)
    heat = rng.normal(size=(3, channels, 4, 5))
    truth = rng.choice([0, 0.4, 0.9], size=(3, 4, 5))
    found = five_band(torch.from_numpy(heat), torch.from_numpy(truth), softening=softening)[0]
    for i in range(3):
        expected = slowly(heat[i].sum(0), truth[i], softening)
        assert [rates[i].item() for rates in found.images] == pytest.approx(expected, nan_ok=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-3, 1e3))
def test_neither_the_scale_of_heat_nor_the_order_of_pixels_counts(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    heat = torch.randn(4, 6, 6, generator=generator, dtype=torch.float64)
    truth = torch.tensor([0, 0.4, 0.9])[torch.randint(3, (4, 6, 6), generator=generator)]
    order = torch.randperm(36, generator=generator)
    plain = five_band(heat, truth)[0]
    moved = five_band(
        heat.flatten(1)[:, order].view(4, 6, 6) * scale, truth.flatten(1)[:, order].view(4, 6, 6), softening=0.0
    )[0]
    assert values(moved) == pytest.approx(values(plain), nan_ok=True)
    assert moved.chance == pytest.approx(plain.chance, nan_ok=True)


def test_the_truth_itself_is_perfect_and_its_negative_is_not():
    truth = torch.tensor([0, 0.4, 0.9]).repeat(2, 4, 1)
    assert values(five_band(truth * 0.9, truth * 1.0)[0]) == pytest.approx([1, 1, 1, 0])
    wrong = five_band(-truth, truth)[0]
    assert values(wrong)[2:] == pytest.approx([0, 2 / 3])


def test_heat_of_zeros_stays_zero_and_is_counted():
    found = five_band(torch.zeros(2, 3, 4, 4), torch.full((2, 4, 4), 0.4))
    assert found.empty == 2
    assert values(found[0])[:2] == [0, 0]
    assert found[0].precision.n == 0
    assert math.isnan(found[0].precision.value)


def test_an_image_without_object_has_no_recall():
    truth = torch.stack([torch.zeros(3, 3), torch.full((3, 3), 0.9)])
    found = five_band(torch.ones(2, 3, 3), truth)[0]
    assert (found.recall.n, found.accuracy.n) == (1, 2)
    assert found.accuracy.value == 0.5


def test_chance_is_the_mean_over_shuffles():
    generator = torch.Generator().manual_seed(0)
    heat, truth = torch.rand(1, 8, 8, generator=generator), torch.zeros(1, 8, 8)
    truth[0, 2:6, 2:6], truth[0, 3:5, 3:5] = 0.4, 0.9
    shuffled = [
        five_band(heat.flatten(1)[:, torch.randperm(64, generator=generator)].view(1, 8, 8), truth)[0]
        for _ in range(400)
    ]
    chance = five_band(heat, truth)[0].chance
    for name in SCORES:
        mean = sum(getattr(step, name).value for step in shuffled) / 400
        assert mean == pytest.approx(chance[name], abs=0.02)


def test_the_interval_covers_the_mean_and_the_table_has_every_step():
    heat, truth = torch.randn(20, 5, 5), torch.full((20, 5, 5), 0.4)
    found = five_band(heat, truth, softening=[0, 0.1])
    assert found[0].accuracy.low < found[0].accuracy.value < found[0].accuracy.high
    frame = found.to_frame()
    assert frame.shape == (8, 7)
    assert set(frame.score) == set(SCORES)


@pytest.mark.parametrize(
    ("heat", "truth", "message"),
    [
        (torch.zeros(2, 4, 4), torch.zeros(2, 8, 8), "bring the heat to the truth's height and width"),
        (torch.zeros(3, 1, 4, 4), torch.zeros(2, 4, 4), "bring the heat"),
        (torch.zeros(4), torch.zeros(4), "expected"),
        (torch.zeros(0, 4, 4), torch.zeros(0, 4, 4), "at least one image"),
        (torch.full((1, 2, 2), math.nan), torch.zeros(1, 2, 2), "the heat holds NaN"),
        (torch.zeros(1, 2, 2), torch.full((1, 2, 2), math.inf), "the truth holds NaN or infinite"),
    ],
)
def test_what_does_not_fit_is_refused(heat, truth, message):
    with pytest.raises(DataError, match=message) as refused:
        five_band(heat, truth)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("softening", [-0.1, 0.3, math.nan, [0, 2], []])
def test_a_softening_out_of_range_is_refused(softening):
    with pytest.raises(ConfigError, match="softening"):
        five_band(HEAT, TRUTH, softening=softening)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.float64])
def test_heat_of_any_type_will_do(dtype):
    heat = torch.tensor([[[4, 0], [-2, 1]]])
    truth = torch.tensor([[[0.9, 0], [0, 0.4]]])
    assert values(five_band(heat.to(dtype), truth)[0]) == values(five_band(heat.float(), truth)[0])
