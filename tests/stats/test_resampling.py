"""Intervals and p-values against SciPy, closed forms, and their own coverage."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from kdlens.errors import StatisticsError
from kdlens.stats.distance import distance_correlation
from kdlens.stats.resampling import (
    bootstrap,
    bootstrap_mean,
    holm,
    mcnemar,
    permutation_p,
    permutations,
    seed_interval,
)


@given(st.integers(0, 300), st.integers(0, 300))
@settings(max_examples=60, deadline=None)
def test_mcnemar_equals_the_binomial_test(first, second):
    expected = 1.0 if first + second == 0 else scipy_stats.binomtest(first, first + second).pvalue
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-8)
    assert mcnemar(first, second) == mcnemar(second, first)


def test_mcnemar_refuses_negative_counts():
    with pytest.raises(StatisticsError, match="must not be negative, got -1 and 3"):
        mcnemar(-1, 3)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_holm_is_monotone_and_never_smaller(p):
    adjusted = holm(p)
    assert all(0 <= a <= 1 and a >= min(1.0, q) for a, q in zip(adjusted, p, strict=True))
    pairs = sorted(zip(p, adjusted, strict=True))
    assert all(a[1] <= b[1] for a, b in itertools.pairwise(pairs))


def test_holm_leaves_out_nan():
    assert holm([0.01, math.nan, 0.04])[0] == pytest.approx(0.02)
    assert math.isnan(holm([0.01, math.nan, 0.04])[1])


def test_permutation_p_counts_ties_and_the_observed_value():
    null = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert permutation_p(2.0, null) == pytest.approx(3 / 5)
    assert permutation_p(2.0, null, larger=False) == pytest.approx(4 / 5)
    assert permutation_p(9.0, null) == pytest.approx(1 / 5)
    assert permutation_p(2.0 + 1e-12, null) == pytest.approx(3 / 5)  # a tie up to rounding
    assert math.isnan(permutation_p(math.nan, null))
    with pytest.raises(StatisticsError, match="at least one draw"):
        permutation_p(1.0, torch.empty(0))


def test_permutation_p_is_uniform_under_the_null():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2000, 40, generator=generator)
    p = torch.tensor([permutation_p(row[0].item(), row[1:]) for row in values])
    assert (p <= 0.05).double().mean().item() == pytest.approx(0.05, abs=0.015)


def test_permutations_are_permutations_and_follow_the_seed():
    first = permutations(7, 50, seed=3)
    assert first.shape == (50, 7)
    assert bool((first.sort(1).values == torch.arange(7)).all())
    assert torch.equal(first, permutations(7, 50, seed=3))
    assert not torch.equal(first, permutations(7, 50, seed=4))
    assert permutations(7, 0, seed=3).shape == (0, 7)


def test_random_state_is_left_alone():
    before = torch.random.get_rng_state()
    permutations(9, 4, seed=1)
    bootstrap_mean(torch.arange(9.0), seed=1)
    bootstrap(lambda i: i.double().mean().item(), 9, seed=1, draws=10)
    assert torch.equal(before, torch.random.get_rng_state())


def test_bootstrap_mean_has_its_coverage():
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(400, 60, generator=generator) + 3
    intervals = [bootstrap_mean(sample, seed=i, draws=400) for i, sample in enumerate(samples)]
    covered = sum(i.low <= 3 <= i.high for i in intervals) / len(intervals)
    assert 0.90 <= covered <= 0.98


def test_bootstrap_mean_does_not_depend_on_memory_chunks(monkeypatch):
    values = torch.randn(50, generator=torch.Generator().manual_seed(0))
    whole = bootstrap_mean(values, seed=2, draws=101)
    monkeypatch.setattr("kdlens.stats.resampling._MOST_DRAWN", 137)
    parts = bootstrap_mean(values, seed=2, draws=101)
    assert parts.low == pytest.approx(whole.low, abs=1e-12)
    assert parts.high == pytest.approx(whole.high, abs=1e-12)


def test_bootstrap_agrees_with_bootstrap_mean():
    values = torch.randn(80, generator=torch.Generator().manual_seed(5)).double()
    mean = bootstrap_mean(values, seed=0, draws=3000)
    for half in (False, True):
        general = bootstrap(lambda i: values[i].mean().item(), 80, seed=1, draws=3000, half=half)
        assert general.value == pytest.approx(mean.value)
        assert general.high - general.low == pytest.approx(mean.high - mean.low, rel=0.12)


def test_half_samples_do_not_invent_dependence():
    """Copies of a unit are at distance zero in both samples; drawing with repetition takes that for correlation."""
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(60, 3, generator=generator), torch.randn(60, 3, generator=generator)
    statistic = lambda i: distance_correlation(x[i], y[i]).item()  # noqa: E731
    value = distance_correlation(x, y).item()
    with_copies = bootstrap(statistic, 60, seed=0, draws=200)
    without = bootstrap(statistic, 60, seed=0, draws=200, half=True)
    assert (without.low + without.high) / 2 == pytest.approx(value, abs=0.05)
    assert with_copies.low > value  # the whole interval lies above the estimate


def test_too_few_values():
    one = bootstrap_mean(torch.tensor([2.0]), seed=0)
    assert one.value == 2
    assert math.isnan(one.low)
    assert math.isnan(seed_interval([1.0]).high)
    with pytest.raises(StatisticsError, match="at least one value"):
        bootstrap_mean(torch.empty(0), seed=0)
    with pytest.raises(StatisticsError, match="1 of 2 values are NaN"):
        bootstrap_mean(torch.tensor([1.0, math.nan]), seed=0)
    with pytest.raises(StatisticsError, match="at least one unit"):
        bootstrap(lambda i: 0.0, 0, seed=0)
    with pytest.raises(StatisticsError, match="at least one seed"):
        seed_interval([])


def test_seed_interval_equals_scipy():
    values = [0.4, 0.9, 0.35, 0.7]
    expected = scipy_stats.t.interval(0.95, 3, loc=scipy_stats.tmean(values), scale=scipy_stats.sem(values))
    assert seed_interval(values).low == pytest.approx(expected[0], abs=1e-10)
    assert seed_interval(values).high == pytest.approx(expected[1], abs=1e-10)
