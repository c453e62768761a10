"""How much unique knowledge there is, and how far it is about the labels, with intervals and a null."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from kdlens.questions.unicam.score import FEWEST, Sample, Space, score_batch
from kdlens.stats.distance import project_out, u_center, u_product
from kdlens.stats.resampling import Interval, percentile_interval, permutation_p, permutations

_ENTRIES = 4_000_000  # matrix entries worked on at once: 32 MB


@dataclass(frozen=True)
class UniqueKnowledge:
    """What one network has beyond another, on one set of images.

    Attributes:
        relevance: R*, with its interval over images; NaN where undefined.
        unique_fraction: share of the network's feature geometry that the other does not have, with its interval.
        p: permutation p-value of the relevance against labels dealt out at random.
        chance: mean relevance under that null.
        null: relevance under each permutation; the same permutations for the same number of images and seed.
        halves: relevance of random halves of the images; the same halves for the same number of images and seed, so
            that two directions can be compared half by half. Empty where there are too few images.
        reason: why the relevance is undefined, or empty.
    """

    relevance: Interval
    unique_fraction: Interval
    p: float
    chance: float
    null: Float[Tensor, " draws"] = field(repr=False)
    halves: Float[Tensor, " draws"] = field(repr=False, default_factory=lambda: torch.empty(0))
    reason: str = ""


def unique_knowledge(
    features: Shaped[Tensor, "n d"],
    given: Shaped[Tensor, "n e"] | None,
    labels: Shaped[Tensor, "n k"],
    *,
    seed: int,
    draws: int = 500,
) -> UniqueKnowledge:
    """Relevance and unique fraction of `features` given `given`, with intervals and a permutation test.

    Everything is computed from the three distance matrices, so resampling costs no forward pass. Intervals come from
    halves of the images without repetition, because repeated images would count as related; the null keeps the
    networks' matrices and permutes the images of the label matrix.

    Args:
        features: of the network in question.
        given: of the other network, on the same images.
        labels: one vector an image; see `label_vectors`.
        seed: of the resampling and the permutations.
        draws: resamples, and permutations.

    Raises:
        StatisticsError: fewer than 4 images, or values that are not finite.

    Example:
        >>> labels = torch.eye(2)[torch.arange(40) % 2]
        >>> noise = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
        >>> found = unique_knowledge(noise[:, :3] + 2 * labels[:, :1], noise[:, 3:], labels, seed=0)
        >>> found.relevance.value > 0.3, found.p < 0.01, found.unique_fraction.value > 0.9
        (True, True, True)

    Source: the permutation test is that of Szekely and Rizzo (2014), section 5.
    """
    spaces = [Space(features), Space(labels), *([] if given is None else [Space(given)])]
    score = score_batch(Sample(spaces[0], spaces[2] if given is not None else None, spaces[1]))
    n = len(features)
    if score.reason:
        unknown, fraction = Interval(math.nan, math.nan, math.nan, n), score.unique_fraction
        undefined = torch.full((draws,), math.nan, dtype=torch.float64)
        return UniqueKnowledge(
            unknown, Interval(fraction, math.nan, math.nan, n), math.nan, math.nan, undefined, reason=score.reason
        )
    halves = permutations(n, draws, seed=seed)[:, : n // 2]
    drawn = spaces[0].distances.new_empty(0, 2)
    if n // 2 >= FEWEST:
        drawn = torch.cat(
            [_measure(*(_of(space.distances, part) for space in spaces)) for part in _parts(halves, n // 2)]
        )
    null = _null(permutations(n, draws, seed=seed + 1), *(u_center(space.distances) for space in spaces))
    return UniqueKnowledge(
        percentile_interval(score.relevance, drawn[:, 0], n),
        percentile_interval(score.unique_fraction, drawn[:, 1], n),
        permutation_p(score.relevance, null),
        null.mean().item(),
        null,
        drawn[:, 0].cpu(),
    )


def _measure(own: Tensor, labels: Tensor, given: Tensor | None = None) -> Float[Tensor, "draws 2"]:
    """Relevance and unique fraction from distances, for each draw."""
    whole, wanted = u_center(own), u_center(labels)
    left = whole if given is None else project_out(whole, u_center(given))
    size = u_product(left, left)
    relevance = u_product(left, wanted) / (size * u_product(wanted, wanted)).sqrt()
    return torch.stack([relevance, size / u_product(whole, whole)], 1)


def _null(orders: Tensor, own: Tensor, wanted: Tensor, given: Tensor | None = None) -> Float[Tensor, " draws"]:
    """Relevance with the images of the label matrix permuted, from U-centred matrices."""
    left = own if given is None else project_out(own, given)
    size = (u_product(left, left) * u_product(wanted, wanted)).sqrt()
    return torch.cat([u_product(left, _of(wanted, part)) for part in _parts(orders, len(left))]).cpu() / size.cpu()


def _of(matrix: Float[Tensor, "n n"], index: Int[Tensor, "draws m"]) -> Float[Tensor, "draws m m"]:
    index = index.to(matrix.device)
    return matrix[index[:, :, None], index[:, None, :]]


def _parts(orders: Tensor, m: int) -> Iterator[Tensor]:
    yield from orders.split(max(1, _ENTRIES // max(1, m * m)))
