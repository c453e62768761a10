"""Categories from a similarity matrix: average linkage, and how many by the silhouette."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

MOST_GROUPS = 100


class Tree(NamedTuple):
    """A clustering from single classes to one group.

    Attributes:
        merges: pairs of groups in the order they were joined; the i-th join makes group `classes + i`.
        order: the classes as the leaves of the tree stand, so that like ones are neighbours.
    """

    merges: list[tuple[int, int]]
    order: list[int]


def dissimilarity(similarity: Float[Tensor, "k k"]) -> Float[Tensor, "k k"]:
    """1 - s / max s, with s the mean of both directions; where only one direction is known, that one.

    Example:
        >>> nan = float("nan")
        >>> dissimilarity(torch.tensor([[0.0, 0.8, 0.2], [0.6, 0.0, 0.4], [nan, nan, 0.0]]).double())[0]
        tensor([0.0000, 0.0000, 0.7143], dtype=torch.float64)
    """
    both = torch.stack([similarity, similarity.T])
    mean = both.nanmean(0).nan_to_num(0.0)
    mean.fill_diagonal_(0.0)
    apart = 1 - mean / mean.max().clamp_min(1e-300)
    return apart.fill_diagonal_(0.0)


def average_linkage(apart: Float[Tensor, "k k"]) -> Tree:
    """Join, again and again, the two groups whose classes are nearest on average; ties go to the first.

    Example:
        >>> apart = torch.tensor([[0.0, 9, 1, 8], [9, 0, 8, 2], [1, 8, 0, 9], [8, 2, 9, 0]])
        >>> average_linkage(apart)
        Tree(merges=[(0, 2), (1, 3), (4, 5)], order=[0, 2, 1, 3])

    Source: Sokal and Michener, University of Kansas Science Bulletin 38 (1958) (UPGMA).
    """
    k = len(apart)
    between = apart.double().clone().fill_diagonal_(torch.inf)
    name, size, leaves = list(range(k)), torch.ones(k, dtype=torch.float64), [[c] for c in range(k)]
    merges = []
    for step in range(k - 1):
        a, b = divmod(int(between.argmin()), k)  # the first smallest, so a < b
        merges.append((name[a], name[b]))
        joined = (size[a] * between[a] + size[b] * between[b]) / (size[a] + size[b])
        between[a], between[:, a] = joined, joined
        between[a, a] = torch.inf
        between[b], between[:, b] = torch.inf, torch.inf
        leaves[a] += leaves[b]
        size[a] += size[b]
        name[a] = k + step
    return Tree(merges, leaves[0])


def cut(tree: Tree, classes: int, groups: int) -> Int[Tensor, " classes"]:
    """The group of every class once the tree is cut into so many groups, numbered as they stand in its order.

    Example:
        >>> cut(Tree([(0, 2), (1, 3), (4, 5)], [0, 2, 1, 3]), 4, 2).tolist()
        [0, 1, 0, 1]
    """
    held = {c: [c] for c in range(classes)}
    for step, (a, b) in enumerate(tree.merges[: classes - groups]):
        held[classes + step] = held.pop(a) + held.pop(b)
    place = {c: at for at, c in enumerate(tree.order)}
    found = torch.empty(classes, dtype=torch.int64)
    for number, members in enumerate(sorted(held.values(), key=lambda m: min(place[c] for c in m))):
        found[members] = number
    return found


def silhouette(apart: Float[Tensor, "k k"], groups: Int[Tensor, " k"]) -> float:
    """Mean over classes of (b - a) / max(a, b): a the mean distance to the own group, b to the nearest other one.

    A class that is a group by itself counts as 0.

    Example:
        >>> apart = torch.tensor([[0.0, 1.0, 4.0], [1.0, 0.0, 4.0], [4.0, 4.0, 0.0]])
        >>> silhouette(apart, torch.tensor([0, 0, 1]))
        0.5

    Source: Rousseeuw, Journal of Computational and Applied Mathematics 20 (1987).
    """
    member = torch.nn.functional.one_hot(groups).double()
    size = member.sum(0)
    total = apart.double() @ member
    own = size[groups]
    a = total.gather(1, groups[:, None])[:, 0] / (own - 1).clamp_min(1)
    b = (total / size).masked_fill(member > 0, torch.inf).amin(1)
    score = torch.where(own > 1, (b - a) / torch.maximum(a, b).clamp_min(1e-300), 0.0)
    return score.mean().item()


def groups_of(similarity: Float[Tensor, "k k"]) -> tuple[Int[Tensor, " k"], list[int]]:
    """Groups of like classes, and an order in which like classes are neighbours.

    Of 2 to k / 2 groups (at most 100), the number whose silhouette is best is taken; of equals, the smaller.

    Args:
        similarity: as `class_similarity` gives it; rows may be NaN.

    Example:
        >>> s = torch.tensor([[0.0, 0.8, 0.1, 0.1], [0.8, 0.0, 0.1, 0.1], [0.1, 0.1, 0.0, 0.8], [0.1, 0.1, 0.8, 0.0]])
        >>> groups_of(s)[0].tolist()
        [0, 0, 1, 1]
    """
    k = len(similarity)
    apart = dissimilarity(similarity.double())
    tree = average_linkage(apart)
    counts = range(2, min(max(2, k // 2), MOST_GROUPS) + 1)
    best = max(counts, key=lambda count: (round(silhouette(apart, cut(tree, k, count)), 12), -count))
    return cut(tree, k, best), tree.order
