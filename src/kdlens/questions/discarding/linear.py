"""The fast backend: slopes by a few backward passes, then a closed form."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.questions.discarding.lens import Lens
from kdlens.questions.discarding.noise import Noise
from kdlens.questions.discarding.probes import Budget, measure
from kdlens.questions.discarding.recipe import Recipe
from kdlens.questions.discarding.sigma import CLOSED_FORMS

ROUNDS = 3
"""Times the slopes are taken again at the noise they led to, where that is far from even."""

MIDWAY = 1.25
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


def solve(lens: Lens, x: Float[Tensor, "..."], noise: Noise, recipe: Recipe, budget: Budget) -> Solved:
    """Find the noise of one image by linearising the network around noisy inputs."""
    size = recipe.start * _first_size(recipe)
    sigma = torch.full((lens.cells.count,), size, dtype=torch.float64)
    rounds = 1 if recipe.protocol == "published" else ROUNDS
    for turn in range(rounds):
        found = measure(lens, x, sigma, noise.again(), budget, recipe.start)
        if found is None:
            break
        sigma = CLOSED_FORMS[recipe.protocol](found.slopes, recipe)[0]
        if turn + 1 == rounds:
            spent = sigma * found.slopes.gradient(sigma[None])[0]
            return Solved(sigma, float(found.slopes.ratio(sigma[None])), found.linear, spent)
    return Solved(None)


def _first_size(recipe: Recipe) -> float:
    """Even noise, as a multiple of the start's, from which the first slopes are taken."""
    if recipe.protocol == "published":
        return MIDWAY
    return float((recipe.alpha if recipe.protocol == "alpha" else recipe.loss_weight / 2) ** 0.5)
