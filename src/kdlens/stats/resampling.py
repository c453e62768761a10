"""Intervals and p-values without distributional assumptions: bootstrap, permutation, exact paired test."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.errors import StatisticsError
from kdlens.stats.student_t import t_quantile

SMALLEST_P = sys.float_info.min
"""What stands for an exact p-value too small for a float, since none is 0."""

_MOST_DRAWN = 4_000_000  # indices held at once: 32 MB


@dataclass(frozen=True)
class Interval:
    """A number with its interval; `low` and `high` are NaN where `n` is too small to tell.

    Attributes:
        value: the estimate on the whole sample.
        low: lower end.
        high: upper end.
        n: how many units (images, seeds) it rests on.
    """

    value: float
    low: float
    high: float
    n: int


def bootstrap_mean(values: Float[Tensor, " n"], *, seed: int, draws: int = 2000, level: float = 0.95) -> Interval:
    """Mean with its percentile bootstrap interval over the n values.

    Args:
        values: one number per unit, any real dtype.
        seed: of the resampling; the global random state is not touched.
        draws: resamples.
        level: coverage of the interval.

    Raises:
        StatisticsError: no value, or a value that is not finite.

    Example:
        >>> interval = bootstrap_mean(torch.tensor([1.0, 2.0, 3.0, 4.0]), seed=0)
        >>> interval.value, interval.n, 1.0 <= interval.low < 2.5 < interval.high <= 4.0
        (2.5, 4, True)
    """
    values = _checked(values)
    n = len(values)
    mean = values.mean().item()
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    generator = torch.Generator().manual_seed(seed)
    size = max(1, _MOST_DRAWN // n)
    parts = [
        values[torch.randint(n, (min(size, draws - start), n), generator=generator)].mean(1)
        for start in range(0, draws, size)
    ]
    return percentile_interval(mean, torch.cat(parts), n, level)


def percentile_interval(value: float, drawn: Float[Tensor, " draws"], n: int, level: float = 0.95) -> Interval:
    """Interval between the percentiles of resampled values; unknown ends (NaN) where the value or all draws are NaN.

    Args:
        value: the estimate on the whole sample.
        drawn: the same on resamples; NaN and infinite ones are left out.
        n: size of the sample.
        level: coverage of the interval.

    Example:
        >>> percentile_interval(5.0, torch.arange(0.0, 11.0), 20, level=0.5)
        Interval(value=5.0, low=2.5, high=7.5, n=20)
    """
    drawn = drawn.detach().double()
    drawn = drawn[drawn.isfinite()]
    if not math.isfinite(value) or len(drawn) == 0:
        return Interval(value, math.nan, math.nan, n)
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64, device=drawn.device)
    low, high = torch.quantile(drawn, ends).tolist()
    return Interval(value, low, high, n)


def bootstrap(
    statistic: Callable[[Tensor], float],
    n: int,
    *,
    seed: int,
    draws: int = 500,
    level: float = 0.95,
    half: bool = False,
) -> Interval:
    """Any statistic of a sample with its percentile bootstrap interval.

    A statistic of *pairs*, such as a distance correlation, must not see the same unit twice: the zero distance between
    the copies looks like dependence and shifts the interval upwards. `half=True` draws half of the units without
    repetition instead (the delete-half jackknife), which has the variance of the full sample and no such bias.

    Args:
        statistic: takes indices `(m,)` into the sample and returns a number; called first with all indices in order.
        n: size of the sample.
        seed: of the resampling.
        draws: resamples.
        level: coverage of the interval.
        half: draw n // 2 units without repetition, rather than n with.

    Raises:
        StatisticsError: `n` is not positive.

    Example:
        >>> values = torch.arange(20.0)
        >>> bootstrap(lambda index: values[index].median().item(), 20, seed=0).value
        9.0

    Source: Efron, Annals of Statistics 7 (1979); half samples: Shao and Wu, Annals of Statistics 17 (1989).
    """
    if n < 1:
        raise StatisticsError("an interval needs at least one unit, got none")
    value = float(statistic(torch.arange(n)))
    if n < (8 if half else 2):
        return Interval(value, math.nan, math.nan, n)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.empty(draws, dtype=torch.float64)
    for i in range(draws):
        index = torch.randperm(n, generator=generator)[: n // 2] if half else None
        drawn[i] = statistic(torch.randint(n, (n,), generator=generator) if index is None else index)
    return percentile_interval(value, drawn, n, level)


def permutations(n: int, draws: int, *, seed: int) -> Int[Tensor, "draws n"]:
    """Random orders of `n` units, int64 on the CPU.

    Example:
        >>> permutations(5, 3, seed=0).sort(dim=1).values.unique(dim=0)
        tensor([[0, 1, 2, 3, 4]])
    """
    generator = torch.Generator().manual_seed(seed)
    if draws == 0:
        return torch.empty(0, n, dtype=torch.int64)
    return torch.stack([torch.randperm(n, generator=generator) for _ in range(draws)])


def permutation_p(observed: float, null: Float[Tensor, " draws"], *, larger: bool = True) -> float:
    """One-sided permutation p-value, (1 + number at least as extreme) / (1 + draws); never zero.

    Values that equal the observed one up to rounding count as extreme. NaN in gives NaN out.

    Args:
        observed: the statistic as measured.
        null: the statistic with the labels permuted.
        larger: whether large values speak against the null hypothesis (else small ones).

    Raises:
        StatisticsError: no draw.

    Example:
        >>> permutation_p(3.0, torch.tensor([1.0, 2.0, 3.0]))
        0.5

    Source: Phipson and Smyth, Statistical Applications in Genetics and Molecular Biology 9 (2010).
    """
    null = null.detach().double().flatten().cpu()
    if len(null) == 0:
        raise StatisticsError("a permutation p-value needs at least one draw")
    if not math.isfinite(observed) or not bool(null.isfinite().all()):
        return math.nan
    rounding = 1e-9 * max(abs(observed), null.abs().max().item())
    extreme = null >= observed - rounding if larger else null <= observed + rounding
    return (1 + int(extreme.sum())) / (1 + len(null))


def mcnemar(first_only: int, second_only: int) -> float:
    """Exact two-sided p-value that two classifiers, judged on the same images, are equally often right.

    Args:
        first_only: images only the first gets right.
        second_only: images only the second gets right.

    Raises:
        StatisticsError: a negative count.

    Example:
        >>> round(mcnemar(0, 5), 6)
        0.0625

    Source: McNemar, Psychometrika 12 (1947), in its exact binomial form.
    """
    if first_only < 0 or second_only < 0:
        raise StatisticsError(f"counts must not be negative, got {first_only} and {second_only}")
    n, least = first_only + second_only, min(first_only, second_only)
    if first_only == second_only:
        return 1.0
    return min(1.0, max(SMALLEST_P, 2 * fair_coin(n)[: least + 1].sum().item()))


def fair_coin(n: int) -> Float[Tensor, " n_plus_1"]:
    """Probabilities of 0..n heads in n throws of a fair coin, float64.

    Example:
        >>> fair_coin(2).round(decimals=9).tolist()
        [0.25, 0.5, 0.25]
    """
    k = torch.arange(n + 1, dtype=torch.float64)
    return (math.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1) - n * math.log(2)).exp()


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of p-values for several tests, in the order given; NaN stays NaN and is not counted.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    order = sorted((i for i, value in enumerate(p) if not math.isnan(value)), key=lambda i: p[i])
    adjusted = [math.nan] * len(p)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p[i]))
        adjusted[i] = highest
    return adjusted


def seed_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean over training seeds with Student's t interval; with one seed the interval is unknown (NaN).

    Raises:
        StatisticsError: no value.

    Example:
        >>> interval = seed_interval([1.0, 2.0, 3.0])
        >>> interval.value, round(interval.low, 3), round(interval.high, 3), interval.n
        (2.0, -0.484, 4.484, 3)
    """
    n = len(values)
    if n == 0:
        raise StatisticsError("an interval over seeds needs at least one seed, got none")
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
    half = t_quantile((1 + level) / 2, n - 1) * spread
    return Interval(mean, mean - half, mean + half, n)


def _checked(values: Tensor) -> Tensor:
    values = values.detach().double().flatten().cpu()
    if len(values) == 0:
        raise StatisticsError("an interval needs at least one value, got none")
    if not bool(values.isfinite().all()):
        raise StatisticsError(
            f"{int((~values.isfinite()).sum())} of {len(values)} values are NaN or infinite; leave them out and say so"
        )
    return values
