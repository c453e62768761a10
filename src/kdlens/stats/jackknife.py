"""Leave-one-out for inner products of centred distance matrices, in closed form, and the intervals it gives.

Statistics of pairs, such as a distance correlation, must not be bootstrapped: an image drawn twice is at distance
zero from itself, which looks like dependence and shifts everything upwards. The jackknife leaves images out and never
repeats one. Because centred matrices have zero row sums, all n products follow from one pass over the matrices.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.stats.resampling import Interval
from kdlens.stats.student_t import t_quantile, t_tail


def left_out_products(
    a: Float[Tensor, "n n"], b: Float[Tensor, "n n"], *, unbiased: bool = True
) -> Float[Tensor, " n_plus_1"]:
    """Sum of a_jk b_jk over all images, then the same after leaving out each image and centring anew.

    Args:
        a: U-centred (zero diagonal) or, with `unbiased=False`, double-centred distance matrix.
        b: centred likewise, of the same images.
        unbiased: which centring was used.

    Returns:
        `(1 + n,)`; not divided by the number of pairs, which cancels in every correlation. NaN where too few images
        would be left (3 U-centred ones have no distances of their own).

    Example:
        >>> from kdlens.stats import u_centered_distances
        >>> p = u_centered_distances(torch.tensor([[0.0], [1.0], [3.0], [7.0], [8.0]]))
        >>> shorter = u_centered_distances(torch.tensor([[0.0], [1.0], [3.0], [7.0]]))
        >>> torch.allclose(left_out_products(p, p)[-1], shorter.square().sum())
        True
    """
    n = a.shape[0]
    total = (a * b).sum()
    per_image = (a * b).sum(1)
    if unbiased:
        # The block without image i has row sums -a_ji; taking them out again costs another share of per_image.
        without = total - 2 * per_image * (n - 2) / (n - 3) if n > 4 else torch.full_like(per_image, torch.nan)
    else:
        own = a.diagonal() * b.diagonal()
        m = n - 1
        without = total - 2 * per_image + own - 2 * (per_image - own) / m + own / m**2
    return torch.cat([total[None], without])


def jackknife_interval(value: float, replicates: Float[Tensor, " k"], *, level: float = 0.95) -> Interval:
    """Interval of a statistic from its values with each unit left out, by Student's t; NaN for fewer than 2 units.

    Example:
        >>> x = torch.tensor([1.0, 2.0, 3.0, 4.0])
        >>> interval = jackknife_interval(2.5, (x.sum() - x) / 3)  # of a mean: the ordinary t interval
        >>> round(interval.low, 3), round(interval.high, 3)
        (0.446, 4.554)

    Source: Tukey (1958); for functions of U-statistics, Arvesen, Annals of Mathematical Statistics 40 (1969).
    """
    k = len(replicates)
    error = jackknife_error(replicates)
    if math.isnan(error) or math.isnan(value):
        return Interval(value, math.nan, math.nan, k)
    half = t_quantile((1 + level) / 2, k - 1) * error
    return Interval(value, value - half, value + half, k)


def jackknife_error(replicates: Float[Tensor, " k"]) -> float:
    """Standard error from leave-one-out values; NaN for fewer than 2, or where one is undefined.

    Example:
        >>> x = torch.tensor([1.0, 2.0, 3.0, 4.0])
        >>> round(jackknife_error((x.sum() - x) / 3), 4), round(float(x.std() / 2), 4)
        (0.6455, 0.6455)
    """
    k = len(replicates)
    if k < 2 or not bool(replicates.isfinite().all()):
        return math.nan
    return math.sqrt((k - 1) / k * (replicates - replicates.mean()).square().sum().item())


def difference_p(value: float, replicates: Float[Tensor, " k"]) -> float:
    """Two-sided p-value that a paired difference is zero, by Student's t on its jackknife error; never 0.

    Args:
        value: the difference.
        replicates: the difference with each unit left out.

    Example:
        >>> x = torch.tensor([1.0, 2.0, 3.0, 4.0])
        >>> round(difference_p(2.5, (x.sum() - x) / 3), 4)
        0.0305
    """
    error = jackknife_error(replicates)
    if math.isnan(error) or math.isnan(value):
        return math.nan
    if error == 0:
        return 1.0 if value == 0 else 2.0 ** (1 - len(replicates))  # every unit says the same: the sign test
    return 2 * t_tail(abs(value) / error, len(replicates) - 1)
