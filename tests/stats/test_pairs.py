"""Distances: exact against plain differences, also where a Gram matrix alone would fail."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdlens.errors import StatisticsError
from kdlens.stats import pairs
from kdlens.stats.pairs import distances, distances_between


def plain(x, y):
    return (x.double()[..., :, None, :] - y.double()[..., None, :, :]).square().sum(-1).sqrt()


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@given(st.integers(1, 12), st.integers(1, 40), st.floats(-6, 6), st.floats(-4, 4), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_equal_to_differences(n, d, offset, scale, seed):
    x = random(n, d, seed=seed) * 10**scale + 10**offset
    assert torch.allclose(distances(x), plain(x, x), rtol=1e-8, atol=0)


@pytest.mark.parametrize("gap", [1e-1, 1e-3, 1e-5, 1e-9, 0.0])
def test_near_duplicates_are_accurate(gap):
    """1 - cos would leave no digit of the short distances: they are 1e-18 of the squared norms."""
    x = random(6, 300)
    x = torch.cat([x, x + gap * random(6, 300, seed=1)])
    wanted = plain(x, x)
    assert torch.allclose(distances(x), wanted, rtol=1e-9, atol=0)
    assert torch.allclose(distances_between(x[6:], x[:6]), wanted[6:, :6], rtol=1e-9, atol=0)


def test_two_tight_clusters_far_apart():
    x = torch.cat([random(8, 50) * 1e-6, random(8, 50, seed=1) * 1e-6 + 1e3])
    assert torch.allclose(distances(x), plain(x, x), rtol=1e-9, atol=0)


def test_blocks_of_columns_do_not_change_the_result(monkeypatch):
    x = random(2, 7, 101, dtype=torch.float32)
    x[:, 3] = x[:, 2]  # one pair to be computed again
    whole = distances(x)
    monkeypatch.setattr(pairs, "_BLOCK", 60)
    assert torch.allclose(distances(x), whole, rtol=1e-12, atol=0)
    assert whole[0, 2, 3] == 0


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.bool]
)
def test_every_dtype_is_summed_in_float64(dtype):
    x = (3 * random(5, 9)).to(dtype)
    assert distances(x).dtype == torch.float64
    assert torch.allclose(distances(x), plain(x, x), rtol=1e-9)


def test_leading_dimensions_and_strides():
    x = random(3, 2, 5, 4)
    one_by_one = torch.stack([torch.stack([distances(part) for part in row]) for row in x])
    assert torch.allclose(distances(x), one_by_one, rtol=1e-12)
    assert torch.allclose(distances(x.transpose(-1, -2)), plain(x.mT, x.mT), rtol=1e-9)


def test_rows_do_not_depend_on_other_rows():
    x, y = random(9, 33), random(5, 33, seed=1)
    assert torch.allclose(distances_between(x, y)[4:5], distances_between(x[4:5], y), rtol=1e-13)


@pytest.mark.parametrize("n", [2, 5])
def test_gradients(n):
    x = random(n, 3).requires_grad_()
    y = random(4, 3, seed=1).requires_grad_()
    off_diagonal = ~torch.eye(n, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda x: distances(x)[off_diagonal], x)
    assert torch.autograd.gradcheck(distances_between, (x, y))
    assert torch.autograd.gradcheck(lambda x: distances(torch.stack([x, x * x]))[:, off_diagonal], x)


def test_gradient_is_zero_not_nan_for_duplicates():
    x = torch.tensor([[1.0, 2], [1, 2], [4, 6]], requires_grad=True)
    gradient = torch.autograd.grad(distances(x)[0, 1], x)[0]
    assert torch.equal(gradient, torch.zeros(3, 2))
    gradient = torch.autograd.grad(distances(x).sum(), x)[0]
    assert torch.allclose(gradient[2], 4 * torch.tensor([0.6, 0.8]))
    assert bool(gradient.isfinite().all())


def test_gradient_has_the_dtype_and_nothing_else_is_differentiated():
    x = random(4, 3, dtype=torch.float32).requires_grad_()
    distances_between(x, random(5, 3, dtype=torch.float32)).sum().backward()
    assert x.grad.dtype == torch.float32


def test_no_float64_copy_of_the_features_exists():
    """The largest float64 tensor made is a block of columns, whatever the number of columns."""
    made = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.dtype == torch.float64:
                made.append(result.numel())
            return result

    x = random(8, 2_000_000, dtype=torch.float32)
    with Watch():
        distances(x)
    assert 0 < max(made) <= pairs._BLOCK
    assert x.numel() / 20 > pairs._BLOCK


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_not_finite_is_named(bad):
    x = random(5, 3)
    x[2, 1] = bad
    with pytest.raises(StatisticsError, match="NaN or infinite values in 1 of 5 rows \\(first: row 2\\)"):
        distances(x)
    with pytest.raises(StatisticsError, match="in 1 of 9 rows \\(first: row 6\\)"):
        distances_between(random(4, 3), x)


def test_wrong_shapes_are_named():
    with pytest.raises(StatisticsError, match=r"must be \(n, d\), got \(5,\); for one number each use x\[:, None\]"):
        distances(torch.zeros(5))
    with pytest.raises(StatisticsError, match=r"got \(2, 3\) and \(2, 4\)"):
        distances_between(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(StatisticsError, match="real numbers"):
        distances(torch.zeros(4, 2, dtype=torch.complex64))
    with pytest.raises(StatisticsError, match="overflow float64"):
        distances(random(4, 3) * 1e200)


def test_no_columns():
    assert torch.equal(distances(torch.zeros(4, 0)), torch.zeros(4, 4, dtype=torch.float64))
