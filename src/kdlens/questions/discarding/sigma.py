"""Closed forms: the noise of every cell once it is known how strongly each one moves the feature.

With g_i the energy that a unit of variance in cell i brings to the feature, E||f(x + noise) - f(x)||^2 = sum_i g_i
sigma_i^2 for small noise, and every protocol has an answer that needs g alone. E_0 is the same energy for noise of the
start's size in every cell, the unit of the feature loss.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.questions.discarding.recipe import HALF_LOG_2_PI_E, Recipe


@dataclass(frozen=True, eq=False)
class Slopes:
    """How strongly the noise of every cell moves the feature.

    Attributes:
        slope: g_i, the derivative of the energy with respect to sigma_i^2, at noise of size `at`.
        unit: E_0, energy at the start's noise.
        decay: eta; the energy grows with the noise's size s as s^(2 - 2 eta), 0 where the network is linear.
        at: root mean square of the noise at which the slopes were taken.
    """

    slope: Float[Tensor, "n cells"]
    unit: Float[Tensor, " n"]
    decay: Float[Tensor, " n"]
    at: Float[Tensor, " n"]

    def ratio(self, sigma: Float[Tensor, "n cells"]) -> Float[Tensor, " n"]:
        """Feature loss R: predicted energy at `sigma` over its unit."""
        energy = (self.slope * sigma.square()).sum(1) / (1 - self.decay)
        return energy * self._shrunk(sigma) / self.unit

    def gradient(self, sigma: Float[Tensor, "n cells"]) -> Float[Tensor, "n cells"]:
        """Derivative of R with respect to every sigma."""
        return 2 * sigma * self.slope * (self._shrunk(sigma) / self.unit)[:, None]

    def _shrunk(self, sigma: Tensor) -> Tensor:
        return (sigma.square().mean(1).sqrt() / self.at) ** (-2 * self.decay)


def linear_slopes(g: Float[Tensor, "n cells"], start: float = 0.01) -> Slopes:
    """Slopes of a network that is linear, from its energies g alone.

    Example:
        >>> linear_slopes(torch.ones(1, 4)).unit
        tensor([0.0004])
    """
    none = g.new_zeros(len(g))
    return Slopes(g, start**2 * g.sum(1), none, none + start)


def entropy(sigma: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return H = log sigma + 1/2 log(2 pi e) in nats."""
    return sigma.log() + HALF_LOG_2_PI_E


def published(slopes: Slopes, recipe: Recipe) -> Float[Tensor, "n cells"]:
    """Follow the published descent on the cells alone, and stop it where the published code does.

    sigma <- clip(sigma); sigma <- sigma - rate (dR/dsigma - lambda / (n sigma)), the snapshot whose mean entropy is
    nearest to the target. The expectation of the authors' loop, without its draws.

    Example:
        >>> sigma = published(linear_slopes(torch.ones(1, 256)), Recipe())
        >>> round(sigma[0, 0].item(), 5)
        0.01474
    """
    n = slopes.slope.shape[1]
    sigma = torch.full_like(slopes.slope, recipe.start)
    best, found = torch.full_like(slopes.unit, torch.inf), sigma
    weight = torch.full_like(slopes.unit, recipe.loss_weight)
    reached = torch.zeros_like(best, dtype=torch.bool)
    for step in range(recipe.steps + recipe.more_steps + 1):
        sigma = sigma.clamp(recipe.low, recipe.high)
        mean = entropy(sigma).mean(1)
        gap = (mean - recipe.target).abs()
        nearer = (gap < best) & ~(reached & (step > recipe.steps))
        best, found = torch.where(nearer, gap, best), torch.where(nearer[:, None], sigma, found)
        reached |= mean > recipe.target
        if step == recipe.steps:
            weight = torch.where(reached, weight, recipe.raised * weight)
        sigma = sigma - recipe.rate_of(n) * (slopes.gradient(sigma) - weight[:, None] / (n * sigma))
    return found


def converged(slopes: Slopes, recipe: Recipe) -> Float[Tensor, "n cells"]:
    """Optimum of R - lambda mean log sigma: sigma_i^2 = lambda E_0 / (2 n g_i), within the bounds.

    Every network then has R = lambda / 2, as long as no bound is met.
    """
    n = slopes.slope.shape[1]
    variance = recipe.loss_weight * slopes.unit[:, None] / (2 * n * slopes.slope)
    return variance.clamp(recipe.low**2, recipe.high**2).sqrt()


def at_alpha(slopes: Slopes, recipe: Recipe) -> Float[Tensor, "n cells"]:
    """Largest entropy with R = alpha: sigma_i^2 = clip(theta / g_i), theta by bisection.

    Where the bounds do not allow alpha, as much as they allow.
    """
    low, high = recipe.low**2, recipe.high**2
    positive = slopes.slope.clamp_min(torch.finfo(slopes.slope.dtype).tiny)
    least = (positive.amin(1) * low).log()
    most = (positive.amax(1) * high).log()
    for _ in range(100):  # halves an interval of at most 1,500 nats to less than a rounding error
        middle = (least + most) / 2
        sigma = (middle.exp()[:, None] / positive).clamp(low, high).sqrt()
        above = slopes.ratio(sigma) > recipe.alpha
        least, most = torch.where(above, least, middle), torch.where(above, middle, most)
    return (least.exp()[:, None] / positive).clamp(low, high).sqrt()


CLOSED_FORMS = {"published": published, "converged": converged, "alpha": at_alpha}
