import math

import pytest

from kdlens.stats.student_t import t_cdf, t_quantile, t_tail

FREEDOMS = (1, 2, 3, 4, 7, 20, 127, 300, 2000, 50_000)


@pytest.mark.parametrize("freedom", FREEDOMS)
def test_the_tail_is_scipys_far_out_too(freedom):
    from scipy.stats import t

    for x in (0.0, 1e-9, 0.3, 1.0, 2.0, 5.0, 9.0, 30.0, 300.0):
        expected = float(t.sf(x, freedom))
        if expected > 1e-280:
            assert t_tail(x, freedom) == pytest.approx(expected, rel=1e-8)
        assert t_cdf(x, freedom) == pytest.approx(1 - expected)
        assert t_cdf(-x, freedom) == t_tail(x, freedom) or x == 0


@pytest.mark.parametrize("freedom", FREEDOMS)
def test_a_probability_is_never_zero_or_negative_and_falls(freedom):
    tails = [t_tail(10.0**k, freedom) for k in range(-3, 301, 10)]
    assert all(tail > 0 for tail in [*tails, t_tail(math.inf, freedom)])
    assert tails == sorted(tails, reverse=True)


@pytest.mark.parametrize("freedom", FREEDOMS)
def test_quantiles_are_scipys(freedom):
    from scipy.stats import t

    for probability in (0.001, 0.025, 0.5, 0.975, 0.9999):
        assert t_quantile(probability, freedom) == pytest.approx(float(t.ppf(probability, freedom)), rel=1e-7, abs=1e-9)


def test_what_is_no_probability_is_refused():
    with pytest.raises(ValueError, match="freedom >= 1"):
        t_quantile(0.5, 0)
    with pytest.raises(ValueError, match="0 < probability < 1"):
        t_quantile(1.0, 3)
