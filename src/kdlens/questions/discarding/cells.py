"""Cells: the parts of an input that share one noise level. Pixels under a grid, positions of a sequence, or tokens."""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.errors import DataError

Grid = int | tuple[int, int] | Literal["tokens"]


class Cells:
    """Which cell every coordinate of an input belongs to.

    A grid is laid over the last two axes of an image `(C, H, W)` or over the last axis of a sequence `(C, L)` or vector
    `(L,)`, as nearest-neighbour upsampling of the grid would have it: where the size is no multiple, some cells are a
    pixel wider. All channels share a cell. `"tokens"` makes every token of `(T, d)` one cell.

    Args:
        input_shape: shape of one input, without the batch.
        grid: cells along each axis.

    Attributes:
        shape: `(gh, gw)`, `(g,)` or `(T,)`.

    Raises:
        DataError: more cells than pixels, or a grid that does not fit the kind of input.

    Example:
        >>> cells = Cells((3, 8, 8), 4)
        >>> cells.total(torch.ones(1, 3, 8, 8))[0, 0]
        tensor([12., 12., 12., 12.])
    """

    def __init__(self, input_shape: tuple[int, ...], grid: Grid) -> None:
        self._ndim = len(input_shape)
        self._axes, counts = _axes_and_counts(input_shape, grid)
        for axis, count in zip(self._axes, counts, strict=True):
            if not 1 <= count <= input_shape[axis]:
                raise DataError(
                    f"a grid of {count} cells does not fit {input_shape[axis]} pixels; "
                    f"give 1 to {input_shape[axis]} cells a side"
                )
        self.shape = counts
        self._index = [_owners(input_shape[a], count) for a, count in zip(self._axes, counts, strict=True)]
        self._one_hot = [torch.nn.functional.one_hot(i, c).float() for i, c in zip(self._index, counts, strict=True)]

    @property
    def count(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    def spread(self, values: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Give every coordinate the value of its cell; axes that share a cell have length 1, to broadcast."""
        for axis, index in enumerate(self._index):
            values = values.index_select(axis + 1, index.to(values.device))
        shape = [len(values)] + [1] * self._ndim
        for axis, index in zip(self._axes, self._index, strict=True):
            shape[axis + 1] = len(index)
        return values.reshape(shape)

    def total(self, values: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Sum over the coordinates of every cell."""
        others = [axis + 1 for axis in range(self._ndim) if axis not in self._axes]
        if others:
            values = values.sum(others)
        for axis, one_hot in enumerate(self._one_hot):
            values = torch.tensordot(values, one_hot.to(values), dims=([axis + 1], [0])).movedim(-1, axis + 1)
        return values


def _axes_and_counts(shape: tuple[int, ...], grid: Grid) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if grid == "tokens":
        if len(shape) != 2:
            raise DataError(f'grid="tokens" needs inputs (n, tokens, d), got (n, {", ".join(map(str, shape))})')
        return (0,), (shape[0],)
    if len(shape) == 3:
        rows, columns = (grid, grid) if isinstance(grid, int) else grid
        return (1, 2), (int(rows), int(columns))
    if len(shape) in (1, 2) and isinstance(grid, int):
        return (len(shape) - 1,), (grid,)
    raise DataError(
        f"a grid of {grid} does not fit inputs of shape (n, {', '.join(map(str, shape))}); give one number for "
        'sequences, one or two for images, "tokens" for (n, tokens, d)'
    )


def _owners(size: int, count: int) -> Int[Tensor, " size"]:
    return torch.arange(size) * count // size
