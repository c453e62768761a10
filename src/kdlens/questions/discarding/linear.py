"""The fast backend: slopes by a few backward passes, then a closed form."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.questions.discarding.budget import Budget
from kdlens.questions.discarding.lens import Lens
from kdlens.questions.discarding.noise import Noise
from kdlens.questions.discarding.probes import STEP, Measured, measure
from kdlens.questions.discarding.recipe import Recipe
from kdlens.questions.discarding.sigma import CLOSED_FORMS, Slopes

ROUNDS = 3
"""Times the slopes are taken again at the noise they led to, where that is far from even."""

MIDWAY = STEP
"""The published descent leads from noise of 0.01 to 0.0147 on average; slopes are taken between."""


@dataclass(frozen=True, eq=False)
class Solved:
    """Noise found for one image.

    Attributes:
        sigma: standard deviation of every cell; None where the image cannot be judged.
        ratio: feature loss R at it.
        linear: energy that derivatives predict over the energy of draws (linear backend), else NaN.
        spent: what every cell contributes to the slope of the loss, dR / dlog sigma (linear backend), else None.
    """

    sigma: Float[Tensor, " cells"] | None
    ratio: float = float("nan")
    linear: float = float("nan")
    spent: Float[Tensor, " cells"] | None = None


def solve_linear(
    lens: Lens, images: Float[Tensor, "n ..."], noises: Sequence[Noise], recipe: Recipe, budget: Budget
) -> list[Solved]:
    """Find the noise of every image by linearising the network around noisy inputs."""
    sigma = torch.full((len(images), lens.cells.count), recipe.start * _first_size(recipe), dtype=torch.float64)
    known: dict[int, Measured] = {}
    for turn in range(1 if recipe.protocol == "published" else ROUNDS):
        which = range(len(images)) if turn == 0 else list(known)
        found = {
            i: measure(lens, images[i].to(lens.device), sigma[i], noises[i].again(), budget, recipe.start)
            for i in which
        }
        known = {i: measured for i, measured in found.items() if measured is not None}
        if not known:
            break
        slopes = _together([measured.slopes for measured in known.values()])
        sigma[list(known)] = CLOSED_FORMS[recipe.protocol](slopes, recipe)
    solved = [Solved(None) for _ in images]
    for i, measured in known.items():
        spent = sigma[i] * measured.slopes.gradient(sigma[i : i + 1])[0]
        solved[i] = Solved(sigma[i], float(measured.slopes.ratio(sigma[i : i + 1])), measured.linear, spent)
    return solved


def _together(slopes: Sequence[Slopes]) -> Slopes:
    return Slopes(
        torch.cat([s.slope for s in slopes]),
        torch.cat([s.unit for s in slopes]),
        torch.cat([s.decay for s in slopes]),
        torch.cat([s.at for s in slopes]),
    )


def _first_size(recipe: Recipe) -> float:
    """Even noise, as a multiple of the start's, from which the first slopes are taken."""
    if recipe.protocol == "published":
        return MIDWAY
    return float((recipe.alpha if recipe.protocol == "alpha" else recipe.loss_weight / 2) ** 0.5)
