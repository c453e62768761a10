"""How alike two class-similarity matrices are: rank correlation, what chance gives, and how sure it is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations as orders
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.errors import StatisticsError
from kdlens.questions.class_similarity.similarity import Kind, check, shares, without_diagonal
from kdlens.questions.class_similarity.stratified import by_class, class_means, resampled
from kdlens.stats.ranks import standard_ranks
from kdlens.stats.resampling import Interval, percentile_interval, permutation_p, permutations

Over = Literal["rows", "all"]
_MOST_HELD = 4_000_000


@dataclass(frozen=True, eq=False)
class Likeness:
    """Rank correlation of a network's class similarity with the teacher's.

    Attributes:
        value: Spearman's correlation; NaN where either matrix has no order at all.
        low: lower end of the 95 % interval over images.
        high: upper end.
        n: number of images.
        p: share of relabelled teachers that are at least as like the network; the Mantel test.
        null: `(permutations,)`, the correlation with the classes of the teacher relabelled.
        replicates: `(draws,)`, the correlation on images drawn anew within every class.
    """

    value: float
    low: float
    high: float
    n: int
    p: float
    null: Float[Tensor, " permutations"]
    replicates: Float[Tensor, " draws"]

    @property
    def chance(self) -> float:
        """Mean correlation of relabelled teachers."""
        return self.null.mean().item() if len(self.null) else math.nan


def similarity_correlation(
    teacher: Float[Tensor, "n classes"],
    networks: Sequence[Float[Tensor, "n classes"]],
    labels: Int[Tensor, " n"],
    *,
    temperatures: Sequence[float] | float = 4.0,
    of: Kind = "probabilities",
    over: Over = "rows",
    draws: int = 500,
    permutations: int = 999,
    seed: int = 0,
) -> list[Likeness]:
    """Rank correlation of the class similarity of several networks with the teacher's, on the same draws of images.

    By rows, each class's order of the others is correlated with the teacher's order, and the mean over classes is
    taken. How much of its probability a network leaves to wrong classes then plays no role, nor does how unevenly they
    share it. Over all entries at once, a class whose row is more uneven in both networks raises the correlation though
    it says nothing of which classes are alike. Classes without images are left out of rows and columns.

    Args:
        teacher: its logits.
        networks: theirs.
        labels: `(n,)`, int64.
        temperatures: one for all, or one for the teacher and one for each network.
        of: see `class_similarity`.
        over: `"rows"` or `"all"`.
        draws: resamples of the intervals.
        permutations: relabellings of the teacher; where there are no more than this, each is taken once.
        seed: of both.

    Raises:
        StatisticsError: as `class_similarity`; fewer than 3 classes with images.

    Example:
        >>> logits = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
        >>> [same] = similarity_correlation(logits, [logits], torch.arange(60) % 5, draws=10)
        >>> round(same.value, 6), len(same.null), round(same.p, 4)
        (1.0, 120, 0.0083)

    Source: Mantel, Cancer Research 27 (1967) (permuting the objects of a matrix); Spearman (1904).
    """
    everyone = [teacher, *networks]
    warmth = [temperatures] * len(everyone) if isinstance(temperatures, int | float) else list(temperatures)
    for logits in everyone:
        check(logits, labels)
    order = by_class(labels)
    present, sizes = labels[order].unique_consecutive(return_counts=True)
    if len(present) < 3:
        raise StatisticsError(f"class similarity needs images of at least 3 classes, got {len(present)}")
    shown = [_shown(logits[order], t, of, present) for logits, t in zip(everyone, warmth, strict=True)]
    once = torch.ones(1, len(order), dtype=torch.float64)
    ranked = [_ranked(s, sizes, once, of, over)[0] for s in shown]
    width = len(present) ** 2
    parts = []
    for times in resampled(sizes, draws if int(sizes.max()) > 1 else 0, seed=seed, width=width):
        first = _ranked(shown[0], sizes, times, of, over)
        parts.append(torch.stack([_correlation(first, _ranked(s, sizes, times, of, over)) for s in shown[1:]]))
    drawn = torch.cat(parts, 1) if parts else torch.empty(len(networks), 0, dtype=torch.float64)
    moved = relabellings(len(present), permutations, seed=seed)
    n = len(labels)
    return [_likeness(ranked[0], one, of_one, moved, n) for one, of_one in zip(ranked[1:], drawn, strict=True)]


def centred_interval(value: float, replicates: Float[Tensor, " draws"], n: int) -> Interval:
    """Interval as wide as the resampled values spread, moved to the value and kept within [-1, 1].

    Drawing images anew adds noise to both matrices, which lowers every correlation; only the spread is of use.

    Example:
        >>> round(centred_interval(0.5, torch.tensor([0.2, 0.3, 0.4]), 10).low, 3)
        0.405
    """
    found = percentile_interval(value, replicates - replicates.mean() + value, n) if len(replicates) else None
    if found is None or math.isnan(found.low):
        return Interval(value, math.nan, math.nan, n)
    return Interval(value, max(-1.0, min(found.low, value)), min(1.0, max(found.high, value)), n)


def relabellings(classes: int, draws: int, *, seed: int) -> Int[Tensor, "draws classes"]:
    """All orders of the classes where there are at most `draws`, else random ones.

    Example:
        >>> len(relabellings(3, 100, seed=0)), len(relabellings(9, 100, seed=0))
        (6, 100)
    """
    if math.factorial(classes) <= draws:
        return torch.tensor(list(orders(range(classes))))
    return permutations(classes, draws, seed=seed)


def mantel_p(observed: float, null: Float[Tensor, " draws"], classes: int) -> float:
    """The p of the Mantel test: exact where every relabelling was taken, the one that changes nothing among them.

    Example:
        >>> mantel_p(1.0, torch.tensor([1.0, 0.0, 0.0, 0.5, 0.0, 0.5]), 3) == 1 / 6
        True
    """
    if len(null) == 0:
        return math.nan
    p = permutation_p(observed, null)
    complete = len(null) == math.factorial(min(classes, 20))
    return (p * (len(null) + 1) - 1) / len(null) if complete else p


def split_half(
    logits: Float[Tensor, "n classes"],
    labels: Int[Tensor, " n"],
    halves: tuple[Tensor, Tensor],
    *,
    temperature: float,
    of: Kind = "probabilities",
    over: Over = "rows",
) -> float:
    """Correlation of a network's class similarity on one half of the images with that on the other.

    Only classes that both halves have count; NaN where these are fewer than 3.
    """
    common = torch.tensor(sorted(set(labels[halves[0]].tolist()) & set(labels[halves[1]].tolist())))
    if len(common) < 3:
        return math.nan
    ranked = []
    for half in halves:
        kept = half[torch.isin(labels[half], common)]
        order = kept[by_class(labels[kept])]
        sizes = labels[order].unique_consecutive(return_counts=True)[1]
        shown = shares(logits[order], temperature=temperature, of=of)[:, common]
        ranked.append(_ranked(shown, sizes, torch.ones(1, len(order), dtype=torch.float64), of, over)[0])
    return _correlation(*ranked).item()


def _shown(logits: Tensor, temperature: float, of: Kind, present: Tensor) -> Float[Tensor, "n present"]:
    """What is averaged; of very many numbers only as many digits as their mean needs are held."""
    found = shares(logits, temperature=temperature, of=of)[:, present]
    return found if found.numel() <= 4 * _MOST_HELD else found.float()


def _likeness(teacher: Tensor, network: Tensor, replicates: Tensor, moved: Tensor, n: int) -> Likeness:
    value = _correlation(teacher, network).item()
    null = _relabelled(teacher, network, moved)
    found = centred_interval(value, replicates, n)
    p = mantel_p(value, null, len(teacher)) if math.isfinite(value) else math.nan
    return Likeness(value, found.low, found.high, n, p, null, replicates)


def _ranked(shown: Tensor, sizes: Tensor, times: Tensor, of: Kind, over: Over) -> Float[Tensor, "part k k"]:
    """Standardised ranks off the diagonal, 0 on it: the correlation of two such matrices is a sum of products."""
    matrices = without_diagonal(class_means(shown, sizes, times), of)
    k = matrices.shape[-1]
    off = ~torch.eye(k, dtype=torch.bool)
    entries = matrices[:, off].reshape(len(matrices), k, k - 1)
    if over == "rows":
        found = standard_ranks(entries) / math.sqrt(k)
    elif over == "all":
        found = standard_ranks(entries.flatten(1))
    else:
        raise StatisticsError(f'over must be "rows" or "all", not "{over}"')
    ranked = torch.zeros_like(matrices)
    ranked[:, off] = found.reshape(len(matrices), -1)
    return ranked


def _correlation(first: Float[Tensor, "*part k k"], second: Float[Tensor, "*part k k"]) -> Float[Tensor, "*part"]:
    """Mean of the rows' correlations (a row without order counts as 0); NaN where a whole matrix has no order."""
    flat = (first == 0).all(-1).all(-1) | (second == 0).all(-1).all(-1)
    return torch.where(flat, torch.nan, (first * second).sum((-2, -1)))


def _relabelled(teacher: Tensor, network: Tensor, moved: Tensor) -> Float[Tensor, " draws"]:
    part = max(1, _MOST_HELD // teacher.numel())
    found = [_correlation(teacher[at[:, :, None], at[:, None, :]], network) for at in moved.split(part)]
    return torch.cat(found) if found else torch.empty(0, dtype=torch.float64)
