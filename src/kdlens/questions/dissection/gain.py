"""How many more detectors one network has than another, paired by image and by training seed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from kdlens.errors import ConfigError
from kdlens.questions.dissection.concepts import Best
from kdlens.questions.dissection.result import THRESHOLD, Dissection
from kdlens.questions.dissection.tally import CategoryRule
from kdlens.stats.student_t import t_quantile, t_tail

Number = Literal["total", "share", "unique", "held_out"]
"""Detectors; their share of the units; different labels among them; detectors whose concept is chosen elsewhere."""


@dataclass(frozen=True)
class Gain:
    """A difference of two counts.

    Attributes:
        value: mean over seeds of first minus second.
        low: lower end of the 95 % interval.
        high: upper end.
        p: two-sided; below .05 where the interval excludes 0.
        images: it rests on.
    """

    value: float
    low: float
    high: float
    p: float
    images: int


def gain(
    first: Sequence[Dissection],
    second: Sequence[Dissection],
    threshold: float = THRESHOLD,
    *,
    of: Number = "total",
    category: str | None = None,
    category_rule: CategoryRule | None = None,
) -> Gain:
    """Detectors of one network minus those of another, on the same images.

    The images vary: jackknife over the same groups of images for both, at once for all seeds. The training runs vary:
    Student's t over the differences of the seeds. The two are added in quadrature. A count that no group of images
    moves is not known to the last unit, so the jackknife takes at least one unit moved by one group.

    Args:
        first: dissections of the one, a seed each.
        second: of the other, as many, from the same `dissect`.
        threshold: IoU from which a unit counts.
        of: what is counted: `"total"`, all detectors; `"share"`, those as a share of the units; `"unique"`, different
            labels among them; `"held_out"`, detectors whose concept is chosen on other images.
        category: count only detectors of this one (`of="total"`).
        category_rule: another rule than the plan's.

    Raises:
        ConfigError: not as many dissections of both, or of other images.

    Example:
        >>> import kdlens
        >>> nets = {name: kdlens.load_model("zoo:resnet8", classes=10) for name in ("kd", "baseline")}
        >>> scenes = kdlens.load_concepts("fashion-scenes", count=40)
        >>> found = kdlens.dissect(nets, scenes, layers=["layer2"], shuffles=0)
        >>> gain([found["kd"]["layer2"]], [found["kd"]["layer2"]]).value
        0.0
    """
    if len(first) != len(second) or not first:
        raise ConfigError(f"a gain needs as many dissections of both, at least one; got {len(first)} and {len(second)}")
    pairs = list(zip(first, second, strict=True))
    if any(one.tally.groups != other.tally.groups or one.images != other.images for one, other in pairs):
        raise ConfigError("a gain compares dissections of the same images; dissect both networks in one call")
    if category_rule is not None:
        pairs = [(one.under(category_rule), other.under(category_rule)) for one, other in pairs]
    values, left_out = [], []
    for one, other in pairs:
        mine, mine_left = counted(one, threshold, of, category)
        its, its_left = counted(other, threshold, of, category)
        values.append(mine - its)
        left_out.append([a - b for a, b in zip(mine_left, its_left, strict=True)])
    over_seeds = [math.fsum(group) / len(pairs) for group in zip(*left_out, strict=True)]
    step = 1 / min(one.units for pair in pairs for one in pair) if of == "share" else 1.0
    return _judged(values, over_seeds, pairs[0][0].images, step / len(pairs))


def counted(
    found: Dissection, threshold: float, of: Number = "total", category: str | None = None
) -> tuple[float, list[float]]:
    """A count, and the count without each group of images in turn."""
    if of == "held_out":
        return _above(found.held_out, threshold), [_above(left, threshold) for left in found.held_out_left_out]
    count: Callable[[Best], float] = lambda best: count_of(found, best, threshold, of, category)  # noqa: E731
    return count(found.best), [count(left) for left in found.left_out]


def count_of(
    found: Dissection, best: Best, threshold: float, of: Number = "total", category: str | None = None
) -> float:
    """A count of any best labels of a layer's units: those found, or those by chance."""
    detects = (best.iou >= threshold) & (best.category >= 0)
    if category is not None:
        detects &= best.category == found.vocabulary.categories.index(category)
    if of == "unique":
        return float(len(best.label[detects].unique()))
    return float(detects.sum()) / (found.units if of == "share" else 1)


def _judged(values: Sequence[float], left_out: Sequence[float], images: int, step: float) -> Gain:
    """The interval and p; `step` is the least that the mean can move."""
    seeds, groups = len(values), len(left_out)
    value = math.fsum(values) / seeds
    if groups < 2:
        return Gain(value, math.nan, math.nan, math.nan, images)
    mean = math.fsum(left_out) / groups
    spread = max(math.fsum((one - mean) ** 2 for one in left_out), (1 - 1 / groups) * step**2)
    over_images = math.sqrt((groups - 1) / groups * spread)
    over_runs = math.sqrt(math.fsum((one - value) ** 2 for one in values) / max(1, seeds - 1) / seeds)

    def half(level: float) -> float:
        runs = t_quantile((1 + level) / 2, seeds - 1) * over_runs if over_runs else 0.0
        return math.hypot(t_quantile((1 + level) / 2, groups - 1) * over_images, runs)

    p = _p_where(half, abs(value)) if over_runs else 2 * t_tail(abs(value) / over_images, groups - 1)
    return Gain(value, value - half(0.95), value + half(0.95), min(1.0, p), images)


def _p_where(half: Callable[[float], float], size: float) -> float:
    """1 - the level at which the interval just reaches 0."""
    if size == 0:
        return 1.0
    low, high = -30.0, 0.0  # natural logarithm of p
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if half(1 - math.exp(middle)) < size else (middle, high)
    return math.exp(high)


def _above(iou: Float[Tensor, " units"], threshold: float) -> float:
    return float((iou >= threshold).sum())
