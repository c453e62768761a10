"""Runs of pixels above a threshold, cell by cell of an enlarged activation map.

A cell lies between the centres of four neighbouring activations, or between the outermost and the edge. In it the
enlarged map is linear along every column of pixels: those above the threshold are one run, from one end of the cell to
where the threshold is crossed, and a division says where that is. Only cells with a corner above the threshold have
such pixels. Where rounding might decide, pixels are computed as `enlarge` computes them.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

from kdlens.questions.dissection.enlarge import Size, weights

CLOSE = 2.0**-18
"""Distance from a threshold, as a share of the largest value of a map, at which float32 does not decide."""

_AT_ONCE = 2**15
"""Columns that are looked at together: more would not stay in the processor's cache."""

_Array = np.ndarray
Runs = tuple[Int[_Array, " runs"], Int[_Array, " runs"], Int[_Array, " runs"]]


@dataclass(frozen=True, eq=False)
class Bands:
    """Pixels along one axis, in bands between neighbouring values; the outermost are constant.

    Attributes:
        first: of each band, its first pixel.
        pixels: how many it has.
        share: what the band's second value contributes to the first pixel.
        step: by how much that grows from pixel to pixel.
        exactly: `(pixels, values)` what every value contributes to every pixel.
    """

    first: Int[_Array, " bands"]
    pixels: Int[_Array, " bands"]
    share: Float[_Array, " bands"]
    step: float
    exactly: Float[_Array, "pixels values"]


@lru_cache(maxsize=64)
def bands_of(small: int, large: int) -> Bands:
    """The bands of `small` values that are enlarged to `large`.

    Example:
        >>> bands = bands_of(2, 4)
        >>> bands.first.tolist(), bands.pixels.tolist(), float(bands.share[1])
        ([0, 1, 3], [1, 2, 1], 0.25)
    """
    exactly = weights(small, large).numpy()
    used = exactly > 0
    earlier, later = used.argmax(1), small - 1 - used[:, ::-1].argmax(1)
    band = np.where((earlier == later) & (later == small - 1), small, later)
    numbers = np.arange(small + 1)
    first = np.searchsorted(band, numbers)
    share = np.zeros(small + 1)
    inner = first[:small] < large
    share[:small][inner] = exactly[first[:small][inner], numbers[:small][inner]]
    return Bands(first, np.searchsorted(band, numbers, side="right") - first, share, small / large, exactly)


def runs_in_cells(maps: Float[_Array, "p h w"], thresholds: Float[_Array, " p"], size: Size) -> Runs:
    """The runs above the thresholds (float64) in maps (float32) enlarged to `size`, which is no smaller.

    Returns:
        Of each run its map, its first pixel and the pixel below its last; pixels are numbered row by row. In the order
        of the maps.
    """
    down, across = (bands_of(small, large) for small, large in zip(maps.shape[1:], size, strict=True))
    reached = _neighbours(np.pad(maps > thresholds[:, None, None], ((0, 0), (1, 1), (1, 1)), mode="edge"))
    cells = reached & (down.pixels > 0)[:, None] & (across.pixels > 0)
    number, row, column = np.unravel_index(np.flatnonzero(cells), cells.shape)
    values = _scaled(maps, thresholds)
    found = []
    each = max(1, _AT_ONCE // int(across.pixels.max()))
    for start in range(0, len(number), each):
        part = slice(start, start + each)
        here = _Cells(maps, thresholds, down, across, number[part], row[part], column[part])
        found.append(here.runs(values))
    if not found:
        return (np.zeros(0, dtype=np.int64),) * 3
    which, starts, stops = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return which, starts, stops


def _neighbours(x: Bool[_Array, "p h w"]) -> Bool[_Array, "p cells_down cells_across"]:
    """Whether any of the four corners of a cell is true."""
    pairs = x[:, :-1] | x[:, 1:]
    return pairs[:, :, :-1] | pairs[:, :, 1:]


def _scaled(maps: Float[_Array, "p h w"], thresholds: Float[_Array, " p"]) -> Float[_Array, "p h w"]:
    """How far the values lie above the thresholds; divided by a power of two, so that the largest is about 1."""
    limits = thresholds.astype(np.float32)
    largest = np.maximum(np.abs(maps).max((1, 2)), np.abs(limits))
    exponents = -np.frexp(largest)[1]
    return np.ldexp(maps, exponents[:, None, None]) - np.ldexp(limits, exponents)[:, None, None]


@dataclass(frozen=True, eq=False)
class _Cells:
    """Some cells: their map, and their place down and across."""

    maps: Float[_Array, "p h w"]
    thresholds: Float[_Array, " p"]
    down: Bands
    across: Bands
    number: Int[_Array, " cells"]
    row: Int[_Array, " cells"]
    column: Int[_Array, " cells"]

    def runs(self, values: Float[_Array, "p h w"]) -> Runs:
        """The runs; `values` are how far the maps lie above the thresholds."""
        offsets = np.arange(self.across.pixels.max(), dtype=np.int32)[:, None]
        there = offsets < self.across.pixels[self.column]
        pixels = self.down.pixels[self.row].astype(np.int32)
        starts, stops, close = self._crossed(values, offsets, pixels)
        close &= there
        if close.any():
            column, cell = close.nonzero()
            starts[column, cell], stops[column, cell] = self._exactly(column, cell)
        there &= starts < stops
        width = len(self.across.exactly)
        corner = (self.down.first * width)[self.row] + self.across.first[self.column]
        corner = corner.astype(np.int32) + offsets
        which = np.ascontiguousarray(there.T)  # cell after cell, and so map after map
        starts, stops = (np.ascontiguousarray((ends * width + corner).T)[which] for ends in (starts, stops))
        return self.number.repeat(which.sum(1)), starts, stops

    def _crossed(
        self, values: Float[_Array, "p h w"], offsets: Int[_Array, "columns 1"], pixels: Int[_Array, " cells"]
    ) -> tuple[Int[_Array, "columns cells"], Int[_Array, "columns cells"], Bool[_Array, "columns cells"]]:
        """Start and stop of every column's run within its cell, and whether they are too close to tell."""
        top_left, top_right, low_left, low_right = (values[self.number, *corner] for corner in self._corners)
        share = self.across.share.astype(np.float32)[self.column] + offsets * np.float32(self.across.step)
        top = (top_right - top_left) * share
        top += top_left
        low = (low_right - low_left) * share
        low += low_left
        drop = np.subtract(top, low, out=low)
        first, step = self.down.share.astype(np.float32)[self.row], np.float32(self.down.step)
        with np.errstate(divide="ignore", invalid="ignore"):
            nearest = top / drop  # the pixel whose centre is nearest to the crossing
            nearest -= first
            nearest *= 1 / step
            np.rint(nearest, out=nearest)
            np.fmax(nearest, 0, out=nearest)
            np.fmin(nearest, pixels - np.float32(1), out=nearest)
            there = nearest * step
            there += first
            there *= drop
            over = np.subtract(top, there, out=there)
        inside, falls = over > 0, drop >= 0
        close = ~(np.abs(over, out=over) > CLOSE)  # so is what is not a number
        edges = nearest.astype(np.int32)
        edges += inside == falls
        return np.where(falls, 0, edges), np.where(falls, edges, pixels), close

    def _exactly(
        self, columns: Int[_Array, " k"], cells: Int[_Array, " k"]
    ) -> tuple[Int[_Array, " k"], Int[_Array, " k"]]:
        """Start and stop of some columns' runs. Rounding keeps the order of pixels, so that they are runs, too."""
        (above, left), (_, right), (below, _), _ = [(row[cells], column[cells]) for row, column in self._corners]
        number, row, column = self.number[cells], self.row[cells], self.column[cells]
        x = self.across.first[column] + columns
        shares = self.across.exactly[x, left], np.where(left == right, 0, self.across.exactly[x, right])
        top, low = (
            _mixed(self.maps[number, line, left], self.maps[number, line, right], *shares) for line in (above, below)
        )
        place = np.arange(self.down.pixels.max())[:, None]
        y = np.minimum(self.down.first[row] + place, len(self.down.exactly) - 1)
        shares = self.down.exactly[y, above], np.where(above == below, 0, self.down.exactly[y, below])
        pixels = self.down.pixels[row]
        inside = (_mixed(top, low, *shares) > self.thresholds[number]) & (place < pixels)
        count, from_top = inside.sum(0), inside[0]
        return np.where(from_top, 0, pixels - count), np.where(from_top, count, pixels)

    @property
    def _corners(self) -> tuple[tuple[_Array, _Array], ...]:
        """Row and column of the four activations."""
        height, width = self.maps.shape[1:]
        above, below = np.maximum(self.row - 1, 0), np.minimum(self.row, height - 1)
        left, right = np.maximum(self.column - 1, 0), np.minimum(self.column, width - 1)
        return (above, left), (above, right), (below, left), (below, right)


def _mixed(first: _Array, second: _Array, share: _Array, other: _Array) -> _Array:
    """Two float32 values by their shares, rounded to float32; comparable with float64."""
    return (first.astype(np.float64) * share + second.astype(np.float64) * other).astype(np.float32).astype(np.float64)
