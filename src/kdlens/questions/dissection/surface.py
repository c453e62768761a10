"""Where enlarged activation maps lie above their thresholds, found without enlarging all of them.

Between the centres of four neighbouring activations the enlarged map lies between their least and their largest. So
only the cells through which the threshold passes are looked at pixel by pixel; of the others all pixels lie above it,
or none. The answer is the same, pixel for pixel, as that of the enlarged map (`enlarge`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional

from kdlens.questions.dissection.enlarge import Size, enlarge, weights

CLOSE = 2.0**-20
"""Values that float32 arithmetic may put on the wrong side of a threshold, as a share of the largest involved."""

SMALLEST_RATIO = 4
"""Pixels an activation, across and down, below which a cell has hardly more pixels than corners."""

FEWEST_PIXELS = 64 * 64
"""Of a mask: smaller ones are enlarged faster than they are cut into cells."""


_ROWS = 2048
"""Cells whose pixels are computed at once: more would not stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Above:
    """Pixels at which some maps, enlarged, lie above their thresholds.

    Attributes:
        maps: how many maps.
        map: of each such pixel, ascending.
        place: of each in the order of `Surface.ordered`.
    """

    maps: int
    map: Int[Tensor, " a"]
    place: Int[Tensor, " a"]

    def count(self, regions: Int[Tensor, " places"], number: int) -> Int[Tensor, "maps regions"]:
        """How many of the pixels lie in each of `number` regions; `regions` says in which every place is."""
        keys = self.map * number + regions[self.place]
        return keys.bincount(minlength=self.maps * number).view(self.maps, number)

    def of(self, start: int, stop: int) -> "Above":
        """The same of the maps from `start` to `stop`, exclusive."""
        first, last = torch.searchsorted(self.map, torch.tensor([start, stop], device=self.map.device)).tolist()
        return Above(stop - start, self.map[first:last] - start, self.place[first:last])


@dataclass(frozen=True)
class Surface:
    """Maps of one size that are enlarged to another.

    Attributes:
        small: rows and columns of the activation maps.
        large: of the masks.
    """

    small: Size
    large: Size

    @cached_property
    def ratio(self) -> Size:
        """Pixels an activation, down and across; (0, 0) where the map is enlarged as a whole."""
        (h, w), (height, width) = self.small, self.large
        if height % h or width % w or height * width < FEWEST_PIXELS:
            return (0, 0)
        if height // h < SMALLEST_RATIO or width // w < SMALLEST_RATIO:
            return (0, 0)
        return (height // h, width // w)

    def ordered(self, x: Int[Tensor, "H W"], *, outside: int) -> Int[Tensor, " places"]:
        """Pixels in the order of `Above.place`: cell by cell, those that fill up half cells at the edges `outside`."""
        return x.flatten() if self.ratio == (0, 0) else self._by_cell(x[None], outside).flatten()

    def above(self, maps: Float[Tensor, "p h w"], thresholds: Float[Tensor, " p"]) -> Above:
        """Find where each map lies strictly above its threshold (float64)."""
        return self._in_cells(maps, thresholds) if self.ratio != (0, 0) else self._as_a_whole(maps, thresholds)

    def _in_cells(self, maps: Tensor, thresholds: Tensor) -> Above:
        padded = functional.pad(maps[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
        reached = _corners((padded > thresholds[:, None, None]).to(torch.uint8)).amax(-1).flatten(1)
        row, cell = reached.nonzero(as_tuple=True)
        corners = _corners(padded).flatten(1, 2)[row, cell]
        found = []
        for part in torch.arange(len(row), device=maps.device).split(_ROWS):
            rows, cells = row[part], cell[part]
            exact = lambda which, rows=rows, cells=cells: self._exactly(maps, rows[which], cells[which])  # noqa: E731
            inside = _above(corners[part], self._basis.to(maps), thresholds[rows], exact)
            number, place = _places(inside)
            found.append(
                (rows[number], place + ((cells - torch.arange(len(cells)).to(cells)) * inside.shape[1])[number])
            )
        return Above(len(maps), *(torch.cat(parts) for parts in zip(*found, strict=True)))

    def _as_a_whole(self, maps: Tensor, thresholds: Tensor) -> Above:
        (h, w), size = self.small, self.large
        basis = torch.einsum("yh,xw->hwyx", weights(h, size[0]), weights(w, size[1])).flatten(2).flatten(0, 1)
        exact = lambda rows: enlarge(maps[rows], size).flatten(1)  # noqa: E731
        inside = _above(maps.flatten(1), basis.to(maps), thresholds, exact)
        number, place = _places(inside)
        return Above(len(maps), number, place - number * inside.shape[1])

    @cached_property
    def _basis(self) -> Float[Tensor, "4 pixels"]:
        """What the corners of a cell contribute to its pixels."""
        down, across = (torch.arange(b, dtype=torch.float64) / b + (0.5 / b if b % 2 == 0 else 0) for b in self.ratio)
        rows, columns = torch.stack([1 - down, down]), torch.stack([1 - across, across])
        return (rows[:, None, :, None] * columns[None, :, None, :]).reshape(4, -1)

    def _exactly(self, maps: Tensor, row: Tensor, cell: Tensor) -> Float[Tensor, "rows pixels"]:
        there, number = row.unique(return_inverse=True)
        return self._by_cell(enlarge(maps[there], self.large))[number, cell]

    def _by_cell(self, x: Shaped[Tensor, "n H W"], outside: int = 0) -> Shaped[Tensor, "n cells pixels"]:
        """Divide maps into cells, each from one centre of an activation to the next; half cells at the edges."""
        down, across = self.ratio
        edges = (-(-across // 2), across // 2, -(-down // 2), down // 2)
        cells = functional.pad(x, edges, value=outside).unflatten(1, (-1, down)).unflatten(3, (-1, across))
        return cells.permute(0, 1, 3, 2, 4).reshape(len(x), -1, down * across)


def _corners(x: Shaped[Tensor, "p h w"]) -> Shaped[Tensor, "p cells_down cells_across 4"]:
    return torch.stack([x[:, :-1, :-1], x[:, :-1, 1:], x[:, 1:, :-1], x[:, 1:, 1:]], -1)


def _above(
    values: Float[Tensor, "rows k"],
    basis: Float[Tensor, "k pixels"],
    limits: Float[Tensor, " rows"],
    exact: Callable[[Tensor], Tensor],
) -> Bool[Tensor, "rows pixels"]:
    """Whether `values @ basis` lies above its row's limit; rows that come too close to it are computed `exact`ly."""
    single = limits.to(values)
    over = torch.cat([values, -single[:, None]], 1) @ torch.cat([basis, torch.ones_like(basis[:1])])
    inside = over > 0
    margin = CLOSE * torch.maximum(values.abs().amax(1), single.abs())
    close = (over.abs_().amin(1) <= margin).nonzero()[:, 0]
    if len(close):
        inside[close] = exact(close).double() > limits[close, None]
    return inside


def _places(inside: Bool[Tensor, "rows pixels"]) -> tuple[Int[Tensor, " a"], Int[Tensor, " a"]]:
    """Row and flat index of what is true. On the CPU by NumPy, which is four times as fast."""
    if inside.device.type != "cpu":
        flat = inside.flatten().nonzero()[:, 0]
    else:
        flat = torch.from_numpy(np.flatnonzero(inside.numpy()))
    return torch.arange(len(inside), device=inside.device).repeat_interleave(inside.sum(1)), flat
