"""The slow backend: the published loop. Noise is drawn, sent through the network, and its size descended on.

What is saved costs nothing: parameters are frozen, images share the passes, and an image leaves the loop as soon as its
mean entropy has crossed the target. The optimum of the other protocols is found by balancing what every cell spends.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.questions.discarding.lens import Lens
from kdlens.questions.discarding.linear import Solved
from kdlens.questions.discarding.noise import Noise
from kdlens.questions.discarding.recipe import Recipe
from kdlens.questions.discarding.sigma import entropy

BALANCING_STEPS = 24
"""Steps towards the optimum of `converged` and `alpha`; the second half is averaged."""

BALANCING_DRAWS = 256


class Crowd:
    """Some images of one network, and what noise does to their features.

    Args:
        lens: the network at its layer.
        images: `(n, ...)`.
        noises: random numbers of every image.
        recipe: for the size of the unit.
    """

    def __init__(self, lens: Lens, images: Float[Tensor, "n ..."], noises: Sequence[Noise], recipe: Recipe) -> None:
        self._lens, self._images, self._noises = lens, images, noises
        with torch.no_grad():
            self._clean = torch.cat([lens.feature(part) for part in images.split(lens.rows)])
        units = []
        for image, clean, noise in zip(images, self._clean, noises, strict=True):
            draws = recipe.start * noise.normal("unit", (recipe.draws, *image.shape))
            units.append(lens.energies(image, draws, clean).mean())
        self.unit = torch.stack(units).cpu()

    def energy(
        self, sigma: Float[Tensor, "n cells"], which: Sequence[int], draws: int
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n cells"]]:
        """Mean energy of fresh draws at `sigma` for the images `which`, and its derivative with respect to sigma."""
        shape = self._images.shape[1:]
        epsilon = torch.stack([self._noises[image].normal("draws", (draws, *shape)) for image in which]).flatten(0, 1)
        owner = torch.arange(len(which)).repeat_interleave(draws)
        energies = torch.zeros(len(which), dtype=torch.float64)
        gradients = torch.zeros(len(which), self._lens.cells.count, dtype=torch.float64)
        spread = self._lens.cells.spread(sigma.float().view(-1, *self._lens.cells.shape)).to(self._images)
        for rows in torch.arange(len(owner)).split(self._lens.rows):
            images = torch.tensor(which)[owner[rows]]
            energy, gradient = self._pass(images, spread[owner[rows]], epsilon[rows].to(self._images))
            energies.index_add_(0, owner[rows], energy)
            gradients.index_add_(0, owner[rows], gradient)
        return energies / draws, gradients / draws

    def _pass(self, images: Tensor, spread: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor]:
        inputs = (self._images[images] + spread * epsilon).requires_grad_()
        energy = (self._lens.feature(inputs) - self._clean[images]).square().sum(1)
        (gradient,) = torch.autograd.grad(energy.sum(), inputs)
        cells = self._lens.cells.total(gradient * epsilon).flatten(1)
        return energy.detach().double().cpu(), cells.double().cpu()


def solve_all(crowd: Crowd, cells: int, recipe: Recipe) -> list[Solved]:
    """Find the noise of every image by the recipe's protocol; images whose feature never moves cannot be judged."""
    alive = torch.isfinite(crowd.unit) & (crowd.unit > 0)
    which = alive.nonzero().flatten().tolist()
    find = descend if recipe.protocol == "published" else balance
    sigma, ratio = find(crowd, which, cells, recipe) if which else (torch.empty(0, cells), torch.empty(0))
    solved = [Solved(None) for _ in crowd.unit]
    for place, image in enumerate(which):
        if torch.isfinite(sigma[place]).all():
            solved[image] = Solved(sigma[place], float(ratio[place]))
    return solved


def descend(
    crowd: Crowd, which: Sequence[int], cells: int, recipe: Recipe
) -> tuple[Float[Tensor, "n cells"], Float[Tensor, " n"]]:
    """The published descent; every image stops at its own crossing of the target."""
    sigma = torch.full((len(which), cells), recipe.start, dtype=torch.float64)
    found, nearest = sigma.clone(), torch.full((len(which),), torch.inf, dtype=torch.float64)
    ratio = torch.full_like(nearest, torch.nan)
    going = torch.arange(len(which))
    for step in range(recipe.steps + recipe.more_steps + 1):
        sigma[going] = sigma[going].clamp(recipe.low, recipe.high)
        mean = entropy(sigma[going]).mean(1)
        gap = (mean - recipe.target).abs()
        nearer = going[gap < nearest[going]]
        found[nearer], nearest[nearer] = sigma[nearer], (entropy(sigma[nearer]).mean(1) - recipe.target).abs()
        going = going[mean <= recipe.target]
        if not len(going) or step == recipe.steps + recipe.more_steps:
            break
        images = [which[i] for i in going.tolist()]
        energy, slope = crowd.energy(sigma[going], images, recipe.draws)
        unit = crowd.unit[images]
        ratio[going] = energy / unit
        weight = recipe.loss_weight * (1 if step < recipe.steps else recipe.raised)
        sigma[going] -= recipe.rate_of(cells) * (slope / unit[:, None] - weight / (cells * sigma[going]))
    return found, ratio


def balance(
    crowd: Crowd, which: Sequence[int], cells: int, recipe: Recipe
) -> tuple[Float[Tensor, "n cells"], Float[Tensor, " n"]]:
    """Optimum of `converged` or `alpha`: every free cell spends the same, a_i = dR / dlog sigma_i = lambda / n.

    Steps log sigma_i += (1 - n a_i / lambda) / 4 on fresh draws, which have no bias from the draws' noise; the second
    half of the steps is averaged. For `alpha`, lambda is what brings R to alpha: sum_i a_i is lambda at the optimum,
    and grows with R.
    """
    first = recipe.alpha if recipe.protocol == "alpha" else recipe.loss_weight / 2
    sigma = torch.full((len(which), cells), recipe.start * first**0.5, dtype=torch.float64)
    unit = crowd.unit[list(which)]
    kept, ratios = [], []
    for step in range(BALANCING_STEPS):
        energy, slope = crowd.energy(sigma, which, BALANCING_DRAWS)
        spent = sigma * slope / unit[:, None]
        total = torch.full_like(unit, recipe.loss_weight)
        if recipe.protocol == "alpha":
            total = spent.sum(1) * recipe.alpha * unit / energy
        even = total[:, None] / cells
        sigma = (sigma * (0.25 * (1 - spent / even).clamp(-1, 1)).exp()).clamp(recipe.low, recipe.high)
        if step >= BALANCING_STEPS // 2:
            kept.append(sigma.log())
            ratios.append(energy / unit)
    return torch.stack(kept).mean(0).exp(), torch.stack(ratios).mean(0)
