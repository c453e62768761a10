"""The activation a unit exceeds at a given share of all places, exactly, in one pass and bounded memory."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdlens.errors import DataError

Rule = Literal["exact", "netdissect"]

LEVEL = 0.005
"""Share of places at which a unit counts as active (Bau et al., CVPR 2017)."""

_LITE = 994 / 999
"""The quantile NetDissect-Lite reads: entry 994 of 1,000 evenly spaced ones."""


class TopValues:
    """The largest values of every unit, of a stream of activation maps whose length is known.

    Args:
        places: most values that a unit will have seen at the end: images times rows times columns.
        level: share of places above the threshold.
        rule: `"exact"`: the least threshold that at most `level` of the places exceed. `"netdissect"`: the quantile
            NetDissect-Lite aims at, 994/999 by Hazen's rule, whatever the level; its own figure scatters around that.

    A unit with a value that is NaN has no threshold.

    Raises:
        DataError: (on seeing them) more values than `places`.

    Example:
        >>> top = TopValues(1000, rule="netdissect")
        >>> top.update(torch.arange(1000.0).view(10, 1, 10, 10))
        >>> top.thresholds()
        tensor([994.4950], dtype=torch.float64)
    """

    def __init__(self, places: int, *, level: float = LEVEL, rule: Rule = "exact") -> None:
        self.places, self.level, self.rule = places, level, rule
        share = 1 - _LITE if rule == "netdissect" else level
        self.kept = min(places, int(places * share) + 2)
        self.seen = 0
        self._values: Tensor | None = None
        self._broken: Bool[Tensor, " units"] | None = None
        self._counts = torch.zeros(0, dtype=torch.int64)
        self._floor = torch.zeros(0)

    def update(self, maps: Float[Tensor, "n units h w"]) -> None:
        """See some more images."""
        values = maps.detach().float().transpose(0, 1).flatten(1)
        self.seen += values.shape[1]
        if self.seen > self.places:
            raise DataError("images differ in size, so that some have more places than the first; give size=...")
        room = values.shape[1] + self.kept
        if self._values is None:
            self._start(values, room)
        assert self._values is not None  # noqa: S101 - for the type checker
        assert self._broken is not None  # noqa: S101
        nan = values.isnan()
        if bool(nan.any()):
            self._broken |= nan.any(1)
            values = values.masked_fill(nan, -torch.inf)
        more = values > self._floor[:, None]
        fresh = more.sum(1)
        if int((self._counts + fresh).max()) > self._values.shape[1]:
            self._compress(room)
            more = values > self._floor[:, None]
            fresh = more.sum(1)
        units, places = more.nonzero(as_tuple=True)  # unit after unit
        number = torch.arange(len(units), device=units.device) - (fresh.cumsum(0) - fresh)[units]
        self._values[units, self._counts[units] + number] = values[units, places]
        self._counts += fresh

    def thresholds(self) -> Float[Tensor, " units"]:
        """The threshold of every unit, float64; NaN for a unit that had a NaN."""
        assert self._values is not None  # noqa: S101 - the caller has images
        assert self._broken is not None  # noqa: S101
        top = self._values.topk(self.kept, dim=1).values.double()
        if self.rule == "exact":
            found = top[:, min(int(self.seen * self.level), self.kept - 1)]
        else:
            found = _hazen(top, self.seen)
        return found.masked_fill(self._broken, torch.nan).cpu()

    def _start(self, values: Tensor, room: int) -> None:
        units = len(values)
        self._values = values.new_full((units, max(2 * self.kept, room)), -torch.inf)
        self._broken = torch.zeros(units, dtype=torch.bool, device=values.device)
        self._counts = torch.zeros(units, dtype=torch.int64, device=values.device)
        self._floor = values.new_full((units,), -torch.inf)

    def _compress(self, room: int) -> None:
        """Forget all but the largest."""
        assert self._values is not None  # noqa: S101
        best = self._values.topk(self.kept, dim=1).values
        if self._values.shape[1] < room:
            self._values = best.new_empty(len(best), room)
        self._values.fill_(-torch.inf)
        self._values[:, : self.kept] = best
        self._counts = self._counts.clamp_max(self.kept)
        self._floor = torch.where(self._counts == self.kept, best[:, -1], self._floor)


def _hazen(top: Float[Tensor, "units kept"], places: int) -> Float[Tensor, " units"]:
    """The quantile among values of which only the largest are known, sorted downwards."""
    place = min(max(places * _LITE - 0.5, 0.0), places - 1.0)
    lower = int(place)
    share = place - lower
    from_top = places - 1 - lower
    below = top[:, min(from_top, top.shape[1] - 1)]
    above = top[:, max(from_top - 1, 0)]
    return below + share * (above - below)
