"""Student's t distribution for whole degrees of freedom, so that the core does not need SciPy for one number."""

import math
import sys

_SMALLEST = sys.float_info.min
_MOST_TERMS = 100_000  # about the root of the degrees of freedom are needed


def t_tail(t: float, freedom: int) -> float:
    """Probability that Student's t exceeds `t >= 0`: relative error below 1e-9 however small it is, and never 0.

    Example:
        >>> f"{t_tail(50.0, 20):.4e}"
        '8.7667e-23'

    Source: Abramowitz and Stegun (1964), 26.7.1 and, for the incomplete beta function, 26.5.8.
    """
    a, b = freedom / 2, 0.5
    length = math.hypot(math.sqrt(freedom), t)
    cosine, sine = math.sqrt(freedom) / length, t / length
    if cosine == 0:
        return _SMALLEST
    x, logs = cosine * cosine, math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + freedom * math.log(cosine)
    scale = sine * math.exp(logs)
    if x < (a + 1) / (a + b + 2):
        return max(_SMALLEST, scale / (a * _beta_fraction(x, a, b)) / 2)
    return (1 - scale / (b * _beta_fraction(sine * sine, b, a))) / 2


def t_cdf(t: float, freedom: int) -> float:
    """Probability that Student's t is at most `t`.

    Example:
        >>> round(t_cdf(1.0, 1), 6)
        0.75
    """
    return t_tail(-t, freedom) if t < 0 else 1 - t_tail(t, freedom)


def t_quantile(probability: float, freedom: int) -> float:
    """The `t` that Student's t exceeds with probability `1 - probability`.

    Raises:
        ValueError: a probability outside (0, 1) or no degree of freedom.

    Example:
        >>> round(t_quantile(0.975, 4), 4)
        2.7764
    """
    if not 0 < probability < 1 or freedom < 1:
        raise ValueError(f"need 0 < probability < 1 and freedom >= 1, got {probability} and {freedom}")
    low, high = -math.pi / 2, math.pi / 2  # bisection in the angle, which is bounded
    for _ in range(80):
        middle = (low + high) / 2
        if t_cdf(math.tan(middle) * math.sqrt(freedom), freedom) < probability:
            low = middle
        else:
            high = middle
    return math.tan((low + high) / 2) * math.sqrt(freedom)


def _beta_fraction(x: float, a: float, b: float) -> float:
    """The continued fraction 1 + d_1 / (1 + d_2 / (1 + ...)) of the incomplete beta function, evaluated forwards."""
    value, above, below = 1.0, 1.0, 0.0
    for k in range(1, _MOST_TERMS):
        m = k // 2
        if k % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        above, below = 1 + term / above, 1 / (1 + term * below)
        value *= above * below
        if abs(above * below - 1) < 1e-14:
            break
    return value
