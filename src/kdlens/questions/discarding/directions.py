"""Which vectors are sent backward: directions in which the feature is known to move, and signs for the rest."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.questions.discarding.budget import Budget
from kdlens.questions.discarding.noise import Noise
from kdlens.questions.discarding.places import close_places, placed_signs

QUIET = 0.5
"""Variance that signs of places have, over that of random ones: measured 0.25 to 0.5 in transformers."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """What is sent backward.

    Attributes:
        directions: an orthonormal basis of some draws, or every unit several times.
        times: how often the basis is there.
        signs: vectors without a part in the basis, whose squares average to what is left.
        variance: of the signs' mean, over what independent signs would have.
        moved: what the draws did to the feature.
    """

    directions: Float[Tensor, "d units"]
    times: int
    signs: Float[Tensor, "s units"]
    variance: float
    moved: Float[Tensor, "draws units"]


def chosen_vectors(
    draw: Callable[[int], Float[Tensor, "n units"]], shape: tuple[int, ...], noise: Noise, budget: Budget
) -> Vectors:
    """Look at some draws and decide.

    A few directions and signs that know of places where those explain what else moves together; else half directions
    and half random signs.

    Args:
        draw: gives what so many further draws do to the feature.
        shape: of the feature.
        noise: for the signs.
        budget: how many vectors.
    """
    moved = draw(min(budget.first, budget.draws))
    units = moved.shape[1]
    if units <= budget.probes:  # every unit by itself, at several points
        times = budget.probes // units
        moved = torch.cat([moved, draw(budget.draws - len(moved))])
        return Vectors(torch.eye(units, device=moved.device).repeat(times, 1), times, moved[:0], 1.0, moved)
    basis = _orthonormal(moved[: budget.directions])
    places = close_places(moved, left(moved[budget.directions :], basis), shape, budget.draws)
    if places is not None:
        signs = left(placed_signs(places, moved, budget.probes - len(basis), noise), basis)
        return Vectors(basis, 1, signs, QUIET, moved)
    moved = torch.cat([moved, draw(budget.draws - len(moved))])
    basis = _orthonormal(moved)
    random = noise.signs("signs", (budget.probes - budget.draws, units)).to(moved)
    return Vectors(basis, 1, left(random, basis), 1.0, moved)


def left(vectors: Float[Tensor, "n units"], basis: Float[Tensor, "d units"]) -> Float[Tensor, "n units"]:
    """What a basis leaves of vectors."""
    return vectors.addmm(vectors @ basis.T, basis, alpha=-1)


def _orthonormal(rows: Float[Tensor, "draws units"]) -> Float[Tensor, "directions units"]:
    """An orthonormal basis of the rows' span, row after row, so that rounding moves it as little as it moves the rows.

    By Cholesky factors of the inner products. Rows that are nearly combinations of earlier ones are left out.
    """
    exact = rows.double()
    gram = exact @ exact.T
    factor, failed = torch.linalg.cholesky_ex(gram)
    if failed == 0 and (factor.diagonal().square() > 1e-9 * gram.diagonal()).all():
        inverse = torch.linalg.solve_triangular(factor, torch.eye(len(rows)).to(exact), upper=False)
        return (inverse @ exact).to(rows)
    for _ in range(2):  # the second time mends what rounding left
        gram = exact @ exact.T
        gram.diagonal().add_(1e-14 * gram.diagonal().mean())
        factor, _ = torch.linalg.cholesky_ex(gram)
        exact = torch.linalg.solve_triangular(factor, exact, upper=False)
    off = (exact @ exact.T - torch.eye(len(rows)).to(exact)).abs().amax(1)
    return exact[off < 1e-3].to(rows) if off.isfinite().all() else rows[:0]
