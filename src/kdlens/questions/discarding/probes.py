"""How strongly noise in every cell moves the feature, by a few backward passes that serve all cells at once.

g_i = E tr(J_i^T J_i), with J_i the derivative of the feature with respect to cell i, taken at *noisy* inputs: at the
clean input a ReLU hides what happens on its other side. Three things make few passes enough:

* The directions in which the feature moves most are known for nothing: draws f(x + noise) - f(x) span them. Along an
  orthonormal basis U of some draws, ||U^T J_i||^2 is exact; only the rest, J_i less its part in U, is estimated with
  random signs (Hutch++, Meyer et al., SOSA 2021).
* A noisy input serves several backward passes.
* The total energy is measured, not estimated: energies at several noise sizes on the same draws give the unit of the
  loss and how fast the network leaves the linear regime.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.errors import ConfigError
from kdlens.questions.discarding.lens import Lens
from kdlens.questions.discarding.noise import Noise
from kdlens.questions.discarding.sigma import Slopes

STEP = 1.25
"""Ratio of the two noise sizes whose energies tell how the energy grows."""


FEWEST_PROBES = 8


@dataclass(frozen=True)
class Budget:
    """How much work an image gets.

    Attributes:
        probes: backward passes. Half of them follow the draws' directions, half are random.
        memory: bytes for the vectors of an image. Where the feature is too large for that, all probes are random, of
            one byte a number.
    """

    probes: int = 128
    memory: float = 2.0**30

    def __post_init__(self) -> None:
        if self.probes < FEWEST_PROBES:
            raise ConfigError(f"probes must be {FEWEST_PROBES} or more, got {self.probes}")
        if not self.memory > 0:
            raise ConfigError(f"memory must be positive, got {self.memory}")

    def allows_basis(self, units: int) -> bool:
        """Whether draws, basis, signs and their joint table fit into the memory."""
        return 3.5 * 4 * self.probes * units <= self.memory

    @property
    def draws(self) -> int:
        """Noisy inputs that are only run forward."""
        return max(8, self.probes // 2)

    @property
    def few(self) -> int:
        """Draws repeated at other noise sizes."""
        return max(8, self.probes // 16)

    @property
    def points(self) -> int:
        """Noisy inputs at which derivatives are taken."""
        return max(8, self.probes // 8)


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
    epsilon = noise.normal("draws", (budget.draws, *x.shape))
    with torch.no_grad():
        clean = lens.feature(x[None])[0]
    few = epsilon[: budget.few]
    moved = lens.changes(x, spread.cpu() * epsilon, clean) if budget.allows_basis(len(clean)) else None
    energies = lens.energies(x, spread.cpu() * epsilon, clean) if moved is None else moved.double().square().sum(1)
    unit = lens.energies(x, start * few, clean).mean()
    here = energies[: budget.few].mean()
    even = bool((sigma == STEP * start).all())  # then a step below is the unit's own noise
    below = unit if even else lens.energies(x, spread.cpu() / STEP * few, clean).mean()
    if not (torch.isfinite(torch.stack([unit, here, below])).all() and unit > 0 and here > 0 and below > 0):
        return None
    decay = (1 - 0.5 * (here / below).log() / math.log(STEP)).clamp(-0.5, 0.9)
    if moved is None:
        signs = noise.signs("signs", (budget.probes, len(clean)))
        raw = _squares(lens, x, spread, signs, noise, budget).mean(0)
    else:
        raw = _with_basis(lens, x, spread, moved, noise, budget)
    variance = sigma.double().cpu().square()
    predicted = (raw * variance).sum()
    if not (torch.isfinite(predicted) and predicted > 0):
        return None
    slope = raw * ((1 - decay) * here / predicted).cpu()
    at = variance.mean().sqrt()
    slopes = Slopes(slope[None], unit.cpu()[None], decay.cpu()[None], at[None])
    return Measured(slopes, float(predicted / energies.mean().cpu()))


def _with_basis(lens: Lens, x: Tensor, spread: Tensor, moved: Tensor, noise: Noise, budget: Budget) -> Tensor:
    """Estimate E tr(J_i^T J_i) for every cell: what the directions see, and what random signs see of the rest."""
    directions, signs = _vectors(moved, noise, budget)
    squares = _squares(lens, x, spread, torch.cat([directions, signs]), noise, budget)
    times = 1 if len(signs) else len(directions) // moved.shape[1]
    seen, rest = squares[: len(directions)].sum(0) / times, squares[len(directions) :]
    return seen + pulled(rest, seen) if len(rest) else seen


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
        turns = [part + first for first in range(0, len(order), points)]
        for turn, places in enumerate(turns):
            fitting = places < len(order)  # the last turn may have fewer vectors than points
            chosen = order[places[fitting]]
            more = turn + 1 < len(turns)
            along = (output[fitting.to(output.device)] * vectors[chosen.to(vectors.device)].to(output)).sum()
            (gradient,) = torch.autograd.grad(along, inputs, retain_graph=more)
            found[chosen] = lens.cells.total(gradient[fitting.to(x.device)].square()).flatten(1).double().cpu()
    return found


def pulled(rest: Float[Tensor, "probes cells"], seen: Float[Tensor, " cells"]) -> Float[Tensor, " cells"]:
    """Mean over probes of what they see in every cell, pulled towards what a cell of such a `seen` usually has.

    Empirical Bayes on the logarithms (James and Stein; Efron and Morris 1973): a line through log `seen` predicts; how
    much of the scatter around it is the probes' own noise decides how far the estimate moves. With many probes, or
    where cells differ for good, it hardly does.
    """
    mean, count = rest.mean(0), len(rest)
    if count < 3 or len(mean) < 5 or not ((mean > 0) & (seen > 0)).all():
        return mean
    noise = (rest.var(0) / count / mean.square()).mean()
    known = torch.stack([torch.ones_like(seen), seen.log()], 1)
    predicted = known @ torch.linalg.lstsq(known, mean.log()[:, None]).solution[:, 0]
    residual = mean.log() - predicted
    scatter = residual.square().sum() / (len(residual) - 2)
    own = ((scatter - noise) / scatter).clamp(0, 1) if scatter > 0 else torch.zeros_like(scatter)
    return (predicted + own * residual).exp()


def _vectors(moved: Float[Tensor, "draws units"], noise: Noise, budget: Budget) -> tuple[Tensor, Tensor]:
    """Directions, an orthonormal basis (or several times all units), and random signs without their part in it."""
    units = moved.shape[1]
    if units <= budget.probes:  # every unit by itself, at several points
        return torch.eye(units, device=moved.device).repeat(budget.probes // units, 1), moved[:0]
    basis = _orthonormal(moved)
    signs = noise.signs("signs", (budget.probes - budget.draws, units)).to(moved)
    return basis, signs - (signs @ basis.T) @ basis


def _orthonormal(rows: Float[Tensor, "draws units"]) -> Float[Tensor, "directions units"]:
    """An orthonormal basis of the rows' span, row after row, so that rounding moves it as little as it moves the rows.

    Cholesky factors of the inner products, twice: the second time mends what rounding left. Rows that are nearly
    combinations of earlier ones are left out.
    """
    exact = rows.double()
    for _ in range(2):
        gram = exact @ exact.T
        gram.diagonal().add_(1e-14 * gram.diagonal().mean())
        factor, _ = torch.linalg.cholesky_ex(gram)
        exact = torch.linalg.solve_triangular(factor, exact, upper=False)
    off = (exact @ exact.T - torch.eye(len(rows)).to(exact)).abs().amax(1)
    return exact[off < 1e-3].to(rows) if off.isfinite().all() else rows[:0]
