"""How strongly noise in every cell moves the feature, by a few backward passes that serve all cells at once.

g_i = E tr(J_i^T J_i), with J_i the derivative of the feature with respect to cell i, taken at *noisy* inputs: at the
clean input a ReLU hides what happens on its other side. Three things make few passes enough:

* The directions in which the feature moves most are known for nothing: draws f(x + noise) - f(x) span them. Along an
  orthonormal basis U of some draws, ||U^T J_i||^2 is exact; only the rest, J_i less its part in U, is estimated with
  signs (Hutch++, Meyer et al., SOSA 2021), which may know of places (see `places`).
* A noisy input serves several backward passes.
* The total energy is measured, not estimated: energies at several noise sizes on the same draws give the unit of the
  loss and how fast the network leaves the linear regime.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.questions.discarding.budget import Budget
from kdlens.questions.discarding.directions import Vectors, chosen_vectors
from kdlens.questions.discarding.lens import Lens
from kdlens.questions.discarding.noise import Noise
from kdlens.questions.discarding.sigma import Slopes

STEP = 1.25
"""Ratio of the two noise sizes whose energies tell how the energy grows."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Slopes of one image and what they rest on.

    Attributes:
        slopes: as `(1, cells)`.
        linear: energy that the derivatives predict at `sigma`, over the one the draws have; 1 where all is linear.
    """

    slopes: Slopes
    linear: float


def measure(
    lens: Lens, x: Float[Tensor, "..."], sigma: Float[Tensor, " cells"], noise: Noise, budget: Budget, start: float
) -> Measured | None:
    """Measure the slopes of one image around noise `sigma`.

    Returns:
        The slopes, or None where no feature moves (or one is not finite): the image cannot be judged.
    """
    spread = lens.cells.spread(sigma.float().view(1, *lens.cells.shape)).to(x)
    few, head = budget.few, noise.normal("draws", (min(budget.first, budget.draws), *x.shape))
    together = torch.cat([torch.zeros_like(head[:1]), start * head[:few], spread.cpu() * head])
    activation = lens.activations(x, together)  # one pass for the clean input, the unit and the first draws
    feature = activation.flatten(1).relu()
    clean, unit = feature[0], (feature[1 : 1 + few] - feature[0]).double().square().sum(1).mean()
    ready = [feature[1 + few :] - clean]

    def draw(count: int) -> Tensor:
        if ready and count == len(ready[0]):
            return ready.pop()
        return lens.changes(x, spread.cpu() * noise.normal("draws", (count, *x.shape)), clean)

    if budget.allows_basis(len(clean)):
        vectors = chosen_vectors(draw, tuple(activation.shape[1:]), noise, budget)
        energies = vectors.moved.double().square().sum(1)
    else:
        vectors = None
        more = noise.normal("draws", (budget.draws - len(head), *x.shape))
        energies = lens.energies(x, spread.cpu() * more, clean)
        energies = torch.cat([ready.pop().double().square().sum(1), energies])
    here = energies[:few].mean()
    even = bool((sigma == STEP * start).all())  # then a step below is the unit's own noise
    below = unit if even else lens.energies(x, spread.cpu() / STEP * head[:few], clean).mean()
    if not (torch.isfinite(torch.stack([unit, here, below])).all() and unit > 0 and here > 0 and below > 0):
        return None
    decay = (1 - 0.5 * (here / below).log() / math.log(STEP)).clamp(-0.5, 0.9)
    if vectors is None:
        signs = noise.signs("signs", (budget.probes, len(clean)))
        raw = _squares(lens, x, spread, signs, noise, budget).mean(0)
    else:
        raw = _with_basis(lens, x, spread, vectors, noise, budget)
    variance = sigma.double().cpu().square()
    predicted = (raw * variance).sum()
    if not (torch.isfinite(predicted) and predicted > 0):
        return None
    slope = raw * ((1 - decay) * here / predicted).cpu()
    at = variance.mean().sqrt()
    slopes = Slopes(slope[None], unit.cpu()[None], decay.cpu()[None], at[None])
    return Measured(slopes, float(predicted / energies.mean().cpu()))


def _with_basis(lens: Lens, x: Tensor, spread: Tensor, vectors: Vectors, noise: Noise, budget: Budget) -> Tensor:
    """Estimate E tr(J_i^T J_i) for every cell: what the directions see, and what signs see of the rest."""
    squares = _squares(lens, x, spread, torch.cat([vectors.directions, vectors.signs]), noise, budget)
    count = len(vectors.directions)
    seen, rest = squares[:count].sum(0) / vectors.times, squares[count:]
    return seen + pulled(rest, seen, vectors.variance) if len(rest) else seen


def _squares(
    lens: Lens, x: Tensor, spread: Tensor, vectors: Float[Tensor, "v units"], noise: Noise, budget: Budget
) -> Float[Tensor, "v cells"]:
    """||v^T J_i||^2 of every vector and cell, each at one of the noisy points."""
    order = noise.order("order", len(vectors))
    points = min(budget.points, len(vectors))
    epsilon = noise.normal("points", (points, *x.shape))
    found = torch.empty(len(vectors), lens.cells.count, dtype=torch.float64)
    for part in torch.arange(points).split(lens.rows):
        inputs = (x + spread * epsilon[part].to(x)).requires_grad_()
        output = lens.feature(inputs)
        turns = [order[first + part[0] : first + part[-1] + 1] for first in range(0, len(order), points)]
        turns = [chosen for chosen in turns if len(chosen)]
        for turn, chosen in enumerate(turns):  # the last may have fewer vectors than there are points
            along = vectors[chosen.to(vectors.device)].to(output)
            reached = output if len(chosen) == len(part) else output[: len(chosen)]
            more = turn + 1 < len(turns)
            (gradient,) = torch.autograd.grad(reached, inputs, along, retain_graph=more)
            found[chosen] = lens.cells.total(gradient[: len(chosen)].square()).flatten(1).double().cpu()
    return found


def pulled(
    rest: Float[Tensor, "probes cells"], seen: Float[Tensor, " cells"], variance: float = 1.0
) -> Float[Tensor, " cells"]:
    """Mean over probes of what they see in every cell, pulled towards what a cell of such a `seen` usually has.

    Empirical Bayes on the logarithms (James and Stein; Efron and Morris 1973): a line through log `seen` predicts; how
    much of the scatter around it is the probes' own noise decides how far the estimate moves. With many probes, or
    where cells differ for good, it hardly does. `variance` is that of the probes' mean, over what it
    would be if they were independent.
    """
    mean, count = rest.mean(0), len(rest)
    if count < 3 or len(mean) < 5 or not ((mean > 0) & (seen > 0)).all():
        return mean
    noise = variance * (rest.var(0) / count / mean.square()).mean()
    known = torch.stack([torch.ones_like(seen), seen.log()], 1)
    predicted = known @ torch.linalg.lstsq(known, mean.log()[:, None]).solution[:, 0]
    residual = mean.log() - predicted
    scatter = residual.square().sum() / (len(residual) - 2)
    own = ((scatter - noise) / scatter).clamp(0, 1) if scatter > 0 else torch.zeros_like(scatter)
    return (predicted + own * residual).exp()
