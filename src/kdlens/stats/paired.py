"""Proportions and paired differences, of one training seed or of several judged on the same images."""

import math
from statistics import NormalDist

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.errors import StatisticsError
from kdlens.stats.resampling import SMALLEST_P, Interval, bootstrap_mean, fair_coin, seed_interval
from kdlens.stats.student_t import t_tail


def wilson(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """A proportion with Wilson's score interval, which is right near 0 and 1, where the bootstrap has no width.

    Raises:
        StatisticsError: no trial, or more successes than trials.

    Example:
        >>> interval = wilson(10, 10)
        >>> interval.value, round(interval.low, 3), round(interval.high, 3)
        (1.0, 0.722, 1.0)

    Source: Wilson, Journal of the American Statistical Association 22 (1927).
    """
    if not 0 <= successes <= n or n == 0:
        raise StatisticsError(f"a proportion needs 0 <= successes <= n and n > 0, got {successes} of {n}")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, weight = successes / n, z * z / n
    centre = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / n + weight / (4 * n)) / (1 + weight)
    # at 0 and 1 the ends are exact; rounding must not push the share out of its own interval
    return Interval(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)), n)


def sign_flip_p(sums: Int[Tensor, " n"]) -> float:
    """Exact two-sided p-value that paired integer differences are as often up as down.

    Under the null hypothesis each image's difference is equally likely to have either sign. The distribution of the
    total is convolved exactly from the binomials of each size, so there is no Monte-Carlo floor. With differences of
    -1, 0 and 1 (one seed) this is the exact McNemar test; with several seeds each image enters once, with its sum over
    seeds, so that the same image is not counted as several.

    Args:
        sums: for each image the sum over seeds of (right with A) - (right with B).

    Example:
        >>> round(sign_flip_p(torch.tensor([1, 1, 1, 1, 1, 0])), 6)
        0.0625
    """
    sizes = sums.abs()
    distribution = torch.ones(1, dtype=torch.float64)
    for size in range(1, int(sizes.max()) + 1 if len(sizes) else 1):
        count = int((sizes == size).sum())
        steps = torch.zeros(2 * size * count + 1, dtype=torch.float64)
        steps[:: 2 * size] = fair_coin(count)
        distribution = _convolve(distribution, steps)
    total, reach = int(sums.sum().abs()), int(sizes.sum())
    if total == 0:
        return 1.0
    # position of the total T in the distribution is T + reach; the null is symmetric
    return min(1.0, max(SMALLEST_P, 2 * distribution[reach + total :].sum().item()))


def crossed_mean(values: Float[Tensor, "seeds n"], *, seed: int, level: float = 0.95) -> Interval:
    """Mean over training seeds and images, with an interval that covers both.

    The seeds are judged on the same images, so two things could have come out otherwise: the training runs and the
    images. With one seed the interval is the bootstrap over images. With more, the distances to the ends of Student's
    t interval over seeds and of the bootstrap interval over images (of each image's mean over seeds) are added in
    quadrature.

    Args:
        values: one number per seed and image, e.g. the difference of two networks in {-1, 0, 1}.
        seed: of the bootstrap.
        level: coverage of the interval.

    Returns:
        The interval; its `n` counts images.

    Raises:
        StatisticsError: no value, or values that are not finite.

    Example:
        >>> one = crossed_mean(torch.tensor([[0.0, 1.0, 1.0, 0.0]]), seed=0)
        >>> one.value, one.n
        (0.5, 4)

    Source: adding recovered variances of independent sources: Zou and Donner, Statistics in Medicine 27 (2008).
    """
    over_images = bootstrap_mean(values.mean(0, dtype=torch.float64), seed=seed, level=level)
    return in_quadrature(over_images, seed_interval(values.mean(1, dtype=torch.float64).tolist(), level))


def crossed_difference(differences: Float[Tensor, "seeds n"], *, seed: int, level: float = 0.95) -> Interval:
    """Mean difference of right and wrong answers, in {-1, 0, 1} for each seed and image, as `crossed_mean`.

    One image that got better and one that got worse are added before resampling: where no answer changed among few
    images the plain bootstrap would claim a width of zero.

    Example:
        >>> same = crossed_difference(torch.zeros(1, 100), seed=0)
        >>> same.value, same.low < -0.005, same.high > 0.005
        (0.0, True, True)

    Source: the added pair is the Laplace adjustment of Bonett and Price, J. Educ. Behav. Stat. 37 (2012).
    """
    value = differences.mean(dtype=torch.float64).item()
    pair = torch.tensor([[1.0, -1.0]], dtype=torch.float64).expand(len(differences), 2)
    found = crossed_mean(torch.cat([differences.double(), pair], 1), seed=seed, level=level)
    return Interval(value, min(found.low, value), max(found.high, value), differences.shape[1])


def crossed_p(differences: Float[Tensor, "seeds n"], *, seed: int) -> float:
    """Two-sided p-value of `crossed_difference`, which says for certain nothing that its interval leaves open.

    With one seed this is the exact test over images (`sign_flip_p`). With more, the training runs could have come out
    otherwise, too: p is 1 - level of the interval that reaches 0, where its part over images widens with the level as
    a normal distribution's and its part over seeds as Student's t; but never less than the exact test over images
    gives.

    Args:
        differences: in {-1, 0, 1} for each seed and image.
        seed: of the bootstrap, as given to `crossed_difference`.

    Example:
        >>> steady = torch.ones(3, 20)
        >>> unsteady = torch.cat([torch.ones(1, 20), torch.zeros(2, 20)])
        >>> crossed_p(steady, seed=0) < 0.001, crossed_p(unsteady, seed=0) > 0.05
        (True, True)
    """
    seeds = len(differences)
    over_images = sign_flip_p(differences.sum(0).long())
    if seeds == 1:
        return over_images
    pair = torch.tensor([[1.0, -1.0]], dtype=torch.float64).expand(seeds, 2)
    values = torch.cat([differences.double(), pair], 1)
    mean = bootstrap_mean(values.mean(0), seed=seed)
    size = abs(mean.value)
    toward_zero = mean.value - mean.low if mean.value > 0 else mean.high - mean.value
    normal = NormalDist()
    images = max(toward_zero, SMALLEST_P) / normal.inv_cdf(0.975)
    runs = values.mean(1).std().item() / math.sqrt(seeds)
    if runs == 0:
        return max(over_images, 2 * normal.cdf(-size / images))
    low, high = 0.0, size / runs
    for _ in range(50):  # the t at which the interval reaches 0
        t = (low + high) / 2
        reach = math.hypot(normal.inv_cdf(t_tail(t, seeds - 1)) * images, t * runs)
        low, high = (t, high) if reach < size else (low, t)
    return max(over_images, 2 * t_tail(low, seeds - 1))


def hierarchical_bootstrap(
    values: Float[Tensor, "seeds n"], *, seed: int, draws: int = 1000, level: float = 0.95
) -> Interval:
    """Mean over seeds and images, both drawn anew with repetition in every resample.

    Well known, but with two or three seeds that differ it is too narrow (88 to 95 % instead of 95 % in simulations),
    because few seeds drawn from few seeds hardly vary; `crossed_mean` is not (97 % or more), and decides.

    Example:
        >>> interval = hierarchical_bootstrap(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), seed=0)
        >>> interval.value, interval.low, interval.high
        (0.5, 0.0, 1.0)
    """
    seeds, n = values.shape
    generator = torch.Generator().manual_seed(seed)
    values = values.double()
    means = torch.empty(draws, dtype=torch.float64)
    for i in range(draws):
        weights = torch.bincount(torch.randint(n, (n,), generator=generator), minlength=n).double()
        means[i] = (values @ weights)[torch.randint(seeds, (seeds,), generator=generator)].mean() / n
    low, high = means.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)).tolist()
    return Interval(values.mean().item(), low, high, n)


def in_quadrature(over_images: Interval, over_seeds: Interval) -> Interval:
    """Join the intervals of one mean due to two independent sources; an unknown one (NaN) adds nothing.

    Example:
        >>> joined = in_quadrature(Interval(0.0, -3.0, 3.0, 100), Interval(0.0, -4.0, 4.0, 3))
        >>> joined.low, joined.high, joined.n
        (-5.0, 5.0, 100)
    """
    if math.isnan(over_seeds.low):
        return over_images
    value = over_images.value
    down = math.hypot(value - over_images.low, value - over_seeds.low)
    up = math.hypot(over_images.high - value, over_seeds.high - value)
    return Interval(value, value - down, value + up, over_images.n)


def _convolve(a: Tensor, b: Tensor) -> Tensor:
    short, long = sorted((a, b), key=len)
    return torch.nn.functional.conv1d(long[None, None], short.flip(0)[None, None], padding=len(short) - 1)[0, 0]
