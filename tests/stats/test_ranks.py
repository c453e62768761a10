import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdlens.stats.false_discovery import benjamini_hochberg
from kdlens.stats.ranks import ranks, standard_ranks

few_values = st.lists(st.integers(0, 5), min_size=2, max_size=12)


@given(few_values)
def test_ranks_with_ties_as_scipy_gives_them(values):
    assert ranks(torch.tensor(values)).tolist() == scipy.stats.rankdata(values).tolist()


@given(st.data(), few_values)
def test_spearman_is_a_sum_of_products(data, first):
    second = data.draw(st.lists(st.integers(0, 5), min_size=len(first), max_size=len(first)))
    found = (standard_ranks(torch.tensor(first)) * standard_ranks(torch.tensor(second))).sum().item()
    if len(set(first)) > 1 and len(set(second)) > 1:
        assert found == pytest.approx(scipy.stats.spearmanr(first, second).statistic, abs=1e-12)
    else:
        assert found == 0


def test_leading_axes_are_batches():
    values = torch.rand(2, 3, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ranks(values)[1, 2], ranks(values[1, 2]))
    assert torch.equal(ranks(values.transpose(0, 1))[2, 1], ranks(values[1, 2]))


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=20))
def test_false_discovery_as_scipy_has_it(p):
    assert benjamini_hochberg(p) == pytest.approx(scipy.stats.false_discovery_control(p).tolist())


def test_an_unknown_p_stays_unknown_and_does_not_count():
    found = benjamini_hochberg([0.01, float("nan"), 0.5])
    assert found[0] == pytest.approx(0.02)
    assert found[1] != found[1]
    assert benjamini_hochberg([]) == []
