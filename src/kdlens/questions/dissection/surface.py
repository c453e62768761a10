"""Where enlarged activation maps lie above their thresholds, and how many of those pixels carry which label."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from kdlens.questions.dissection.cells import Runs, runs_in_cells
from kdlens.questions.dissection.enlarge import Size, enlarge

_AT_ONCE = 2**22
"""Pixels of enlarged maps that are held at once, where maps have to be enlarged."""

_Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Above:
    """Pixels at which some maps, enlarged, lie above their thresholds, map after map, as runs down a column.

    Attributes:
        width: columns of the enlarged maps.
        starts: of each run, its first pixel; pixels are numbered row by row.
        stops: the pixel below its last.
        ends: how many runs the maps up to and with each have.
    """

    width: int
    starts: Int[_Array, " runs"]
    stops: Int[_Array, " runs"]
    ends: Int[_Array, " maps"]

    @cached_property
    def area(self) -> Int[_Array, " maps"]:
        """Pixels of each map."""
        total = np.concatenate([[0], ((self.stops - self.starts) // self.width).cumsum(dtype=np.int64)])
        return np.diff(total[self.ends], prepend=0)

    def count(self, table: Float[Tensor, "places labels"]) -> Float[_Array, "maps labels"]:
        """Pixels of each map that carry each label.

        Args:
            table: of every place, how often each label stands above it in its column; has a row of places more than
                there are pixels, for runs that end at the last.
        """
        places, offsets, signs = self._bags
        return functional.embedding_bag(places, table, offsets, mode="sum", per_sample_weights=signs).numpy()

    def of(self, start: int, stop: int) -> "Above":
        """The same of the maps from `start` to `stop`, exclusive."""
        first = int(self.ends[start - 1]) if start else 0
        last = int(self.ends[stop - 1]) if stop else 0
        return Above(self.width, self.starts[first:last], self.stops[first:last], self.ends[start:stop] - first)

    @cached_property
    def _bags(self) -> tuple[Tensor, Tensor, Tensor]:
        """A run has what the table has at its stop, less what it has at its start."""
        places = np.stack([self.stops, self.starts], 1).ravel()
        offsets = 2 * np.concatenate([[0], self.ends[:-1]])
        signs = torch.tensor([1.0, -1.0]).repeat(len(self.starts))
        return torch.from_numpy(places), torch.from_numpy(offsets.astype(places.dtype)), signs


def find_above(maps: Float[Tensor, "p h w"], thresholds: Float[Tensor, " p"], size: Size) -> Above:
    """Find the pixels at which maps, enlarged to `size`, lie above their thresholds.

    Example:
        >>> above = find_above(torch.tensor([[[0.0, 0.0], [0.0, 4.0]]]), torch.ones(1).double(), (4, 4))
        >>> above.area, above.starts, above.stops
        (array([4]), array([10, 11, 14, 15], dtype=int32), array([14, 15, 18, 19], dtype=int32))
    """
    maps, thresholds = maps.cpu().float(), thresholds.cpu().double()
    if size[0] < maps.shape[1] or size[1] < maps.shape[2]:
        which, starts, stops = _runs_of_enlarged(maps, thresholds, size)
    else:
        which, starts, stops = runs_in_cells(maps.numpy(), thresholds.numpy(), size)
    return Above(size[1], starts, stops, np.bincount(which, minlength=len(maps)).cumsum())


def _runs_of_enlarged(maps: Tensor, thresholds: Tensor, size: Size) -> Runs:
    """The same in maps that are made smaller in a direction, where they are not linear between neighbours."""
    found = []
    each = max(1, _AT_ONCE // (size[0] * size[1]))
    for start in range(0, len(maps), each):
        limits = thresholds[start : start + each, None, None]
        inside = enlarge(maps[start : start + each], size).double() > limits
        edges = functional.pad(inside.transpose(1, 2).byte(), (1, 1)).diff(dim=2).numpy()  # bytes: 255 is -1
        (which, x, starts), (_, _, stops) = (edges == 1).nonzero(), (edges == 255).nonzero()
        found.append((which + start, starts * size[1] + x, stops * size[1] + x))
    which, starts, stops = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return which, starts, stops
