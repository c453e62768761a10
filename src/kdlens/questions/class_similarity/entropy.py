"""Entropy of a network's output within categories of classes: how much of its probability goes to their likes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.errors import StatisticsError
from kdlens.questions.class_similarity.similarity import check, check_temperature
from kdlens.questions.class_similarity.stratified import by_class, class_means, resampled
from kdlens.stats.resampling import Interval, percentile_interval

_MOST_HELD = 4_000_000

Of = Literal["samples", "mean"]
Base = Literal["nats", "bits"]
Groups = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Within:
    """Which variant of the entropy; see `within_category_entropy`."""

    include_target: bool = True
    renormalise: bool = True
    of: Of = "samples"
    base: Base = "nats"

    def __post_init__(self) -> None:
        if self.of not in ("samples", "mean"):
            raise StatisticsError(f'of must be "samples" or "mean", not "{self.of}"')
        if self.base not in ("nats", "bits"):
            raise StatisticsError(f'base must be "nats" or "bits", not "{self.base}"')

    def most(self, size: int) -> float:
        """The entropy of an even share in a category of this size: log |C|, or log(|C| - 1) without the target."""
        return self.unit(math.log(size if self.include_target else size - 1))

    def unit(self, nats: float) -> float:
        """Nats in the unit asked for."""
        return nats / math.log(2) if self.base == "bits" else nats


@dataclass(frozen=True)
class CategoryEntropy:
    """Entropy within categories.

    Attributes:
        value: mean over categories.
        low: lower end of its 95 % interval over images, drawn anew within every class; NaN where that is unknown.
        high: upper end.
        n: images of the categories.
        chance: the mean over categories of log |C|: every image shared evenly within its category. It is also the most
            that a renormalised entropy can be.
        by_category: `(categories,)`, in the order given; NaN for a category of one class or without images.
        unit: `"nats"` or `"bits"`.
    """

    value: float
    low: float
    high: float
    n: int
    chance: float
    by_category: Float[Tensor, " categories"]
    unit: str


def within_category_entropy(
    logits: Float[Tensor, "n classes"],
    labels: Int[Tensor, " n"],
    groups: Groups | Int[Tensor, " classes"],
    *,
    temperature: float = 1.0,
    include_target: bool = True,
    renormalise: bool = True,
    of: Of = "samples",
    base: Base = "nats",
    draws: int = 1000,
    seed: int = 0,
) -> CategoryEntropy:
    """Mean over the images of a category C of H(p restricted to C), then mean over the categories.

    The paper reports this number without its exact definition being recoverable; every variant that its numbers allow
    is an option. The defaults are the variant we think likeliest: the numbers published (2.6 to 2.9 nats on ImageNet)
    are far above what an entropy that is not renormalised can be for confident networks.

    Args:
        logits: `(n, classes)`.
        labels: `(n,)`, int64.
        groups: the categories, as lists of class numbers or as one category number for each class (negative: none).
            Categories of a single class are left out.
        temperature: logits are divided by it.
        include_target: whether the label's own class is among those of C.
        renormalise: divide the probabilities within C by their sum.
        of: `"samples"`, the mean of the entropies of images; or `"mean"`, the entropy of the mean distribution of the
            images of a class, averaged over classes by their images. The mean over a whole category would be near
            log |C| for any network that is right.
        base: `"nats"` or `"bits"`.
        draws: resamples of the interval.
        seed: of the resampling.

    Raises:
        StatisticsError: as `class_similarity`; or no category with two classes (three without the target) and images.

    Example:
        >>> logits, labels = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([0])
        >>> found = within_category_entropy(logits, labels, [[0, 1, 2]])
        >>> round(found.value, 6), round(found.chance, 6), found.n
        (0.524267, 1.098612, 1)
        >>> round(within_category_entropy(logits, labels, [[0, 1], [2]]).value, 6)
        0.365334

    Source: Han, Kim, Choi and Yoon, On the impact of knowledge distillation for model interpretability, ICML 2023.
    """
    variant = Within(include_target, renormalise, of, base)
    check(logits, labels, least=2)
    check_temperature(temperature)
    members = _members(groups, logits.shape[1])
    measured = Measured.of(logits, labels, members, temperature=temperature, within=variant)
    values = measured.values(torch.ones(1, measured.n, dtype=torch.float64))
    value = values.nanmean().item()
    found = Interval(value, math.nan, math.nan, measured.n)
    if int(measured.sizes.max()) > 1:
        found = percentile_interval(value, measured.replicates(draws, seed=seed), measured.n)
    return CategoryEntropy(value, found.low, found.high, measured.n, measured.chance, values[0], base)


@dataclass(frozen=True, eq=False)
class Measured:
    """What the entropies of a network rest on, so that they can be had again for images drawn anew.

    Attributes:
        inside: of every image, class by class: for `of="samples"` the entropy `(n, 1)`, for `of="mean"` the restricted
            distribution `(n, classes)`.
        sizes: images of every class that counts.
        category: the category of each of these classes.
        categories: how many there are.
        chance: mean over categories of the entropy of an even share.
        within: which variant.
    """

    inside: Float[Tensor, "n width"]
    sizes: Int[Tensor, " counted"]
    category: Int[Tensor, " counted"]
    categories: int
    chance: float
    within: Within

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor, members: Groups, *, temperature: float, within: Within) -> "Measured":
        """Restrict the probabilities of every image to its category.

        Raises:
            StatisticsError: no category with enough classes and images.
        """
        mask, category = _masks(members, logits.shape[1], within)
        order = by_class(labels)
        order = order[category[labels[order]] >= 0]
        if len(order) == 0:
            least = 2 if within.include_target else 3
            raise StatisticsError(f"no image is of a category with {least} or more classes; give larger categories")
        own = labels[order]
        parts = [
            _inside(logits[at], labels[at], mask, temperature, within)
            for at in order.split(max(1, _MOST_HELD // logits.shape[1]))
        ]
        inside = torch.cat(parts)
        present, sizes = own.unique_consecutive(return_counts=True)
        used = category[present].unique()
        chance = sum(within.most(len(members[c])) for c in used.tolist()) / len(used)
        return cls(inside, sizes, category[present], len(members), chance, within)

    @property
    def n(self) -> int:
        """How many images count."""
        return len(self.inside)

    def values(self, times: Float[Tensor, "part n"]) -> Float[Tensor, "part categories"]:
        """Entropy of every category, each image counted as often as it was drawn; NaN where there are no images."""
        if self.within.of == "samples":
            of_class = class_means(self.inside, self.sizes, times)[..., 0]
        else:
            of_class = _entropy(class_means(self.inside, self.sizes, times))
        weights = torch.zeros(len(self.sizes), self.categories, dtype=torch.float64)
        weights[torch.arange(len(self.sizes)), self.category] = self.sizes.double()
        return self.within.unit(1.0) * (of_class @ weights) / weights.sum(0)

    def replicates(self, draws: int, *, seed: int) -> Float[Tensor, " draws"]:
        """The mean over categories for images drawn anew within every class."""
        width = len(self.sizes) * self.inside.shape[1]
        parts = [self.values(times).nanmean(1) for times in resampled(self.sizes, draws, seed=seed, width=width)]
        return torch.cat(parts)


def _members(groups: Groups | Tensor, classes: int) -> list[list[int]]:
    if isinstance(groups, Tensor):
        if groups.shape != (classes,):
            raise StatisticsError(f"need one category number for each of {classes} classes, got {tuple(groups.shape)}")
        return [(groups == g).nonzero().flatten().tolist() for g in groups.unique().tolist() if g >= 0]
    members = [[int(k) for k in group] for group in groups]
    every = [k for group in members for k in group]
    if len(set(every)) != len(every) or not all(0 <= k < classes for k in every):
        raise StatisticsError(f"each class may stand in one category only, as a number from 0 to {classes - 1}")
    return members


def _masks(members: Groups, classes: int, within: Within) -> tuple[Tensor, Tensor]:
    """The classes of each class's category, and its number; -1 where the category is too small to say anything."""
    mask = torch.zeros(classes, classes, dtype=torch.bool)
    category = torch.full((classes,), -1)
    for number, group in enumerate(members):
        if len(group) >= (2 if within.include_target else 3):
            at = torch.tensor(group)
            category[at] = number
            mask[at[:, None], at] = True
    return mask, category


def _inside(
    logits: Tensor, own: Tensor, mask: Tensor, temperature: float, within: Within
) -> Float[Tensor, "part width"]:
    """What is averaged over images: entropies of their distributions within the category, or the distributions."""
    allowed = mask[own] if within.include_target else mask[own].scatter(1, own[:, None], False)
    scaled = logits.double() / temperature
    if within.renormalise:  # leaving classes out of the softmax is dividing by the sum of the others
        inside = scaled.masked_fill(~allowed, -torch.inf).softmax(1)
    else:
        inside = scaled.softmax(1).masked_fill(~allowed, 0.0)
    return _entropy(inside)[:, None] if within.of == "samples" else inside


def _entropy(p: Float[Tensor, "*lead k"]) -> Float[Tensor, "*lead"]:
    return torch.special.entr(p).sum(-1)
