import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdlens.data.sampling import balanced_indices
from kdlens.errors import DataError

LABELS = st.lists(st.integers(0, 6), min_size=1, max_size=60).map(torch.tensor)


@given(LABELS, st.integers(1, 80), st.integers(0, 2**40))
def test_sorted_unique_and_as_many_as_asked(labels, count, seed):
    chosen = balanced_indices(labels, count, seed=seed)
    assert len(chosen) == min(count, len(labels))
    assert torch.equal(chosen, chosen.unique())
    assert torch.equal(chosen, balanced_indices(labels, count, seed=seed))


@given(LABELS, st.integers(1, 80), st.integers(0, 100))
def test_a_class_gets_less_than_another_only_if_it_has_no_more(labels, count, seed):
    chosen = balanced_indices(labels, count, seed=seed)
    have, got = torch.bincount(labels, minlength=7), torch.bincount(labels[chosen], minlength=7)
    for c in range(7):
        assert got[c] == have[c] or got[c] >= got.max() - 1


@given(LABELS, st.integers(1, 40), st.integers(0, 100))
def test_a_larger_draw_contains_the_smaller(labels, count, seed):
    small, large = balanced_indices(labels, count, seed=seed), balanced_indices(labels, count + 5, seed=seed)
    assert set(small.tolist()) <= set(large.tolist())


def test_seed_matters_and_global_state_does_not():
    labels = torch.arange(1000) % 10
    torch.manual_seed(1)
    first, state = balanced_indices(labels, 100, seed=0), torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(first, balanced_indices(labels, 100, seed=0))
    assert not torch.equal(first, balanced_indices(labels, 100, seed=1))
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


def test_every_image_is_drawn_equally_often():
    labels = torch.tensor([0] * 5 + [1] * 20)
    drawn = torch.bincount(torch.cat([balanced_indices(labels, 8, seed=s) for s in range(2000)]), minlength=25)
    assert (drawn[:5] / 2000 - 4 / 5).abs().max() < 0.05
    assert (drawn[5:] / 2000 - 4 / 20).abs().max() < 0.05


@pytest.mark.parametrize(
    ("labels", "count", "text"),
    [
        (torch.tensor([]).long(), 5, r"shape \(0,\); expected \(n,\)"),
        (torch.zeros(3, 2).long(), 5, r"shape \(3, 2\)"),
        (torch.zeros(3), 5, "dtype torch.float32; expected class indices"),
        (torch.zeros(3).long(), 0, "cannot draw 0 images; ask for at least one"),
    ],
)
def test_bad_input(labels, count, text):
    with pytest.raises(DataError, match=text):
        balanced_indices(labels, count, seed=0)
