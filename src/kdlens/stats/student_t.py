"""Student's t distribution for whole degrees of freedom, so that the core does not need SciPy for one number."""

import math


def t_cdf(t: float, freedom: int) -> float:
    """Probability that Student's t is at most `t`.

    Example:
        >>> round(t_cdf(1.0, 1), 6)
        0.75

    Source: Abramowitz and Stegun (1964), 26.7.3 and 26.7.4.
    """
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2 == 1
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(3 if odd else 2, freedom - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    inside = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return (1 + inside) / 2


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
