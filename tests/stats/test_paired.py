import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdlens.errors import StatisticsError
from kdlens.stats.paired import (
    crossed_difference,
    crossed_mean,
    crossed_p,
    hierarchical_bootstrap,
    in_quadrature,
    sign_flip_p,
    wilson,
)
from kdlens.stats.resampling import Interval, bootstrap_mean, mcnemar


@pytest.mark.parametrize(("k", "n"), [(0, 5), (3, 10), (90, 100), (7, 7)])
def test_wilson_equals_scipy(k, n):
    from scipy.stats import binomtest

    theirs = binomtest(k, n).proportion_ci(method="wilson")
    mine = wilson(k, n)
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert mine.low <= mine.value <= mine.high


@pytest.mark.parametrize(("k", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_impossible_proportions_are_refused(k, n):
    with pytest.raises(StatisticsError, match="0 <= successes <= n"):
        wilson(k, n)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_sign_flips_equal_full_enumeration(sums):
    values = torch.tensor(sums)
    signs = torch.tensor(list(itertools.product([1, -1], repeat=len(sums))))
    totals = (signs * values).sum(1)
    expected = (totals.abs() >= values.sum().abs()).double().mean().item()
    assert sign_flip_p(values) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("up", "down"), [(0, 0), (5, 0), (12, 3), (400, 350), (3000, 2500)])
def test_with_one_seed_sign_flips_are_mcnemar(up, down):
    sums = torch.cat([torch.ones(up), -torch.ones(down), torch.zeros(10)]).long()
    assert sign_flip_p(sums) == pytest.approx(mcnemar(down, up), rel=1e-9)


def test_one_seed_is_the_bootstrap_over_images():
    values = torch.randn(1, 50, generator=torch.Generator().manual_seed(0))
    assert crossed_mean(values, seed=3) == bootstrap_mean(values[0].double(), seed=3)


def test_several_seeds_widen_the_interval_and_copies_of_one_do_not():
    values = torch.randn(3, 200, generator=torch.Generator().manual_seed(0))
    values += torch.tensor([[-0.5], [0.0], [0.5]])
    over_images = bootstrap_mean(values.mean(0).double(), seed=0)
    both = crossed_mean(values, seed=0)
    assert both.high - both.low > 3 * (over_images.high - over_images.low)
    copies = values[:1].expand(3, -1)
    assert crossed_mean(copies, seed=0).low == pytest.approx(crossed_mean(values[:1], seed=0).low, abs=1e-9)


@pytest.mark.parametrize("seeds", [2, 3])
def test_the_crossed_interval_covers_where_seeds_differ_and_the_hierarchical_bootstrap_is_narrower(seeds):
    generator = torch.Generator().manual_seed(0)
    hits = narrower = 0
    for trial in range(60):
        effects = torch.randn(seeds, 1, generator=generator)
        values = effects + torch.randn(1, 100, generator=generator) + torch.randn(seeds, 100, generator=generator)
        crossed = crossed_mean(values, seed=trial)
        resampled = hierarchical_bootstrap(values, seed=trial, draws=100)
        hits += crossed.low <= 0 <= crossed.high
        narrower += resampled.high - resampled.low < crossed.high - crossed.low
    assert hits >= 54  # 95 % of 60 is 57
    assert narrower >= 54


def test_no_change_among_few_images_is_not_certainty():
    few, many = (crossed_difference(torch.zeros(1, n), seed=0) for n in (20, 2000))
    assert few.value == many.value == 0
    assert few.high > 0.05
    assert 0.0005 < many.high < 0.005


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 30), st.integers(1, 3))
def test_a_difference_lies_in_its_interval_and_swapping_turns_its_sign(seed, n, seeds):
    differences = torch.randint(-1, 2, (seeds, n), generator=torch.Generator().manual_seed(seed)).float()
    here, there = crossed_difference(differences, seed=1), crossed_difference(-differences, seed=1)
    assert here.low <= here.value <= here.high
    assert there.value == pytest.approx(-here.value)


def test_an_unknown_interval_over_seeds_adds_nothing():
    images = Interval(1.0, 0.5, 1.5, 9)
    assert in_quadrature(images, Interval(1.0, float("nan"), float("nan"), 1)) == images


def test_exact_p_values_agree_and_are_never_zero():
    for first, second in ((0, 5), (3, 11), (40, 60), (0, 3000)):
        sums = torch.tensor([1] * first + [-1] * second + [0] * 7)
        assert 0 < sign_flip_p(sums) == pytest.approx(mcnemar(first, second))


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_what_is_sure_by_p_is_not_left_open_by_the_interval(seeds):
    generator = torch.Generator().manual_seed(seeds)
    outcomes = set()
    for trial in range(60):
        lean = torch.rand(seeds, 1, generator=generator) * 0.9
        drawn = torch.rand(seeds, 40, generator=generator)
        differences = (drawn < 0.3 * lean + 0.05).double() - (drawn > 0.95).double()
        interval = crossed_difference(differences, seed=trial)
        sure = crossed_p(differences, seed=trial) < 0.05
        assert not sure or interval.low > 0 or interval.high < 0
        outcomes.add((sure, interval.low > 0 or interval.high < 0))
    assert outcomes >= {(True, True), (False, False)}


def test_p_over_seeds_has_both_sources():
    one = torch.cat([torch.ones(1, 12), torch.zeros(1, 18)], 1)
    assert crossed_p(one, seed=0) == sign_flip_p(one[0].long())  # one seed: the exact test
    steady = one.expand(3, -1)
    assert crossed_p(steady, seed=0) >= sign_flip_p(3 * one[0].long())
    unsteady = torch.stack([one[0], 0 * one[0], 0 * one[0]])
    assert crossed_p(unsteady, seed=0) > 0.3 > sign_flip_p(unsteady.sum(0).long())
    assert crossed_p(-unsteady, seed=0) == pytest.approx(crossed_p(unsteady, seed=0), abs=0.05)
    assert crossed_p(torch.zeros(3, 20), seed=0) == 1
