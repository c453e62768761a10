"""DiffROAR: do a network's gradients point at what the class can be learned from?

Every image keeps the coordinates with the largest (top) or the smallest (bottom) gradient of a frozen network, the rest
is replaced, and the same architecture is trained on such images and tested on test images masked alike. The score is
the accuracy on top less that on bottom: above 0, the gradients point at what discriminates.

Source: Shah, Jain and Netrapalli, Do input gradients highlight discriminative features?, NeurIPS 2021.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import nn

from kdlens.errors import ConfigError, StatisticsError, did_you_mean
from kdlens.measures.masked import Attribution, Masked, Ranking, fill_value, rank
from kdlens.models.device import device_of
from kdlens.models.fresh import fresh_copy
from kdlens.models.given import require_network
from kdlens.models.state import undisturbed
from kdlens.stats.resampling import Interval, seed_interval
from kdlens.training.api import distill
from kdlens.training.batches import Batches, as_batches
from kdlens.training.outputs import logits_of

if TYPE_CHECKING:
    import pandas as pd

Fill = Literal["zero", "mean"]

RECIPE: dict[str, Any] = {"epochs": 10, "optimizer": {"name": "adam", "lr": 3e-3}, "schedule": "one-cycle"}
"""How networks are trained where nothing else is said."""

_OURS = ("method", "out", "seed", "validation", "device", "path_layers")


@dataclass(frozen=True)
class DiffRoarStep:
    """DiffROAR at one fraction.

    Attributes:
        fraction: share of the coordinates that is kept.
        score: accuracy on top less accuracy on bottom, mean over repeats with Student's t interval.
        top: accuracy where the highest coordinates are kept, likewise; in [0, 1].
        bottom: the same where the lowest are kept.
        chance: the score of a random ranking, by the same trainings; unknown (NaN, n = 0) where it was not asked for.
        random: the accuracy where random coordinates are kept; likewise.
    """

    fraction: float
    score: Interval
    top: Interval
    bottom: Interval
    chance: Interval
    random: Interval


@dataclass(frozen=True)
class DiffRoar:
    """DiffROAR of one network, one entry of `steps` for every fraction.

    Attributes:
        steps: in the order asked for.
        repeats: trainings for each fraction and side.
        images: test images behind every accuracy.
        fill: what replaced the other coordinates.
        ranking: whether coordinates or whole pixels were ranked.
    """

    steps: tuple[DiffRoarStep, ...]
    repeats: int
    images: int
    fill: Fill
    ranking: Ranking

    def __getitem__(self, step: int) -> DiffRoarStep:
        return self.steps[step]

    def to_frame(self) -> "pd.DataFrame":
        """A row for every fraction and number: value, low, high, n (repeats)."""
        import pandas as pd

        rows = []
        for step, name in itertools.product(self.steps, ("score", "top", "bottom", "chance", "random")):
            found = getattr(step, name)
            ends = {"value": found.value, "low": found.low, "high": found.high, "n": found.n}
            rows.append({"fraction": step.fraction, "number": name, **ends})
        return pd.DataFrame(rows)


def diffroar(
    model: nn.Module,
    train: Any,
    test: Any,
    *,
    fractions: Sequence[float] = (0.1, 0.3, 0.5),
    repeats: int = 3,
    recipe: Mapping[str, Any] | None = None,
    build: Callable[[int], nn.Module] | None = None,
    attribution: Attribution = "logit",
    ranking: Ranking = "coordinates",
    fill: Fill = "zero",
    chance: bool = True,
    seed: int = 0,
    batch_size: int | None = None,
) -> DiffRoar:
    """Train the network's architecture again on what its gradients call most and least important.

    Trainings: 2 for every fraction and repeat, 4 with `chance`. Repeat r has the same first weights and order of images
    for top, bottom and random. Accuracy is that after the last epoch, on the test images masked by the same network.
    What is left can tell the class by the *shape* of the mask alone, on either side; that is part of the measure.

    Memory: one bit for every coordinate of the images, twice.

    Args:
        model: the network whose gradients are judged; it comes back as it was.
        train: training images, as for `kdlens.distill`, as the network takes them.
        test: test images, likewise.
        fractions: shares of the coordinates to keep, in (0, 1).
        repeats: trainings with other seeds; an interval needs 2.
        recipe: options of `kdlens.distill` for all trainings, e.g. `{"epochs": 20, "augment": "flip"}`; `RECIPE` of
            this module by default.
        build: makes the architecture with first weights from a seed. Without it a copy of the model is reset layer by
            layer.
        attribution: gradient of the predicted class's `"logit"`, or of the `"loss"` with the label.
        ranking: rank all `"coordinates"` C x H x W, as published, or whole `"pixels"` by the norm over channels.
        fill: put `"zero"` in place of what is not kept, or the `"mean"` of each channel over the training images.
        chance: also train with a random ranking.
        seed: of weights, order and of ties.
        batch_size: images a pass for the gradients; does not change the result.

    Raises:
        ConfigError: a fraction outside (0, 1), or options that make no sense.
        ModelError: first weights that cannot be drawn again without `build`.
        DataError: images that cannot be used, or a fraction that keeps none of the coordinates.
        StatisticsError: no repeat.

    Example:
        >>> x = torch.randn(64, 1, 2, 2)
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> data = (x, (x[:, 0, 0, 0] > 0).long())
        >>> found = diffroar(network, data, data, fractions=[0.25], repeats=2, recipe={"epochs": 1}, chance=False)
        >>> found[0].score.n, found.images
        (2, 64)

    Source: Shah et al., NeurIPS 2021. Their first code release calls "top" what is removed; here it is what is kept,
    as in the paper.
    """
    require_network(model, "network")
    plan = _checked_recipe(recipe)
    _check_options(fractions, repeats, attribution, ranking, fill)
    pair = (as_batches(train), as_batches(test))
    filled = fill_value(pair[0], fill)
    make = build or (lambda number: fresh_copy(model, number))
    device = device_of(model)

    def accuracies(judge: nn.Module | None, fraction: float) -> tuple[list[float], list[float]]:
        """Accuracy of every repeat on top and on bottom."""
        options = {"attribution": attribution, "ranking": ranking, "seed": seed, "batch_size": batch_size}
        learned, asked = (rank(judge, data, fraction, **options) for data in pair)  # type: ignore[arg-type]
        sides: list[list[float]] = []
        for kept in zip(learned, asked, strict=True):
            given = [Masked(d, k, filled, pixels=ranking == "pixels") for d, k in zip(pair, kept, strict=True)]
            sides.append([])
            for repeat in range(seed, seed + repeats):
                network = make(repeat).to(device)
                distill(None, network, given[0], seed=repeat, device=str(device), **plan)
                sides[-1].append(accuracy(network, as_batches(given[1])))
        return sides[0], sides[1]

    steps = []
    for fraction in fractions:
        top, bottom = accuracies(model, fraction)
        random = accuracies(None, fraction) if chance else None
        steps.append(_step(fraction, top, bottom, random))
    return DiffRoar(tuple(steps), repeats, len(pair[1]), fill, ranking)


@torch.no_grad()
def accuracy(network: nn.Module, data: Batches) -> float:
    """Share of images that a network gets right; it comes back as it was."""
    device, right = device_of(network), 0
    with undisturbed(network):
        for indices in torch.arange(len(data)).split(256):
            images, labels = data.batch(indices)
            logits = logits_of(network(images.to(device)), "network")
            right += int((logits.argmax(1).cpu() == labels).sum())
    return right / len(data)


def _step(
    fraction: float, top: list[float], bottom: list[float], random: tuple[list[float], list[float]] | None
) -> DiffRoarStep:
    def less(a: list[float], b: list[float]) -> Interval:
        return seed_interval([x - y for x, y in zip(a, b, strict=True)])

    unknown = Interval(math.nan, math.nan, math.nan, 0)
    by_chance = unknown if random is None else less(*random)
    blind = unknown if random is None else seed_interval([(a + b) / 2 for a, b in zip(*random, strict=True)])
    return DiffRoarStep(fraction, less(top, bottom), seed_interval(top), seed_interval(bottom), by_chance, blind)


def _checked_recipe(recipe: Mapping[str, Any] | None) -> dict[str, Any]:
    given = RECIPE if recipe is None else dict(recipe)
    for name in given:
        if name in _OURS:
            raise ConfigError(f'the recipe sets "{name}", which diffroar decides itself; leave it out')
    return {**given, "method": "labels", "path_layers": ()}


def _check_options(fractions: Sequence[float], repeats: int, attribution: str, ranking: str, fill: str) -> None:
    for fraction in fractions:
        if not 0 < fraction < 1:
            raise ConfigError(f"a fraction of {fraction} is kept; it must lie between 0 and 1, e.g. 0.1 for a tenth")
    if not len(fractions):
        raise ConfigError("no fraction to keep; name some, e.g. fractions=[0.1, 0.5]")
    if repeats < 1:
        raise StatisticsError(f"repeats is {repeats}; train at least once, and 3 times for an interval worth reading")
    for name, value, known in (
        ("attribution", attribution, get_args(Attribution)),
        ("ranking", ranking, get_args(Ranking)),
        ("fill", fill, get_args(Fill)),
    ):
        if value not in known:
            raise ConfigError(
                f'{name} "{value}" is unknown{did_you_mean(str(value), known) or "; "} known: {", ".join(known)}'
            )
