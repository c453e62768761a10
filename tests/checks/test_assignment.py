import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdlens.checks.assignment import best_assignment
from kdlens.errors import StatisticsError


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(0, 10_000), st.booleans())
def test_it_is_the_best_of_all(k, seed, ties):
    generator = torch.Generator().manual_seed(seed)
    gain = torch.randn(k, k, generator=generator)
    if ties:
        gain = gain.round()
    found = best_assignment(gain)
    assert sorted(found.tolist()) == list(range(k))
    best = max(gain[range(k), list(order)].sum().item() for order in itertools.permutations(range(k)))
    assert gain[range(k), found].sum().item() == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("k", [20, 100])
def test_it_equals_scipy(k):
    from scipy.optimize import linear_sum_assignment

    gain = torch.randint(0, 50, (k, k), generator=torch.Generator().manual_seed(k)).double()
    rows, columns = linear_sum_assignment(gain.numpy(), maximize=True)
    assert gain[range(k), best_assignment(gain)].sum() == gain[rows, columns].sum()


def test_other_matrices_are_refused():
    with pytest.raises(StatisticsError, match=r"square matrix of finite numbers, got \(2, 3\)"):
        best_assignment(torch.zeros(2, 3))
    with pytest.raises(StatisticsError):
        best_assignment(torch.full((2, 2), torch.nan))
