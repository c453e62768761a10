import math

import pytest
import torch

from kdlens.stats.distance import u_center
from kdlens.stats.jackknife import difference_p, jackknife_interval, left_out_products
from kdlens.stats.pairs import distances


def double_center(d):
    return d - d.mean(0) - d.mean(1, keepdim=True) + d.mean()


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("n", [5, 6, 20])
def test_closed_form_equals_leaving_images_out(n, unbiased):
    generator = torch.Generator().manual_seed(n)
    center = u_center if unbiased else double_center
    x, y = (distances(torch.randn(n, 3, generator=generator)) for _ in range(2))
    slow = [(center(x) * center(y)).sum()]
    for i in range(n):
        keep = torch.arange(n) != i
        slow.append((center(x[keep][:, keep]) * center(y[keep][:, keep])).sum())
    torch.testing.assert_close(left_out_products(center(x), center(y), unbiased=unbiased), torch.stack(slow))


def test_four_images_leave_too_few():
    x = u_center(distances(torch.randn(4, 2, generator=torch.Generator().manual_seed(0))))
    found = left_out_products(x, x)
    assert math.isfinite(found[0])
    assert found[1:].isnan().all()
    assert math.isnan(jackknife_interval(0.5, found[1:]).low)


def test_of_a_mean_it_is_students_interval():
    from scipy.stats import t

    x = torch.randn(12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    interval = jackknife_interval(x.mean().item(), (x.sum() - x) / 11)
    theirs = t.interval(0.95, 11, loc=x.mean().item(), scale=(x.std() / math.sqrt(12)).item())
    assert (interval.low, interval.high) == pytest.approx(theirs)


def test_p_and_interval_agree():
    x = torch.randn(30, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.3
    replicates = (x.sum() - x) / 29
    interval = jackknife_interval(x.mean().item(), replicates)
    assert (difference_p(x.mean().item(), replicates) < 0.05) == (interval.low > 0)
    assert difference_p(0.0, torch.zeros(5)) == 1.0


def test_no_p_value_is_zero_however_sure():
    x = 5 + 0.01 * torch.randn(300, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    replicates = (x.sum() - x) / 299
    assert 0 < difference_p(x.mean().item(), replicates) < 1e-100
    assert difference_p(0.25, torch.full((6,), 0.25)) == 2 * 0.5**6  # six equal differences: the sign test
