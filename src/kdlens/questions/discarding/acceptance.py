"""May the fast backend be trusted on this network? Checks on a few images, against draws that linearise nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.questions.discarding.lens import Lens
from kdlens.questions.discarding.linear import Solved, solve
from kdlens.questions.discarding.monte_carlo import Crowd
from kdlens.questions.discarding.noise import Noise
from kdlens.questions.discarding.probes import Budget
from kdlens.questions.discarding.recipe import Recipe

DRAWS = 128
"""Noisy inputs an image is checked with."""

LOWEST, HIGHEST = 0.75, 1.1
"""Bounds of measured over linear energy, within which the linearisation is safe."""

TOLERANCE = 0.1
"""Relative error allowed to the predicted loss, and to what groups of cells spend beside each other."""

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
        images: images the checks rest on.
    """

    backend: str
    reason: str
    energy: float = float("nan")
    loss: float = float("nan")
    groups: tuple[float, ...] = ()
    errors: tuple[float, ...] = ()
    images: int = 0


def accept(
    lens: Lens, images: Float[Tensor, "n ..."], noises: Sequence[Noise], recipe: Recipe, budget: Budget
) -> Acceptance:
    """Solve the images with the fast backend and look at its solutions with fresh draws."""
    pairs = list(zip(images, noises, strict=True))
    solved = [solve(lens, image.to(lens.device), noise, recipe, budget) for image, noise in pairs]
    good = [i for i, one in enumerate(solved) if one.sigma is not None]
    if not good:
        return Acceptance("monte-carlo", "no derivative reaches the images that were tried")
    found = [_look(lens, *pairs[i], solved[i], recipe) for i in good]
    energy = 1 / sum(solved[i].linear for i in good) * len(good)
    loss = sum(look.ratio / solved[i].ratio for i, look in zip(good, found, strict=True)) / len(good)
    groups, errors = _grouped(torch.stack([f.measured for f in found]), torch.stack([f.predicted for f in found]))
    problem = _problem(energy, loss, groups, errors)
    reason = problem or f"derivatives agree with {DRAWS} draws on each of {len(good)} images"
    backend = "monte-carlo" if problem else "linear"
    return Acceptance(backend, reason, energy, loss, tuple(groups.tolist()), tuple(errors.tolist()), len(good))


@dataclass(frozen=True, eq=False)
class _Look:
    """At a solution: feature loss, and what every cell spends (dR / dlog sigma), measured and predicted."""

    ratio: float
    measured: Float[Tensor, " cells"]
    predicted: Float[Tensor, " cells"]


def _look(lens: Lens, image: Tensor, noise: Noise, solved: Solved, recipe: Recipe) -> _Look:
    assert solved.sigma is not None  # noqa: S101 - for the type checker
    assert solved.spent is not None  # noqa: S101
    crowd = Crowd(lens, image[None].to(lens.device), [noise.again()], recipe)
    energy, slope = crowd.energy(solved.sigma[None], [0], DRAWS)
    return _Look(float(energy[0] / crowd.unit[0]), (solved.sigma * slope[0]) / crowd.unit[0], solved.spent)


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


def _problem(energy: float, loss: float, groups: Tensor, errors: Tensor) -> str:
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
    return ""


def _around(tolerance: float) -> str:
    return f"{1 - tolerance:.1f} to {1 + tolerance:.1f}"
