"""Rows of the UniCAM answer: unique fraction and relevance by layer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from kdlens.answer import Answer, Row
from kdlens.questions.context import Trio
from kdlens.questions.pairing import pair_layers
from kdlens.questions.rows import with_interval
from kdlens.questions.unicam.statistics import UniqueKnowledge, unique_knowledge
from kdlens.questions.unicam.view import View
from kdlens.stats.paired import in_quadrature
from kdlens.stats.resampling import Interval, holm, percentile_interval, permutation_p, seed_interval

DIRECTIONS = ("distilled", "residual")


@dataclass(frozen=True)
class Found:
    """One student and its baseline of one seed at one layer, both directions."""

    trio: Trio
    layer: str
    distilled: UniqueKnowledge
    residual: UniqueKnowledge


def find_knowledge(view: View, trio: Trio, *, draws: int) -> list[Found]:
    """Unique knowledge of student and baseline at every layer.

    Raises:
        StatisticsError: too few images, or features that are not finite.
    """
    student, baseline, labels = view.seen(trio.student), view.seen(trio.baseline), view.label_vectors
    found = []
    for first, second in pair_layers(trio.student.layers, trio.baseline.layers):
        a, b = student.features[first], baseline.features[second]
        both = (
            unique_knowledge(x, y, labels.to(x.device), seed=view.context.seed, draws=draws)
            for x, y in ((a, b), (b, a))
        )
        found.append(Found(trio, first, *both))
    return found


def add_knowledge(answer: Answer, found: Sequence[Found]) -> None:
    """Add `relevance_*` and `unique_fraction_*` of one student: per seed, and over seeds (`seed=None`).

    p-values are corrected for the number of layers (Holm).
    """
    layers = list(dict.fromkeys(one.layer for one in found))
    for direction in DIRECTIONS:
        by_layer = {layer: [(one, getattr(one, direction)) for one in found if one.layer == layer] for layer in layers}
        seeds = [one.trio.student.seed for one, _ in by_layer[layers[0]]]
        for k, seed in enumerate(seeds):
            p = holm([known[k][1].p for known in by_layer.values()])
            for (layer, known), corrected in zip(by_layer.items(), p, strict=True):
                one, number = known[k]
                _add(answer, _base(one, layer, direction, seed), number, corrected)
        joined = {layer: _over_seeds([number for _, number in known]) for layer, known in by_layer.items()}
        p = holm([number.p for number in joined.values()])
        for (layer, number), corrected in zip(joined.items(), p, strict=True):
            _add(answer, _base(by_layer[layer][0][0], layer, direction, None), number, corrected)
    for layer in layers:
        _add_difference(answer, [one for one in found if one.layer == layer])
    _add_choice(answer, found, layers)


def _add_choice(answer: Answer, found: Sequence[Found], layers: Sequence[str]) -> None:
    """How often each layer is the one with the most relevant distilled features, over random halves of the images."""
    halves = [[one.distilled.halves for one in found if one.layer == layer] for layer in layers]
    if any(not len(draws) for of_layer in halves for draws in of_layer):
        return
    relevance = torch.stack([torch.stack(of_layer).mean(0) for of_layer in halves])  # (layers, draws), means over seeds
    chosen = relevance.nan_to_num(-torch.inf).argmax(0)
    for place, layer in enumerate(layers):
        share = 100 * (chosen == place).double().mean().item()
        base = _base(found[0], layer, "layer_chosen", None)
        answer.add(replace(base, value=share, chance=100 / len(layers), n=found[0].distilled.relevance.n, unit="%"))


def _add_difference(answer: Answer, seeds: Sequence[Found]) -> None:
    """Distilled minus residual relevance of one layer, over seeds: both directions are compared half by half."""
    pairs = [(one.distilled, one.residual) for one in seeds]
    if any(not len(a.halves) or not len(b.halves) for a, b in pairs):
        return
    intervals = [
        percentile_interval(a.relevance.value - b.relevance.value, a.halves - b.halves, a.relevance.n) for a, b in pairs
    ]
    base = _base(seeds[0], seeds[0].layer, "relevance_difference", None)
    answer.add(with_interval(base, join(intervals, least=-2, most=2)))


def _base(one: Found, layer: str, direction: str, seed: int | None) -> Row:
    return Row(
        direction, 0.0, model=one.trio.student.name, compared_with=one.trio.baseline.name, layer=layer, seed=seed
    )


def _add(answer: Answer, base: Row, number: UniqueKnowledge, p: float) -> None:
    relevance = with_interval(replace(base, metric=f"relevance_{base.metric}"), number.relevance)
    answer.add(replace(relevance, chance=_known(number.chance), p=_known(p)))
    answer.add(with_interval(replace(base, metric=f"unique_fraction_{base.metric}"), number.unique_fraction))


def _over_seeds(numbers: Sequence[UniqueKnowledge]) -> UniqueKnowledge:
    """Means over seeds; the permutations are the same for every seed, so the null of the mean is the mean null."""
    if len(numbers) == 1:
        return numbers[0]
    relevance = join([number.relevance for number in numbers], least=-1)
    null = torch.stack([number.null for number in numbers]).mean(0)
    p = permutation_p(relevance.value, null)
    unique = join([number.unique_fraction for number in numbers], least=0)
    return UniqueKnowledge(relevance, unique, p, null.mean().item(), null)


def join(intervals: Sequence[Interval], *, least: float, most: float = 1.0) -> Interval:
    """Mean over seeds; the spread over seeds and the interval over images are added in quadrature.

    Args:
        intervals: one a seed.
        least: the smallest value possible; few seeds would give ends beyond.
        most: the largest.
    """
    if len(intervals) == 1:
        return intervals[0]
    ends = ("value", "low", "high")
    value, low, high = (math.fsum(getattr(interval, end) for interval in intervals) / len(intervals) for end in ends)
    values = [interval.value for interval in intervals]
    joined = in_quadrature(Interval(value, low, high, intervals[0].n), seed_interval(values))
    if math.isnan(joined.low):
        return joined
    return replace(joined, low=max(least, joined.low), high=min(most, joined.high))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
