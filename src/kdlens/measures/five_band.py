"""The five-band score: is a heat map strong where an image's class can be told, weak elsewhere, and nothing outside?

Heat and truth are cut into five bands, -2 to 2, and compared pixel by pixel. A pixel of the object that is hot in the
wrong band counts as a false positive, also in the false positive rate, as in the authors' code.

Source: Tjoa and Guan, Quantifying explainability of saliency methods in deep neural networks (arXiv 2009.02899).
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.errors import ConfigError, DataError
from kdlens.stats.resampling import Interval, bootstrap_mean

if TYPE_CHECKING:
    import pandas as pd

THRESHOLDS = (-0.7, -0.3, 0.3, 0.7)
"""Upper ends of the bands -2, -1, 0 and 1; what lies above the last is in band 2."""

SOFT = tuple(0.005 * step for step in range(56))
"""Softening in the authors' larger setting: thresholds move from 0.3 and 0.7 to 0.025 and 0.425."""

SCORES = ("accuracy", "recall", "precision", "fpr")


class Rates(NamedTuple):
    """Four scores, one number an image; NaN where an image leaves them undefined.

    Attributes:
        accuracy: share of pixels in the right band.
        recall: TP / (TP + FN).
        precision: TP / (TP + FP).
        fpr: FP / (FP + TN).
    """

    accuracy: Float[Tensor, " n"]
    recall: Float[Tensor, " n"]
    precision: Float[Tensor, " n"]
    fpr: Float[Tensor, " n"]


@dataclass(frozen=True)
class FiveBandStep:
    """Scores of all images at one softening.

    Attributes:
        softening: how far the thresholds of the heat were moved towards 0.
        chance: the four scores for the same heat with its pixels shuffled, by expected counts; mean over images.
        images: the scores of each image.
        seed: of the bootstrap.
    """

    softening: float
    chance: dict[str, float]
    images: Rates
    seed: int = 0

    @cached_property
    def accuracy(self) -> Interval:
        """Mean over the images on which it is defined (`n`), with its bootstrap interval; so are the others."""
        return self._mean("accuracy")

    @cached_property
    def recall(self) -> Interval:
        """See `accuracy`."""
        return self._mean("recall")

    @cached_property
    def precision(self) -> Interval:
        """See `accuracy`."""
        return self._mean("precision")

    @cached_property
    def fpr(self) -> Interval:
        """See `accuracy`; the smaller the better."""
        return self._mean("fpr")

    def _mean(self, score: str) -> Interval:
        values = getattr(self.images, score)
        defined = values[values.isfinite()]
        return bootstrap_mean(defined, seed=self.seed) if len(defined) else Interval(math.nan, math.nan, math.nan, 0)


@dataclass(frozen=True)
class FiveBand:
    """Five-band scores, one entry of `steps` for every softening.

    Attributes:
        steps: in the order asked for.
        n: images.
        empty: images whose heat is zero everywhere; they stay zero and count.
    """

    steps: tuple[FiveBandStep, ...]
    n: int
    empty: int

    def __getitem__(self, step: int) -> FiveBandStep:
        return self.steps[step]

    def to_frame(self) -> "pd.DataFrame":
        """A row for every step and score: value, low, high, n, chance."""
        import pandas as pd

        rows = []
        for step, name in itertools.product(self.steps, SCORES):
            found = getattr(step, name)
            ends = {"value": found.value, "low": found.low, "high": found.high, "n": found.n}
            rows.append({"softening": step.softening, "score": name, **ends, "chance": step.chance[name]})
        return pd.DataFrame(rows)


def five_band(
    heatmap: Float[Tensor, "n c h w"] | Float[Tensor, "n h w"],
    truth: Float[Tensor, "n h w"],
    *,
    softening: float | Sequence[float] = 0.0,
    seed: int = 0,
) -> FiveBand:
    """Compare heat maps with truth maps in five bands.

    Heat is summed over channels and divided by its largest absolute value, image by image; heat that is zero
    everywhere stays zero. Bands end at -0.7, -0.3, 0.3 and 0.7, each band with its upper end. Scores that an image
    leaves undefined (recall where there is no object, say) are left out of the mean and of `n`; the authors' code adds
    1e-6 to denominators, which makes them 0.

    Args:
        heatmap: heat, signed, `(n, C, H, W)` or `(n, H, W)`. Any heat map will do: a gradient, a CAM.
        truth: `(n, H, W)` with 0 for the background, 0.4 where the object is, 0.9 where its class can be told. For
            one image, leave the first axis out of both.
        softening: how far the heat's thresholds move towards 0, in [0, 0.3); several for one step each, `SOFT` of this
            module for the authors'.
        seed: of the bootstrap over images.

    Raises:
        DataError: heat and truth of different sizes, or values that are not finite.
        ConfigError: a softening out of range.

    Example:
        >>> heat = torch.tensor([[1, 0.5, 0], [-0.5, 0.2, 0.9]])
        >>> truth = torch.tensor([[0.9, 0.9, 0], [0, 0.4, 0.9]])
        >>> [round(getattr(five_band(heat, truth)[0], score).value, 3) for score in SCORES]
        [0.5, 0.667, 0.5, 0.667]

    Source: Tjoa and Guan, arXiv 2009.02899, and their published code.
    """
    steps = _checked_steps(softening)
    heat, known = _checked(heatmap, truth)
    largest = heat.abs().amax(1, keepdim=True)
    heat = heat / torch.where(largest > 0, largest, torch.ones_like(largest))
    wanted = bands(known)
    found = tuple(_step(heat, wanted, step, seed) for step in steps)
    return FiveBand(found, len(heat), int((largest == 0).sum()))


def bands(x: Tensor, softening: float = 0.0) -> Int[Tensor, "..."]:
    """Band of every value, -2 to 2, with the thresholds moved towards 0 by `softening`.

    Example:
        >>> bands(torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])).tolist()
        [-2, -1, 0, 1, 2]
    """
    moved = [end - math.copysign(softening, end) for end in THRESHOLDS]
    return torch.bucketize(x.contiguous(), torch.tensor(moved, dtype=x.dtype, device=x.device)) - 2


def _step(heat: Tensor, wanted: Tensor, softening: float, seed: int) -> FiveBandStep:
    found = bands(heat, softening)
    by_chance = _rates(*_shuffled_counts(found, wanted))
    chance = {name: values[values.isfinite()].mean().item() for name, values in by_chance._asdict().items()}
    return FiveBandStep(softening, chance, _rates(*_counts(found, wanted)), seed)


def _counts(found: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """TP, FP, TN, FN of every image."""
    hot, object_, right = found != 0, wanted != 0, found == wanted
    groups = (hot & right, hot & ~right, ~hot & ~object_, ~hot & object_)
    tp, fp, tn, fn = (group.sum(1).double() for group in groups)
    return tp, fp, tn, fn


def _shuffled_counts(found: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same on average over all orders of the heat's pixels."""
    pixels = found.shape[1]
    heat, truth = (
        torch.stack([(x == band).sum(1) for band in range(-2, 3)], 1).double() / pixels for x in (found, wanted)
    )
    cold, ground = heat[:, 2], truth[:, 2]
    tp, tn, fn = (heat * truth).sum(1) - cold * ground, cold * ground, cold * (1 - ground)
    return pixels * tp, pixels * (1 - cold - tp), pixels * tn, pixels * fn


def _rates(tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> Rates:
    """The scores; 0 / 0 is NaN."""
    return Rates((tp + tn) / (tp + fp + tn + fn), tp / (tp + fn), tp / (tp + fp), fp / (fp + tn))


def _checked_steps(softening: float | Sequence[float]) -> tuple[float, ...]:
    steps = (softening,) if isinstance(softening, (int, float)) else tuple(softening)
    for step in steps:
        if not 0 <= step < THRESHOLDS[2]:
            raise ConfigError(f"softening {step} must be at least 0 and less than 0.3, where the bands would close")
    if not steps:
        raise ConfigError("softening names no step; give a number or a list of numbers, e.g. 0.0")
    return tuple(map(float, steps))


def _checked(heatmap: Tensor, truth: Tensor) -> tuple[Float[Tensor, "n p"], Float[Tensor, "n p"]]:
    """Heat summed over channels, and truth, a row an image."""
    given = f"heat has shape {tuple(heatmap.shape)} and truth {tuple(truth.shape)}"
    if truth.ndim not in (2, 3) or heatmap.ndim not in (truth.ndim, truth.ndim + 1) or truth.numel() == 0:
        raise DataError(f"{given}; expected (n, C, H, W) or (n, H, W) with truth (n, H, W), at least one image")
    if truth.ndim == 2:
        heatmap, truth = heatmap[None], truth[None]
    heat = heatmap.detach() if heatmap.dtype in (torch.float32, torch.float64) else heatmap.detach().double()
    for name, x in (("heat", heat), ("truth", truth)):
        if not bool(torch.isfinite(x).all()):
            raise DataError(f"the {name} holds NaN or infinite values; leave those images out")
    heat = heat.sum(1) if heat.ndim == 4 else heat
    if heat.shape != truth.shape:
        raise DataError(f"{given}; bring the heat to the truth's height and width first (interpolate)")
    return heat.flatten(1), truth.detach().to(heat).flatten(1)
