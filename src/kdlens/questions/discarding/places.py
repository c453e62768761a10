"""Signs that know of places: the parts of a feature that see mostly the same cells, as a token or a position does.

Random signs estimate tr(J_i^T J_i) with an error that comes from pairs of units that the cell moves together. Signs
taken from different columns of one orthogonal matrix cancel such a pair exactly (probing: Tang and Saad 2012,
Stathopoulos et al. 2013). There are as many columns as probes, so that not all units can have their own; those of a
place, which move together most, do. Where a place has more units than there are columns, its main directions have them.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.questions.discarding.noise import Noise

CLOSE = 0.4
"""Share of what units move together that must lie within places for these signs to be worth it. Of what a few
directions leave, tokens of a trained transformer have 0.3 to 0.9 and positions of a residual network 0.2 to 0.3, for
which more directions do more."""

SPANNING = 1.5
"""Effective rank of the rest, over the directions that could be had, above which these signs do more than they."""

WIDEST = 1024
"""Units of a place whose main directions are looked for."""


@dataclass(frozen=True)
class Places:
    """How a feature falls into places.

    Attributes:
        shape: of the feature, `(channels, ...)` or `(..., channels)`.
        first: whether channels are the first axis, else the last one.
    """

    shape: tuple[int, ...]
    first: bool

    @property
    def channels(self) -> int:
        """Units of a place."""
        return self.shape[0] if self.first else self.shape[-1]

    def split(self, vectors: Float[Tensor, "n units"]) -> Float[Tensor, "n places channels"]:
        """Take vectors apart."""
        if self.first:
            return vectors.view(len(vectors), self.channels, -1).transpose(1, 2)
        return vectors.view(len(vectors), -1, self.channels)

    def join(self, parts: Float[Tensor, "n places channels"]) -> Float[Tensor, "n units"]:
        """The reverse of `split`."""
        return (parts.transpose(1, 2) if self.first else parts).reshape(len(parts), -1)


def close_places(
    moved: Float[Tensor, "draws units"], rest: Float[Tensor, "some units"], shape: tuple[int, ...], basis: int
) -> Places | None:
    """The places of a feature within which its units move together, or None where there are no such.

    Args:
        moved: what independent draws do to the feature.
        rest: the part of some of them that is left to the signs.
        shape: of the feature.
        basis: directions that could be had instead; None also where they would span most of the rest.
    """
    known = [Places(shape, first) for first in (False, True)] if len(shape) > 1 else []
    fitting = [p for p in known if len(moved) * math.prod(shape) >= 4 * p.channels**2 and p.channels <= WIDEST]
    whole = _together(rest[:, None])
    if not (fitting and 0 < SPANNING * basis * whole < rest.double().square().sum(1).mean() ** 2):
        return None
    shares = [_together(p.split(rest)) / whole for p in fitting]
    return fitting[shares.index(max(shares))] if max(shares) > CLOSE else None


def _together(parts: Float[Tensor, "n places channels"]) -> float:
    """Sum over places of ||S||^2, S the covariance of their units, estimated from pairs of draws."""
    products = torch.einsum("apc,bpc->pab", parts, parts).double()
    apart = ~torch.eye(len(parts), dtype=torch.bool, device=parts.device)
    return float(products[:, apart].square().sum(0).mean())


def placed_signs(
    places: Places, moved: Float[Tensor, "draws units"], count: int, noise: Noise
) -> Float[Tensor, "count units"]:
    """Vectors v with mean v v^T = 1, over all of them together exactly so within every place that they suffice for."""
    parts = places.split(moved)
    number, width = parts.shape[1:]
    turns = -(-width // count)
    columns = torch.cat([noise.orders(f"columns{turn}", number, count) for turn in range(turns)], 1)[:, :width]
    signs = noise.signs("signs", (number, width)).to(moved)
    vectors = _orthogonal(count).to(moved)[:, columns.to(moved.device)] * signs
    if width > count:
        vectors = vectors @ _main_directions(parts).T
    return places.join(vectors)


def _orthogonal(size: int) -> Float[Tensor, "size size"]:
    """Hartley's matrix, cos + sin: its columns are orthogonal, and of squared length `size`."""
    k = torch.arange(size)
    angle = 2 * math.pi * (k[:, None] * k % size).double() / size
    return angle.cos() + angle.sin()


def _main_directions(parts: Float[Tensor, "n places channels"]) -> Float[Tensor, "channels channels"]:
    """Principal axes of what happens at all places, the strongest first, each with its coordinates' sum positive."""
    samples = parts.flatten(0, 1).double()
    axes = torch.linalg.eigh(samples.T @ samples).eigenvectors.flip(1)
    return (axes * torch.where(axes.sum(0) < 0, -1.0, 1.0)).to(parts)
