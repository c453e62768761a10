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
    """Pixels at which some maps, enlarged, lie above their thresholds, map after map.

    Attributes:
        places: of the pixels, in the order of `Surface.ordered`.
        ends: how many pixels the maps up to and with each have.
    """

    places: Int[Tensor, " a"]
    ends: Int[Tensor, " maps"]

    def count(self, regions: Int[Tensor, " places"], number: int) -> Int[Tensor, "maps regions"]:
        """How many of the pixels lie in each of `number` regions; `regions` says in which every place is."""
        maps = len(self.ends)
        keys = regions[self.places]
        keys += (torch.arange(maps, device=keys.device) * number).repeat_interleave(self._counts)
        return keys.bincount(minlength=maps * number).view(maps, number)

    def of(self, start: int, stop: int) -> "Above":
        """The same of the maps from `start` to `stop`, exclusive."""
        first = int(self.ends[start - 1]) if start else 0
        last = int(self.ends[stop - 1]) if stop else 0
        return Above(self.places[first:last], self.ends[start:stop] - first)

    @property
    def _counts(self) -> Int[Tensor, " maps"]:
        return self.ends.diff(prepend=self.ends.new_zeros(1))


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
        found, counts = [], torch.zeros(len(maps), dtype=torch.int64, device=maps.device)
        for rows, cells, values in zip(row.split(_ROWS), cell.split(_ROWS), corners.split(_ROWS), strict=True):
            exact = lambda which, rows=rows, cells=cells: self._exactly(maps, rows[which], cells[which])  # noqa: E731
            inside = _above(values, self._basis.to(maps), thresholds[rows], exact)
            places, count = _places(inside, cells)
            found.append(places)
            counts.index_add_(0, rows, count)
        return Above(torch.cat(found), counts.cumsum(0))

    def _as_a_whole(self, maps: Tensor, thresholds: Tensor) -> Above:
        (h, w), size = self.small, self.large
        basis = torch.einsum("yh,xw->hwyx", weights(h, size[0]), weights(w, size[1])).flatten(2).flatten(0, 1)
        exact = lambda rows: enlarge(maps[rows], size).flatten(1)  # noqa: E731
        inside = _above(maps.flatten(1), basis.to(maps), thresholds, exact)
        places, count = _places(inside, torch.zeros(len(maps), dtype=torch.int64, device=maps.device))
        return Above(places, count.cumsum(0))

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


def _places(
    inside: Bool[Tensor, "rows pixels"], cells: Int[Tensor, " rows"]
) -> tuple[Int[Tensor, " a"], Int[Tensor, " rows"]]:
    """Places of what is true in rows that are these cells, and how many each row has."""
    rows, pixels = inside.shape
    if inside.device.type == "cpu":  # by NumPy, which is four times as fast
        places = torch.from_numpy(np.flatnonzero(inside.numpy()))
    else:
        places = inside.flatten().nonzero()[:, 0]
    order = torch.arange(rows + 1, device=cells.device)
    counts = torch.searchsorted(places, order * pixels).diff()
    moved = (cells - order[:-1]) * pixels
    return places.add_(moved.repeat_interleave(counts)), counts
