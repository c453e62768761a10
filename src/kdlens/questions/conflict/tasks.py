"""Which classes read alike: distances between their rows, clusters of them, and how these fit known superclasses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.errors import StatisticsError
from kdlens.questions.class_similarity.clustering import Tree, average_linkage, cut
from kdlens.stats.resampling import permutation_p, permutations


def task_distances(
    rows: Float[Tensor, "k n"], metric: Literal["jensen_shannon", "cosine"] = "jensen_shannon"
) -> Float[Tensor, "k k"]:
    """Distances between the rows of an attention, float64: the root of the Jensen-Shannon divergence, or 1 - cosine.

    Args:
        rows: one distribution a class, as in `AttentionReport.effective`.
        metric: the root of the divergence (nats) is a metric, at most sqrt(ln 2); the cosine is between 0 and 1.

    Raises:
        StatisticsError: rows that are no distributions, or another metric.

    Example:
        >>> round(task_distances(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))[0, 1].item() ** 2, 6)
        0.693147
    """
    rows = rows.detach().double().cpu()
    if rows.ndim != 2 or not bool((rows >= 0).all()) or not torch.allclose(rows.sum(1), rows.new_ones(()), atol=1e-5):
        raise StatisticsError("rows of attention must be (classes, experts), not negative, and sum to 1")
    if metric == "cosine":
        unit = rows / rows.norm(dim=1, keepdim=True)
        return (1 - unit @ unit.T).clamp_min(0).fill_diagonal_(0.0)
    if metric != "jensen_shannon":
        raise StatisticsError(f'metric must be "jensen_shannon" or "cosine", not "{metric}"')
    middle = (rows[:, None] + rows[None]) / 2
    own = -torch.xlogy(rows, rows).sum(-1)
    divergence = -torch.xlogy(middle, middle).sum(-1) - (own[:, None] + own[None]) / 2
    return divergence.clamp_min(0).sqrt().fill_diagonal_(0.0)


def clustered(apart: Float[Tensor, "k k"], groups: int) -> Int[Tensor, " k"]:
    """Groups of classes by average linkage, as many as asked for.

    Example:
        >>> rows = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.8, 0.2]])
        >>> clustered(task_distances(rows), 2).tolist()
        [0, 1, 0]
    """
    return cut(average_linkage(apart), len(apart), groups)


def heights(apart: Float[Tensor, "k k"], tree: Tree) -> list[float]:
    """At what mean distance the groups of every join of a tree stand."""
    held = {c: [c] for c in range(len(apart))}
    found = []
    for step, (a, b) in enumerate(tree.merges):
        found.append(apart[held[a]][:, held[b]].mean().item())
        held[len(apart) + step] = held.pop(a) + held.pop(b)
    return found


def adjusted_rand(first: Int[Tensor, " k"], second: Int[Tensor, " k"]) -> float:
    """Agreement of two groupings: 1 the same, 0 as much as chance gives; 1 where both are trivial and the same.

    Example:
        >>> adjusted_rand(torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 0, 0]))
        1.0
        >>> round(adjusted_rand(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 1, 1])), 4)
        0.5714

    Source: Hubert and Arabie, Journal of Classification 2 (1985).
    """
    table = _contingency(first, second)
    both, rows, columns = _pairs(table).sum(), _pairs(table.sum(1)).sum(), _pairs(table.sum(0)).sum()
    expected = rows * columns / _pairs(table.sum())
    most = (rows + columns) / 2
    return 1.0 if most == expected else ((both - expected) / (most - expected)).item()


def purity(found: Int[Tensor, " k"], known: Int[Tensor, " k"]) -> float:
    """Share of the classes that belong to the commonest superclass of their group; 1 for groups of one class each.

    Example:
        >>> purity(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 1]))
        0.75
    """
    return _contingency(found, known).amax(1).sum().item() / len(found)


@dataclass(frozen=True)
class Grouping:
    """How groups of classes fit superclasses. Chance: superclasses dealt anew among the classes.

    Attributes:
        ari: adjusted Rand index.
        purity: see `purity`; it grows with the number of groups, so read it beside chance.
        ari_chance, purity_chance: their means by chance.
        ari_p, purity_p: one-sided p-values against chance.
        groups: how many groups there are.
        classes: how many classes.
    """

    ari: float
    purity: float
    ari_chance: float
    purity_chance: float
    ari_p: float
    purity_p: float
    groups: int
    classes: int


def compare_groups(found: Sequence[int], known: Sequence[int], *, seed: int, draws: int = 999) -> Grouping:
    """Compare groups of classes with superclasses, against superclasses dealt anew among the classes.

    Args:
        found: the group of every class.
        known: its superclass; below 0 where none is known, and such classes are left out.
        seed: of the dealing.
        draws: how often it is dealt.

    Raises:
        StatisticsError: fewer than 3 classes with a superclass, or lists of different length.

    Example:
        >>> result = compare_groups([0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1], seed=0)
        >>> result.ari, result.purity, result.ari_p < 0.2
        (1.0, 1.0, True)
    """
    if len(found) != len(known):
        raise StatisticsError(f"{len(found)} groups and {len(known)} superclasses are given; one for every class")
    pairs = [(a, b) for a, b in zip(found, known, strict=True) if b >= 0]
    if len(pairs) < 3:
        raise StatisticsError(f"superclasses of 3 classes or more are needed, got {len(pairs)}")
    mine, theirs = (torch.tensor(side) for side in zip(*pairs, strict=True))
    dealt = [theirs[order] for order in permutations(len(theirs), draws, seed=seed)]
    ari, share = adjusted_rand(mine, theirs), purity(mine, theirs)
    ari_null = torch.tensor([adjusted_rand(mine, one) for one in dealt], dtype=torch.float64)
    share_null = torch.tensor([purity(mine, one) for one in dealt], dtype=torch.float64)
    return Grouping(
        ari,
        share,
        ari_null.mean().item(),
        share_null.mean().item(),
        permutation_p(ari, ari_null),
        permutation_p(share, share_null),
        len(mine.unique()),
        len(mine),
    )


def _contingency(first: Tensor, second: Tensor) -> Tensor:
    a, b = first.unique(return_inverse=True)[1], second.unique(return_inverse=True)[1]
    table = torch.zeros(int(a.max()) + 1, int(b.max()) + 1, dtype=torch.float64)
    return table.index_put_((a, b), torch.ones(len(a), dtype=torch.float64), accumulate=True)


def _pairs(n: Tensor) -> Tensor:
    return n * (n - 1) / 2
