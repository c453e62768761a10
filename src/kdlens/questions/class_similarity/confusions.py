"""Which classes a network takes for which, and which of these confusions a student has from its teacher."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.stats.false_discovery import benjamini_hochberg
from kdlens.stats.paired import crossed_difference, in_quadrature, sign_flip_p, wilson
from kdlens.stats.resampling import Interval, seed_interval

Story = Literal["transferred", "own", "dropped", "missing", "undecided"]
Pair = tuple[int, int]
"""True class and the class named instead."""

FALSE = 0.05
"""Share of the pairs named that may be false alarms."""

LEAST = 6
"""Images on which two networks must differ before a pair is tested: with fewer, no outcome has p below .05."""


@dataclass(frozen=True)
class Confusion:
    """One pair of classes, as two networks confuse it.

    Attributes:
        pair: true class, named class.
        story: what became of the pair.
        change: how much more often the first network makes it than the second, as a share of the class's images.
        p: over images, adjusted for the number of pairs tested.
    """

    pair: Pair
    story: Story
    change: Interval
    p: float


def compare(
    student: Int[Tensor, "seeds n"],
    baseline: Int[Tensor, "seeds n"],
    teacher: Int[Tensor, " n"],
    labels: Int[Tensor, " n"],
    similarity: Float[Tensor, "k k"],
    *,
    seed: int,
) -> list[Confusion]:
    """Test every pair that student and baseline could differ in; then those that only the teacher makes.

    Clearly means that the adjusted p over images is below .05 and that the interval over images and seeds excludes 0.
    A pair that the student makes clearly more often than the baseline is `"transferred"` where the teacher finds it
    alike (it gives the pair more than an even share of what it leaves to wrong classes), else the student's `"own"`.
    One that it makes clearly less often is `"dropped"`. One that the teacher makes clearly more often than either is
    `"missing"`; its change is the student's minus the teacher's.

    Args:
        student: the class named for each image.
        baseline: likewise, the baseline of each seed.
        teacher: likewise.
        labels: the true classes.
        similarity: the teacher's class-similarity matrix.
        seed: of the resampling.

    Returns:
        All pairs tested between student and baseline, and the missing ones.
    """
    k = len(similarity)
    tested = list(_differing(student, baseline, labels, k))
    adjusted = benjamini_hochberg([sign_flip_p(values.sum(0).long()) for _, values in tested])
    found = []
    for (pair, values), p in zip(tested, adjusted, strict=True):
        change = crossed_difference(values, seed=seed)
        alike = bool(similarity[pair] > 1 / (k - 1))
        found.append(Confusion(pair, _story(change, p, alike), change, p))
    arrived = {one.pair for one in found if one.story == "transferred"}  # if only in part, it has arrived all the same
    missing = _missing(student, baseline, teacher, labels, k, seed=seed)
    return found + [one for one in missing if one.pair not in arrived]


def rate(answers: Int[Tensor, "seeds n"], labels: Int[Tensor, " n"], pair: Pair) -> Interval:
    """Share of a class's images that are named as another, over images and seeds.

    Example:
        >>> round(rate(torch.tensor([[1, 1, 0, 2]]), torch.tensor([0, 0, 0, 2]), (0, 1)).value, 4)
        0.6667
    """
    made = (answers[:, labels == pair[0]] == pair[1]).double()
    seeds, n = made.shape
    share = made.mean().item()
    of_images = wilson(round(share * n), n)
    down, up = of_images.value - of_images.low, of_images.high - of_images.value
    found = Interval(share, max(0.0, share - down), min(1.0, share + up), n)
    joined = in_quadrature(found, seed_interval(made.mean(1).tolist())) if seeds > 1 else found
    return Interval(share, max(0.0, joined.low), min(1.0, joined.high), n)


def _story(change: Interval, p: float, alike: bool) -> Story:
    if p >= FALSE or change.low <= 0 <= change.high:
        return "undecided"
    if change.value < 0:
        return "dropped"
    return "transferred" if alike else "own"


def _differing(
    first: Int[Tensor, "seeds n"], second: Int[Tensor, "seeds n"], labels: Int[Tensor, " n"], k: int
) -> Iterator[tuple[Pair, Float[Tensor, "seeds of_class"]]]:
    """Pairs on which two networks differ for enough images: 1 where only the first makes it, -1 where the second does.

    How many images they differ on says nothing of who makes the pair more often, so leaving out the others is fair.
    """
    for a in labels.unique().tolist():
        mine, other = first[:, labels == a], second[:, labels == a]
        seen = torch.cat([mine[mine != other], other[mine != other]])
        counts = torch.bincount(seen, minlength=k)
        for b in (counts >= LEAST).nonzero().flatten().tolist():
            values = (mine == b).double() - (other == b).double()
            if b != a and int((values != 0).any(0).sum()) >= LEAST:
                yield (a, b), values


def _missing(
    student: Tensor, baseline: Tensor, teacher: Tensor, labels: Tensor, k: int, *, seed: int
) -> list[Confusion]:
    """Pairs that the teacher makes more often than the student and than the baseline; p is the larger of both."""
    whole = teacher.expand_as(student)
    over_student = dict(_differing(whole, student, labels, k))
    over_baseline = dict(_differing(whole, baseline, labels, k))
    pairs = [pair for pair in over_student if pair in over_baseline]
    both = [max(sign_flip_p(d[pair].sum(0).long()) for d in (over_student, over_baseline)) for pair in pairs]
    found = []
    for pair, p in zip(pairs, benjamini_hochberg(both), strict=True):
        changes = [crossed_difference(-d[pair], seed=seed) for d in (over_student, over_baseline)]
        if p < FALSE and all(change.high < 0 for change in changes):
            found.append(Confusion(pair, "missing", changes[0], p))
    return found
