"""Where enlarged activation maps lie above their thresholds, and what is labelled there, without enlarging all of it.

Between the centres of four neighbouring activations the enlarged map lies between their least and their largest. So
only the cells that the threshold passes through are looked at pixel by pixel; cells that lie above it as a whole are
counted by the labels in them. The answer is the same, pixel for pixel, as that of the enlarged map (`enlarge`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn import functional

from kdlens.questions.dissection.enlarge import Size, enlarge, weights

CLOSE = 2.0**-20
"""Values that float32 arithmetic may put on the wrong side of a threshold, as a share of the largest involved."""

SMALLEST_RATIO = 4
"""Pixels an activation, across and down, below which a cell has hardly more pixels than corners."""

FEWEST_PIXELS = 64 * 64
"""Of a mask: smaller ones are enlarged faster than they are cut into cells."""


@dataclass(frozen=True, eq=False)
class Arranged:
    """The labels of one image, cell by cell.

    Attributes:
        labels: `(cells, pixels, 1 + labels)`: how often each label stands at each pixel; the first is 1 at every pixel
            of the image and 0 at those that only fill up a cell at its edge.
        sums: the same over the pixels of a cell.
    """

    labels: Float[Tensor, "cells pixels columns"]
    sums: Float[Tensor, "cells columns"]


@dataclass(frozen=True, eq=False)
class Above:
    """Where some maps, enlarged, lie above their thresholds.

    Attributes:
        full: `(p, cells)`, 1 where a whole cell does.
        pair: to which map each row of `pixels` belongs.
        pixels: cells that do in part, sorted by cell; 1 where a pixel does.
        cell: of each row of `pixels`, ascending.
    """

    full: Float[Tensor, "p cells"]
    pair: Int[Tensor, " rows"]
    pixels: Float[Tensor, "rows pixels"]
    cell: Int[Tensor, " rows"]

    @cached_property
    def runs(self) -> list[tuple[int, int, int]]:
        """Cell, first and last row (exclusive) of `pixels` for every cell that occurs there."""
        cells, counts = self.cell.unique_consecutive(return_counts=True)
        ends = counts.cumsum(0)
        return list(zip(cells.tolist(), (ends - counts).tolist(), ends.tolist(), strict=True))

    def count(self, image: Arranged) -> Float[Tensor, "p columns"]:
        """How many pixels of each label lie above; the first column counts all pixels. Exact below 2**24."""
        found = self.full @ image.sums
        parts = self.pixels.new_empty(len(self.pixels), found.shape[1])
        for cell, start, stop in self.runs:
            torch.mm(self.pixels[start:stop], image.labels[cell], out=parts[start:stop])
        return found.index_add_(0, self.pair, parts)


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

    def arrange(self, ids: Int[Tensor, "channels H W"], labels: int) -> Arranged:
        """Bring label maps into the order of the cells.

        Args:
            ids: labels from 1 to `labels`, 0 for none; labels of several channels count once each.
            labels: how many there are.
        """
        places = self._by_cell(ids).long()
        cells, pixels, channels = places.shape
        counted = torch.zeros(cells * pixels, labels + 1, device=ids.device)
        one = torch.ones((), device=ids.device)
        counted.scatter_add_(1, places.view(-1, channels), one.expand(cells * pixels, channels))
        counted = counted.view(cells, pixels, labels + 1)
        counted[:, :, 0] = self._inside.to(ids.device)  # in place of the pixels without a label
        return Arranged(counted, counted.sum(1))

    def above(self, maps: Float[Tensor, "p h w"], thresholds: Float[Tensor, " p"]) -> Above:
        """Find where each map lies strictly above its threshold (float64)."""
        return self._in_cells(maps, thresholds) if self.ratio != (0, 0) else self._as_a_whole(maps, thresholds)

    def _by_cell(self, x: Shaped[Tensor, "channels H W"]) -> Shaped[Tensor, "cells pixels channels"]:
        if self.ratio == (0, 0):
            return x.flatten(1).T[None]
        down, across = self.ratio
        before = (-(-across // 2), across // 2, -(-down // 2), down // 2)
        cells = functional.pad(x, before).unflatten(1, (-1, down)).unflatten(3, (-1, across))
        return cells.permute(1, 3, 2, 4, 0).reshape(-1, down * across, len(x)).contiguous()

    def _in_cells(self, maps: Tensor, thresholds: Tensor) -> Above:
        padded = functional.pad(maps[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
        over = padded > thresholds[:, None, None]
        count = _corners(over.to(torch.uint8)).sum(-1).flatten(1)
        cell, pair = ((count > 0) & (count < 4)).T.nonzero(as_tuple=True)
        chosen = _corners(padded).flatten(1, 2)[pair, cell]
        exact = lambda rows: self._exactly(maps, pair[rows], cell[rows])  # noqa: E731
        inside = _above(chosen @ self._basis.to(maps), thresholds[pair], chosen.abs().amax(1), exact)
        return Above((count == 4).float(), pair, inside, cell)

    def _as_a_whole(self, maps: Tensor, thresholds: Tensor) -> Above:
        (h, w), (height, width) = self.small, self.large
        across = maps @ weights(w, width).T.to(maps) if w != width else maps
        values = (weights(h, height).to(maps) @ across if h != height else across).flatten(1)
        exact = lambda rows: enlarge(maps[rows], self.large).flatten(1)  # noqa: E731
        inside = _above(values, thresholds, maps.abs().amax((1, 2)), exact)
        every = torch.arange(len(maps), device=maps.device)
        return Above(maps.new_zeros(len(maps), 1), every, inside, torch.zeros_like(every))

    @cached_property
    def _inside(self) -> Float[Tensor, "cells pixels"]:
        """1 at pixels of the image, 0 at those that only fill up a cell at its edge."""
        return self._by_cell(torch.ones(1, *self.large))[:, :, 0]

    @cached_property
    def _basis(self) -> Float[Tensor, "4 pixels"]:
        """What the corners of a cell contribute to its pixels."""
        down, across = (torch.arange(b, dtype=torch.float64) / b + (0.5 / b if b % 2 == 0 else 0) for b in self.ratio)
        rows, columns = torch.stack([1 - down, down]), torch.stack([1 - across, across])
        return (rows[:, None, :, None] * columns[None, :, None, :]).reshape(4, -1)

    def _exactly(self, maps: Tensor, pair: Tensor, cell: Tensor) -> Float[Tensor, "rows pixels"]:
        maps_there, row = pair.unique(return_inverse=True)
        return self._by_cell(enlarge(maps[maps_there], self.large))[cell, :, row]


def _corners(x: Shaped[Tensor, "p h w"]) -> Shaped[Tensor, "p cells_down cells_across 4"]:
    return torch.stack([x[:, :-1, :-1], x[:, :-1, 1:], x[:, 1:, :-1], x[:, 1:, 1:]], -1)


def _above(
    values: Tensor, limits: Tensor, largest: Tensor, exact: Callable[[Tensor], Tensor]
) -> Float[Tensor, "rows pixels"]:
    """1 where a value lies above its row's limit; rows that come too close to it are computed `exact`ly."""
    single = limits.to(values)[:, None]
    inside = (values > single).to(values)
    margin = CLOSE * torch.maximum(largest, limits.abs().to(values))
    close = ((values - single).abs_().amin(1) <= margin).nonzero()[:, 0]
    if len(close):
        inside[close] = (exact(close).double() > limits[close, None]).to(values)
    return inside
