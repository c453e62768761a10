"""Scores of likeness and relevance from distance matrices: the value, its interval, and what chance gives."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.errors import ConfigError, StatisticsError
from kdlens.stats.distance import project_out, u_center
from kdlens.stats.jackknife import difference_p, jackknife_error, jackknife_interval, left_out_products
from kdlens.stats.paired import in_quadrature
from kdlens.stats.resampling import Interval, permutation_p, permutations, seed_interval
from kdlens.stats.student_t import t_quantile

Distances = Float[Tensor, "n n"]
Aggregate = Literal["pooled", "mean"]

NOTHING_LEFT = 1e-9
"""Share of the squared norm below which what one network has beyond another is rounding."""

_FLOAT64_UP_TO = 64  # images; permutation nulls of more are read in float32, 1e-6 accurate and three times as fast


@dataclass(frozen=True, eq=False)
class Score:
    """One correlation with all that is needed to judge it.

    Attributes:
        value: squared, bias-corrected; NaN where it is undefined, and `problem` says why.
        n: images.
        replicates: the value with each image (or mini-batch) left out.
        null: the value with the pairing of the images permuted.
        seeds: values of the training seeds, where this is their mean.
        problem: why the value is undefined, else empty.
        images: which images the replicates leave out, where seeds use different ones, else empty.
    """

    value: float
    n: int
    replicates: Tensor = field(default_factory=lambda: torch.empty(0), repr=False)
    null: Tensor = field(default_factory=lambda: torch.empty(0), repr=False)
    seeds: tuple[float, ...] = ()
    problem: str = ""
    images: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64), repr=False)

    @property
    def interval(self) -> Interval:
        """95 % interval over images (and seeds, where there are several), within [-1, 1]."""
        found = jackknife_interval(self.value, self.replicates)
        if math.isnan(found.low):
            return found
        if len(self.seeds) > 1:
            found = in_quadrature(found, seed_interval(self.seeds))
        return Interval(self.value, max(-1.0, found.low), min(1.0, found.high), self.n)

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.interval.low

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.interval.high

    @property
    def chance(self) -> float:
        """Mean over permutations: what unrelated features or labels give; NaN without permutations."""
        return self.null.mean().item() if len(self.null) else math.nan

    @property
    def p(self) -> float:
        """Permutation p-value that there is no relation; NaN without permutations."""
        return permutation_p(self.value, self.null) if len(self.null) else math.nan


@dataclass(frozen=True)
class Difference:
    """Paired difference of two scores of the same images."""

    value: float
    low: float
    high: float
    p: float
    n: int


@dataclass(frozen=True)
class Plan:
    """How scores are computed.

    Attributes:
        aggregate: one statistic on all images, or the mean over mini-batches, as in the paper.
        batch_size: images a mini-batch, about.
        unbiased: bias-corrected statistics, or the plain ones in [0, 1] for comparison with published code.
        permutations: permutations of the null distribution; 0 for none.
        seed: of mini-batches and permutations.

    Raises:
        ConfigError: an option out of range.
    """

    aggregate: Aggregate = "pooled"
    batch_size: int = 32
    unbiased: bool = True
    permutations: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        if self.aggregate not in ("pooled", "mean"):
            raise ConfigError(f'aggregate must be "pooled" or "mean", not "{self.aggregate}"')
        if self.batch_size < 4:
            raise ConfigError(f"mini-batches need at least 4 images, got {self.batch_size}")
        if self.permutations < 0:
            raise ConfigError(f"permutations must be 0 or more, got {self.permutations}")

    def groups(self, n: int) -> list[Tensor]:
        """Indices of the mini-batches: nearly equal parts of a seeded order, so that no image is left over."""
        if self.aggregate == "pooled":
            return [torch.arange(n)]
        parts = max(1, min(round(n / self.batch_size), n // 4))
        return list(permutations(n, 1, seed=self.seed)[0].tensor_split(parts))


def similarity_score(a: Distances, b: Distances, plan: Plan) -> Score:
    """Distance correlation of two networks' features, from their distance matrices."""
    return _averaged([a, b], _similarity, plan)


def relevance_score(
    features: Distances, targets: Distances, plan: Plan, *, given: Distances | None = None, partial: bool = False
) -> Score:
    """Distance correlation of features with the labels; with `given`, of what they have beyond that network's.

    Args:
        features: distances of the features.
        targets: distances of the labels' embeddings.
        plan: how.
        given: distances of the other network's features; the score is then semi-partial, R*((x | given), y).
        partial: take `given` out of the labels, too (the partial distance correlation).

    Raises:
        ConfigError: `given` with plain statistics, which have no projection.
    """
    if given is None:
        return _averaged([features, targets], _similarity, plan)
    if not plan.unbiased:
        raise ConfigError("distilled and residual relevance exist only for the bias-corrected statistic")
    return _averaged([features, targets, given], _partial if partial else _semipartial, plan)


def defined(score: Callable[..., Score], *matrices: Distances | str) -> Score:
    """The score, or an undefined one where a layer's distances could not be had."""
    problem = next((m for m in matrices if isinstance(m, str)), "")
    return Score(math.nan, 0, problem=problem) if problem else score(*matrices)


def mean_score(scores: Sequence[Score]) -> Score:
    """Mean over training seeds judged on the same images; undefined scores are left out."""
    usable = [score for score in scores if not math.isnan(score.value)]
    if len(scores) == 1 or not usable:
        return scores[0]
    return Score(
        value=math.fsum(score.value for score in usable) / len(usable),
        n=min(score.n for score in usable),
        replicates=_mean_replicates(usable),
        null=torch.stack([score.null for score in usable]).mean(0),
        seeds=tuple(score.value for score in usable),
    )


def _mean_replicates(scores: Sequence[Score]) -> Tensor:
    """Mean with each image left out; leaving out an image that a score does not use does not change that score."""
    if all(len(score.images) == len(score.replicates) > 0 for score in scores):
        every = torch.cat([score.images for score in scores]).unique()
        spread = [torch.full((len(every),), score.value, dtype=torch.float64) for score in scores]
        for row, score in zip(spread, scores, strict=True):
            row[torch.searchsorted(every, score.images)] = score.replicates.double()
        return torch.stack(spread).mean(0)
    same = len({len(score.replicates) for score in scores}) == 1  # unless a mini-batch was undefined for some seed
    return torch.stack([score.replicates for score in scores]).mean(0) if same else torch.empty(0)


def difference(first: Score, second: Score) -> Difference:
    """First minus second, paired over images; over seeds, too, where both are means over the same seeds."""
    value = first.value - second.value
    if len(first.replicates) != len(second.replicates):
        return Difference(value, math.nan, math.nan, math.nan, first.n)
    replicates = first.replicates - second.replicates
    over_images = jackknife_interval(value, replicates)
    if len(first.seeds) < 2 or len(first.seeds) != len(second.seeds):
        return Difference(value, over_images.low, over_images.high, difference_p(value, replicates), first.n)
    over_seeds = seed_interval([a - b for a, b in zip(first.seeds, second.seeds, strict=True)])
    joined = in_quadrature(over_images, over_seeds)
    return Difference(value, joined.low, joined.high, _joint_p(value, replicates, over_seeds), first.n)


def _joint_p(value: float, replicates: Tensor, over_seeds: Interval) -> float:
    """The p-value at which the joined interval just touches zero, found by halving."""
    by_image = jackknife_error(replicates)
    by_seed = (over_seeds.high - over_seeds.value) / t_quantile(0.975, over_seeds.n - 1)
    low, high = -12.0, 0.0
    while high - low > 1e-3:
        p = 10 ** (low + (high - low) / 2)
        half = math.hypot(NormalDist().inv_cdf(1 - p / 2) * by_image, t_quantile(1 - p / 2, over_seeds.n - 1) * by_seed)
        low, high = (math.log10(p), high) if half > abs(value) else (low, math.log10(p))
    return 10.0**high


Part = Callable[[Sequence[Tensor], Plan, int], Score]


def _averaged(matrices: Sequence[Distances], part: Part, plan: Plan) -> Score:
    n = len(matrices[0])
    if n < 4:
        raise StatisticsError(f"distance statistics need at least 4 images, got {n}")
    groups = plan.groups(n)
    if len(groups) == 1:
        return part([_centred(d, plan) for d in matrices], plan, plan.seed)
    scores = [
        part([_centred(d[g][:, g], plan) for d in matrices], plan, plan.seed + 1 + i) for i, g in enumerate(groups)
    ]
    usable = [score for score in scores if not score.problem]
    if not usable:
        return Score(math.nan, n, problem=scores[0].problem)
    values = torch.tensor([score.value for score in usable], dtype=torch.float64)
    k = len(values)
    left_out = (values.sum() - values) / (k - 1) if k > 1 else torch.empty(0)
    return Score(values.mean().item(), n, left_out, torch.stack([score.null for score in usable]).mean(0))


def _centred(d: Distances, plan: Plan) -> Tensor:
    if plan.unbiased:
        return u_center(d)
    return d - d.mean(1, keepdim=True) - d.mean(0, keepdim=True) + d.mean()


def _similarity(matrices: Sequence[Tensor], plan: Plan, seed: int) -> Score:
    a, b = matrices
    aa, bb, ab = (left_out_products(x, y, unbiased=plan.unbiased) for x, y in ((a, a), (b, b), (a, b)))
    if problem := _flat(aa, "features") or _flat(bb, "features or labels compared with"):
        return Score(math.nan, len(a), problem=problem)
    values = _quotient(ab, aa * bb)
    null = _null(a[None], b, plan, seed)[0] / (aa[0] * bb[0]).sqrt()
    return Score(values[0].item(), len(a), values[1:], null)


def _semipartial(matrices: Sequence[Tensor], plan: Plan, seed: int) -> Score:
    a, t, b = matrices
    aa, tt, bb, at, ab, bt = (left_out_products(x, y) for x, y in ((a, a), (t, t), (b, b), (a, t), (a, b), (b, t)))
    if problem := _undefined(aa, tt, bb, ab):
        return Score(math.nan, len(a), problem=problem)
    rest = aa - ab**2 / bb
    values = _quotient(at - ab * bt / bb, rest * tt)
    residual = project_out(a, b)
    null = _null(residual[None], t, plan, seed)[0] / (rest[0] * tt[0]).sqrt()
    return Score(values[0].item(), len(a), values[1:], null)


def _partial(matrices: Sequence[Tensor], plan: Plan, seed: int) -> Score:
    a, t, b = matrices
    aa, tt, bb, at, ab, bt = (left_out_products(x, y) for x, y in ((a, a), (t, t), (b, b), (a, t), (a, b), (b, t)))
    if problem := _undefined(aa, tt, bb, ab):
        return Score(math.nan, len(a), problem=problem)
    rest = aa - ab**2 / bb
    values = _quotient(at - ab * bt / bb, rest * (tt - bt**2 / bb))
    top, across = _null(torch.stack([project_out(a, b), b]), t, plan, seed)
    null = _quotient(top, rest[0] * (tt[0] - across**2 / bb[0]))
    return Score(values[0].item(), len(a), values[1:], null)


def _undefined(aa: Tensor, tt: Tensor, bb: Tensor, ab: Tensor) -> str:
    flat = _flat(aa, "features") or _flat(tt, "labels") or _flat(bb, "features of the other network")
    if flat:
        return flat
    if (aa - ab**2 / bb)[0] <= NOTHING_LEFT * aa[0]:
        return "both networks' features are alike up to rounding, so neither has anything of its own"
    return ""


def _flat(squares: Tensor, what: str) -> str:
    return "" if squares[0] > 0 else f"the {what} are the same, or equally far apart, for all images"


def _quotient(product: Tensor, squares: Tensor) -> Tensor:
    return torch.where(squares > 0, product / squares.clamp_min(1e-300).sqrt(), torch.nan)


def _null(stack: Float[Tensor, "k n n"], target: Distances, plan: Plan, seed: int) -> Float[Tensor, "k draws"]:
    """Products of every matrix with the target after permuting the target's images; distances are not recomputed."""
    n = len(target)
    kind = torch.float64 if n <= _FLOAT64_UP_TO else torch.float32
    flat, target = stack.reshape(len(stack), -1).to(kind), target.to(kind)
    found = [
        flat @ target.index_select(0, order).index_select(1, order).flatten()
        for order in permutations(n, plan.permutations, seed=seed)
    ]
    return torch.stack(found, 1).double() if found else torch.empty(len(stack), 0, dtype=torch.float64)
