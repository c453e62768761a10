"""How many of the effects that are named may be false: the false discovery rate."""

import math
from collections.abc import Sequence


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Adjusted p-values for several tests, in the order given; NaN stays NaN and is not counted.

    Of all tests whose adjusted value is below q, on average at most a share q is a false alarm. This is what a list of
    findings needs; where not one of them may be false, take `holm`.

    Example:
        >>> [round(p, 6) for p in benjamini_hochberg([0.01, 0.04, 0.03, 0.5])]
        [0.04, 0.053333, 0.053333, 0.5]

    Source: Benjamini and Hochberg, Journal of the Royal Statistical Society B 57 (1995); independent or positively
    dependent tests: Benjamini and Yekutieli, Annals of Statistics 29 (2001).
    """
    order = sorted((i for i, value in enumerate(p) if not math.isnan(value)), key=lambda i: p[i], reverse=True)
    adjusted, lowest = [math.nan] * len(p), 1.0
    for rank, i in zip(range(len(order), 0, -1), order, strict=True):
        lowest = min(lowest, len(order) / rank * p[i])
        adjusted[i] = lowest
    return adjusted
