"""Distance correlation and its partial forms: how far two sets of features put the same images in the same relation.

All are *squared*, bias-corrected where it says so, and in float64. A correlation that is undefined (constant features,
nothing left after a projection) is NaN with a zero gradient, never a quotient of rounding errors.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from kdlens.errors import StatisticsError
from kdlens.stats.pairs import distances

_NOISE = 1e-11  # a centred matrix this small beside its distances, or a residual beside its origin, is rounding


def u_centered_distances(x: Shaped[Tensor, "*lead n d"]) -> Float[Tensor, "*lead n n"]:
    """U-centred Euclidean distance matrix: rows and columns sum to zero, zero diagonal.

    Memory is O(n^2 + n d); see `kdlens.stats.pairs.distances`. Constant features, and features at equal distances from
    one another (one image per one-hot class), give the zero matrix exactly.

    Args:
        x: features, flattened to one vector an image; any real dtype.

    Raises:
        StatisticsError: fewer than 4 rows, or NaN or infinite entries.

    Example:
        >>> u_centered_distances(torch.tensor([[1.0], [3.0], [2.0], [7.0], [5.0]]))[0]
        tensor([ 0.0000, -0.3333, -1.6667,  1.0000,  1.0000], dtype=torch.float64)

    Source: Szekely and Rizzo, Annals of Statistics 42 (2014), eq. 1.2.
    """
    _at_least(4, x)
    return u_center(distances(x))


def u_center(d: Float[Tensor, "*lead n n"]) -> Float[Tensor, "*lead n n"]:
    """U-centre distance matrices (symmetric, zero diagonal, n >= 3)."""
    n = d.shape[-1]
    rows = d.sum(-1, keepdim=True) / (n - 2)
    total = d.sum((-2, -1), keepdim=True) / ((n - 1) * (n - 2))
    centred = d - rows - rows.mT + total
    noise = centred.abs() <= _NOISE * d.amax((-2, -1), keepdim=True)
    off_diagonal = ~torch.eye(n, dtype=torch.bool, device=d.device)
    flat = (noise | ~off_diagonal).all(-1, keepdim=True).all(-2, keepdim=True)
    return torch.where(off_diagonal & ~flat, centred, 0)


def u_product(a: Float[Tensor, "*lead n n"], b: Float[Tensor, "*lead n n"]) -> Float[Tensor, "*lead"]:
    """Inner product of U-centred matrices, 1 / (n (n - 3)) times the sum over i != j of a_ij b_ij.

    Raises:
        StatisticsError: matrices of different or too small size.

    Source: Szekely and Rizzo (2014), eq. 2.3.
    """
    n = a.shape[-1]
    if b.shape[-1] != n:
        raise StatisticsError(f"both must be about the same images, got {n} and {b.shape[-1]}")
    if n < 4:
        raise StatisticsError(f"distance statistics need at least 4 images, got {n}")
    diagonal = a.diagonal(dim1=-2, dim2=-1) * b.diagonal(dim1=-2, dim2=-1)
    return ((a * b).sum((-2, -1)) - diagonal.sum(-1)) / (n * (n - 3))


def project_out(a: Float[Tensor, "*lead n n"], b: Float[Tensor, "*lead n n"]) -> Float[Tensor, "*lead n n"]:
    """What is left of `a` without its component along `b`: a - <a,b>/<b,b> b; `a` itself where `b` is zero.

    A residual below rounding, as that of a matrix and itself, is the zero matrix exactly.

    Source: Szekely and Rizzo (2014), eq. 3.1.
    """
    norm = u_product(b, b)
    empty = norm <= 0
    share = torch.where(empty, 0, u_product(a, b) / torch.where(empty, 1, norm))
    residual = a - share[..., None, None] * b
    noise = u_product(residual, residual) <= _NOISE**2 * u_product(a, a)
    return torch.where(noise[..., None, None], 0, residual)


def distance_correlation(
    x: Shaped[Tensor, "*lead n d"], y: Shaped[Tensor, "*lead n e"], unbiased: bool = True
) -> Float[Tensor, "*lead"]:
    """Squared distance correlation of two sets of features of the same images.

    Args:
        x: features of n images.
        y: features of the same images in the same order; the dimension may differ.
        unbiased: the bias-corrected statistic, which is 0 on average for independent features and may be negative; or
            the plain one in [0, 1], which for deep features of few images is near 1 whatever they are.

    Returns:
        float64, one number for each leading index; NaN where either side is constant.

    Raises:
        StatisticsError: fewer than 4 images, different numbers of images, NaN or infinite features.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [2.0], [5.0], [3.0]])
        >>> round(distance_correlation(x, 2 * x + 1).item(), 6)
        1.0

    Source: Szekely, Rizzo and Bakirov, Annals of Statistics 35 (2007); bias-corrected: Szekely and Rizzo (2014).
    """
    _same_images(x, y)
    if unbiased:
        return _cosine(u_centered_distances(x), u_centered_distances(y))
    _at_least(4, x)
    return _v_cosine(_double_centered(x), _double_centered(y))


def partial_distance_correlation(
    x: Shaped[Tensor, "*lead n d"], y: Shaped[Tensor, "*lead n e"], given: Shaped[Tensor, "*lead n f"]
) -> Float[Tensor, "*lead"]:
    """Distance correlation of `x` and `y` with the component along `given` taken out of both; squared, bias-corrected.

    Returns:
        float64; NaN where nothing is left of either.

    Raises:
        StatisticsError: as `distance_correlation`.

    Example:
        >>> x = torch.tensor([[0.0, 0], [1, 0], [0, 2], [3, 1], [2, 4]])
        >>> y, z = torch.tensor([[1.0], [3], [2], [7], [5]]), torch.tensor([[0.0], [1], [4], [2], [8]])
        >>> round(partial_distance_correlation(x, y, z).item(), 6)
        0.98184

    Source: Szekely and Rizzo (2014), section 3.
    """
    _same_images(x, y, given)
    third = u_centered_distances(given)
    return _cosine(project_out(u_centered_distances(x), third), project_out(u_centered_distances(y), third))


def semipartial_distance_correlation(
    x: Shaped[Tensor, "*lead n d"], y: Shaped[Tensor, "*lead n e"], given: Shaped[Tensor, "*lead n f"]
) -> Float[Tensor, "*lead"]:
    """R*((x | given), y): distance correlation with `y` of what `x` has beyond `given`; `y` itself stays whole.

    Its size is at most that of the partial correlation. With x a network, given another and y the labels, this is the
    relevance of the first network's unique features.

    Returns:
        float64; NaN where nothing is left of `x` or `y` is constant.

    Raises:
        StatisticsError: as `distance_correlation`.

    Example:
        >>> x = torch.tensor([[0.0, 0], [1, 0], [0, 2], [3, 1], [2, 4]])
        >>> y, z = torch.tensor([[1.0], [3], [2], [7], [5]]), torch.tensor([[0.0], [1], [4], [2], [8]])
        >>> round(semipartial_distance_correlation(x, y, z).item(), 6)
        0.947232

    Source: Zhen et al., ECCV 2022, on Szekely and Rizzo (2014).
    """
    _same_images(x, y, given)
    return _cosine(project_out(u_centered_distances(x), u_centered_distances(given)), u_centered_distances(y))


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return _quotient(u_product(a, b), u_product(a, a) * u_product(b, b))


def _v_cosine(a: Tensor, b: Tensor) -> Tensor:
    def mean(c: Tensor) -> Tensor:
        return c.mean((-2, -1))

    return _quotient(mean(a * b), mean(a * a) * mean(b * b))


def _quotient(product: Tensor, squares: Tensor) -> Tensor:
    """Product over the root of squares; NaN, with gradient zero, where that is 0 / 0."""
    undefined = squares <= 0
    value = product / torch.where(undefined, 1, squares).sqrt()
    return torch.where(undefined, torch.nan, value)


def _double_centered(x: Tensor) -> Tensor:
    d = distances(x)
    centred = d - d.mean(-1, keepdim=True) - d.mean(-2, keepdim=True) + d.mean((-2, -1), keepdim=True)
    return centred


def _at_least(least: int, x: Tensor) -> None:
    if x.ndim >= 2 and x.shape[-2] < least:
        raise StatisticsError(f"distance statistics need at least {least} images, got {x.shape[-2]}")


def _same_images(*features: Tensor) -> None:
    counts = [x.shape[-2] if x.ndim >= 2 else len(x) for x in features]
    if len(set(counts)) > 1:
        raise StatisticsError(f"all features must be of the same images, got {' and '.join(map(str, counts))} rows")
