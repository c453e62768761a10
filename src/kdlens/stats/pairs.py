"""Euclidean distances between deep features: from Gram matrices, block by block, accurate near zero, differentiable."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.autograd.function import once_differentiable

from kdlens.errors import StatisticsError

_BLOCK = 2**17  # float64 numbers worked on at once: 1 MB, which stays in the cache
_NEAR = 1e-6  # squared distances below this share of the squared norms are computed again, from differences


def distances(x: Shaped[Tensor, "*lead n d"]) -> Float[Tensor, "*lead n n"]:
    """Euclidean distances between the rows of `x`, float64.

    Features are centred and their Gram matrix is summed in float64 over blocks of columns, so nothing of size n x n x d
    and no float64 copy of `x` ever exists. Differences of nearly equal numbers would spoil short distances; those below
    0.001 of the features' spread are computed again, pair by pair. All are accurate to a relative 1e-9.

    The gradient of a distance of zero is zero, where published code adds a small constant under the root.

    Raises:
        StatisticsError: `x` has fewer than two dimensions, or NaN or infinite entries.

    Example:
        >>> distances(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
        tensor([[0., 5.],
                [5., 0.]], dtype=torch.float64)
    """
    return _Distances.apply(_three_dimensional(x), None).reshape(*x.shape[:-1], x.shape[-2])


def distances_between(x: Shaped[Tensor, "q d"], y: Shaped[Tensor, "m d"]) -> Float[Tensor, "q m"]:
    """Euclidean distances from the rows of `x` to the rows of `y`, float64; accuracy and gradient as in `distances`.

    A row of the result depends on that row of `x` and on `y`, not on the other rows of `x`.

    Raises:
        StatisticsError: shapes that do not fit, or NaN or infinite entries.

    Example:
        >>> distances_between(torch.zeros(1, 2), torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[5., 0.]], dtype=torch.float64)
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise StatisticsError(f"features must be (q, d) and (m, d), got {tuple(x.shape)} and {tuple(y.shape)}")
    return _Distances.apply(x[None], y[None])[0]


class _Distances(torch.autograd.Function):
    """Distances of x (b, n, d) to itself (y None) or to y (b, m, d)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor | None) -> Tensor:
        result = _distances(x, y)
        ctx.save_for_backward(x, y, result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, y, result = ctx.saved_tensors
        weight = torch.where(result > 0, gradients[0] / result, 0)
        if y is None:
            return weighted_differences(weight + weight.mT, x, x), None
        first = weighted_differences(weight, x, y) if ctx.needs_input_grad[0] else None
        second = weighted_differences(weight.mT, y, x) if ctx.needs_input_grad[1] else None
        return first, second


def weighted_differences(weight: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Sum over j of weight_ij (x_i - y_j), block by block; in the dtype of `x`.

    This is what the gradient of any function of distances looks like.

    Args:
        weight: `(b, n, m)` float64.
        x: `(b, n, d)`.
        y: `(b, m, d)`.
    """
    result = torch.empty_like(x)
    total = weight.sum(-1, keepdim=True)
    for columns in _columns(x.shape[0] * (x.shape[1] + y.shape[1]), x.shape[-1]):
        centre = y[..., columns].double().mean(-2, keepdim=True)
        ahead, behind = x[..., columns].double() - centre, y[..., columns].double() - centre
        result[..., columns] = (total * ahead - weight @ behind).to(x.dtype)
    return result


def _distances(x: Tensor, y: Tensor | None) -> Tensor:
    gram, first, second = _gram(x, y)
    if not bool(torch.isfinite(gram).all()):
        _explain_not_finite(x, y)
    norms = first[..., :, None] + second[..., None, :]
    squared = norms - 2 * gram
    near = squared < _NEAR * norms
    if y is None:
        squared.diagonal(dim1=-2, dim2=-1).zero_()
        near = near.triu(1)
    _correct(squared, near, x, x if y is None else y)
    if y is None:
        squared = torch.where(near.mT, squared.mT, squared)
    return squared.clamp_(min=0).sqrt_()


def _gram(x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Inner products of x and y (or of x with itself) about the mean of y, and both squared norms."""
    b, n, d = x.shape
    m = n if y is None else y.shape[1]
    gram = torch.zeros(b, n, m, dtype=torch.float64, device=x.device)
    first, second = gram.new_zeros(b, n), gram.new_zeros(b, m)
    for columns in _columns(b * (n if y is None else n + m), d):
        behind = (x if y is None else y)[..., columns].double()
        centre = behind.mean(-2, keepdim=True)
        behind = behind - centre
        ahead = behind if y is None else x[..., columns].double() - centre
        gram.baddbmm_(ahead, behind.mT)
        if y is not None:
            first += ahead.square().sum(-1)
            second += behind.square().sum(-1)
    if y is None:
        first = second = gram.diagonal(dim1=-2, dim2=-1).clone()
    return gram, first, second


def _correct(squared: Tensor, near: Tensor, x: Tensor, y: Tensor) -> None:
    """Replace the squared distances marked in `near` by sums of squared differences, in place."""
    batch, row, column = near.nonzero(as_tuple=True)
    d = x.shape[-1]
    for pairs in _columns(2 * d, len(row)) if d else ():
        b, i, j = batch[pairs], row[pairs], column[pairs]
        total = squared.new_zeros(len(b))
        for columns in _columns(2 * len(b), d):
            total += (x[b, i, columns].double() - y[b, j, columns].double()).square().sum(-1)
        squared[b, i, j] = total


def _columns(rows: int, length: int) -> Iterator[slice]:
    """Slices of `length` so that `rows` times the slice stays within the block."""
    size = max(1, _BLOCK // max(1, rows))
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def _three_dimensional(x: Tensor) -> Tensor:
    if x.ndim < 2:
        raise StatisticsError(f"features must be (n, d), got {tuple(x.shape)}; for one number each use x[:, None]")
    if x.is_complex():
        raise StatisticsError("features must be real numbers, got complex ones")
    return x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])


def _explain_not_finite(x: Tensor, y: Tensor | None) -> None:
    rows = torch.cat([(~torch.isfinite(part)).any(-1).flatten() for part in (x, y) if part is not None])
    if not bool(rows.any()):
        raise StatisticsError("features are too large: their squares overflow float64; scale them down")
    raise StatisticsError(
        f"features contain NaN or infinite values in {int(rows.sum())} of {len(rows)} rows "
        f"(first: row {int(rows.nonzero()[0])}); check the network and its input"
    )
