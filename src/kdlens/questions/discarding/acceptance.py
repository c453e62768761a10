"""May the fast backend be trusted on this network? Checks on a few images, against draws that linearise nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.questions.discarding.budget import Budget
from kdlens.questions.discarding.lens import Lens
from kdlens.questions.discarding.linear import Solved, solve_linear
from kdlens.questions.discarding.monte_carlo import Crowd
from kdlens.questions.discarding.noise import Noise
from kdlens.questions.discarding.recipe import Recipe

DRAWS = 256
"""Noisy inputs an image is checked with, in two halves."""

LOWEST, HIGHEST = 0.75, 1.1
"""Bounds of measured over linear energy, within which the linearisation is safe."""

TOLERANCE = 0.1
"""Relative error allowed to the predicted loss, and to what groups of cells spend beside each other."""

PROBES = 128
"""Backward passes of the fast backend while it is checked, so that it is not judged by a small number of them."""

SCATTER = 0.1
"""Standard deviation allowed to the error of what single cells spend, beyond the noise of the draws. The published
descent turns a tenth to a fifth of it into error of the entropy; seeds of the loop differ by 0.004 to 0.012 nats."""

TOO_MUCH = 2
"""Times `SCATTER` that is refused however uncertain it is: few images leave much uncertain."""

GROUPS, FEWEST = 5, 8
"""Groups of cells, by what the fast backend says they spend, and cells a group has at least."""


@dataclass(frozen=True)
class Acceptance:
    """Which backend to use, and why.

    Attributes:
        backend: `"linear"` where all checks pass, else `"monte-carlo"`.
        reason: the checks in words.
        energy: energy of the draws over that of the derivatives, mean over images.
        loss: measured feature loss at the solution over the predicted one, mean over images.
        groups: measured over predicted spending of the cells that spend least to most, relative to all cells.
        errors: standard errors of `groups`.
        scatter: standard deviation over cells of measured over predicted spending, the draws' own noise taken out.
        scatter_error: standard error of its square.
        images: images the checks rest on.
    """

    backend: Literal["linear", "monte-carlo"]
    reason: str
    energy: float = float("nan")
    loss: float = float("nan")
    groups: tuple[float, ...] = ()
    errors: tuple[float, ...] = ()
    scatter: float = float("nan")
    scatter_error: float = float("nan")
    images: int = 0


def accept(
    lens: Lens, images: Float[Tensor, "n ..."], noises: Sequence[Noise], recipe: Recipe, budget: Budget
) -> Acceptance:
    """Solve the images with the fast backend and look at its solutions with fresh draws."""
    pairs = list(zip(images, noises, strict=True))
    solved = solve_linear(lens, images, noises, recipe, Budget(max(budget.probes, PROBES)))
    good = [i for i, one in enumerate(solved) if one.sigma is not None]
    if not good:
        return Acceptance("monte-carlo", "no derivative reaches the images that were tried")
    found = [_look(lens, *pairs[i], solved[i], recipe) for i in good]
    energy = 1 / sum(solved[i].linear for i in good) * len(good)
    loss = sum(look.ratio / solved[i].ratio for i, look in zip(good, found, strict=True)) / len(good)
    halves, predicted = torch.stack([f.halves for f in found]), torch.stack([f.predicted for f in found])
    groups, errors = _grouped(halves.mean(1), predicted)
    variance, uncertain = _scattered(halves, predicted)
    problem = _problem(energy, loss, groups, errors, variance, uncertain)
    reason = problem or f"derivatives agree with {DRAWS} draws on each of {len(good)} images"
    return Acceptance(
        backend="monte-carlo" if problem else "linear",
        reason=reason,
        energy=energy,
        loss=loss,
        groups=tuple(groups.tolist()),
        errors=tuple(errors.tolist()),
        scatter=max(0.0, variance) ** 0.5,
        scatter_error=uncertain,
        images=len(good),
    )


@dataclass(frozen=True, eq=False)
class _Look:
    """At a solution: feature loss, and what every cell spends (dR / dlog sigma), measured and predicted."""

    ratio: float
    halves: Float[Tensor, "2 cells"]
    predicted: Float[Tensor, " cells"]


def _look(lens: Lens, image: Tensor, noise: Noise, solved: Solved, recipe: Recipe) -> _Look:
    assert solved.sigma is not None  # noqa: S101 - for the type checker
    assert solved.spent is not None  # noqa: S101
    crowd = Crowd(lens, image[None].to(lens.device), [noise.apart("check/")], recipe)
    halves = [crowd.energy(solved.sigma[None], [0], DRAWS // 2) for _ in range(2)]
    ratio = sum(float(energy[0] / crowd.unit[0]) for energy, _ in halves) / 2
    spent = torch.stack([(solved.sigma * slope[0]) / crowd.unit[0] for _, slope in halves])
    return _Look(ratio, spent, solved.spent)


def _grouped(measured: Float[Tensor, "n cells"], predicted: Float[Tensor, "n cells"]) -> tuple[Tensor, Tensor]:
    """Measured over predicted spending of groups of cells, relative to all, with errors over images and cells."""
    order = predicted.flatten().argsort()
    overall = measured.sum() / predicted.sum()
    values, errors = [], []
    for part in order.tensor_split(max(1, min(GROUPS, len(order) // FEWEST))):
        ours, theirs = predicted.flatten()[part], measured.flatten()[part]
        values.append(theirs.sum() / ours.sum() / overall)
        errors.append((theirs - values[-1] * overall * ours).std() * len(part) ** 0.5 / ours.sum() / overall)
    return torch.stack(values), torch.stack(errors)


def _scattered(halves: Float[Tensor, "n 2 cells"], predicted: Float[Tensor, "n cells"]) -> tuple[float, float]:
    """Variance over cells of the error of the prediction, and its standard error.

    What two halves of the draws have in common is no noise of theirs: the covariance of their errors. The cells whose
    share is tiny, and whose errors move nothing, are left out.
    """
    level = halves.mean(1).sum(1) / predicted.sum(1)
    errors = halves / (predicted * level[:, None])[:, None] - 1
    products = (errors[:, 0] * errors[:, 1])[predicted > 0.1 * predicted.mean(1, keepdim=True)]
    return float(products.mean()), float(products.std() / len(products) ** 0.5) if len(products) > 1 else float("inf")


def _problem(energy: float, loss: float, groups: Tensor, errors: Tensor, variance: float, uncertain: float) -> str:
    """What speaks against the fast backend, in words; nothing where all is well."""
    if not LOWEST <= energy <= HIGHEST:
        return f"noise moves the feature {energy:.2f} times as far as derivatives say (allowed: {LOWEST} to {HIGHEST})"
    if not abs(loss - 1) <= 2 * TOLERANCE:
        return f"the feature loss is {loss:.2f} times the predicted one (allowed: {_around(2 * TOLERANCE)})"
    excess = (groups - 1).abs() - 2 * errors
    if not bool((excess <= TOLERANCE).all()):
        worst = int(excess.argmax())
        return (
            f"cells of group {worst + 1} of {len(groups)} (least to most) spend {groups[worst]:.2f} times what "
            f"derivatives say, relative to all (allowed: {_around(TOLERANCE)})"
        )
    if variance - 2 * uncertain > SCATTER**2 or variance > (TOO_MUCH * SCATTER) ** 2:
        return (
            f"what single cells spend scatters by {variance**0.5:.2f} around what derivatives say (allowed: {SCATTER})"
        )
    return ""


def _around(tolerance: float) -> str:
    return f"{1 - tolerance:.1f} to {1 + tolerance:.1f}"
