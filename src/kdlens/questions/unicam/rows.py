"""Rows of the UniCAM answer: unique fraction and relevance by layer, and the maps' share on the object."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kdlens.answer import Answer, Row
from kdlens.questions.context import Subject, Trio
from kdlens.questions.pairing import pair_layers
from kdlens.questions.unicam.cam import energy_share
from kdlens.questions.unicam.maps import UniCAM, unicam_from_activations
from kdlens.questions.unicam.statistics import UniqueKnowledge, unique_knowledge
from kdlens.questions.unicam.view import View
from kdlens.stats.paired import in_quadrature
from kdlens.stats.resampling import Interval, bootstrap_mean, holm, percentile_interval, permutation_p, seed_interval

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


def with_interval(base: Row, interval: Interval) -> Row:
    """The row with an interval's numbers; unknown ends are left empty."""
    return replace(base, value=interval.value, low=_known(interval.low), high=_known(interval.high), n=interval.n)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


class Shares:
    """Collects, network by network, how much of the maps of the comparison set lies on the object."""

    def __init__(self, view: View) -> None:
        self.view = view
        masks = view.batch().masks
        self.masks = None if masks is None else masks.bool()
        self._rows: dict[tuple[str, str, str], list[tuple[Row, Interval]]] = {}

    def add_trio(self, answer: Answer, trio: Trio) -> None:
        """Maps of one student, its baseline, the teacher, and of both directions."""
        student, baseline = trio.student, trio.baseline
        plain = {s: self._maps(s, None) for s in (trio.teacher, baseline, student) if s is not None}
        for role, subject in (("teacher", trio.teacher), ("baseline", baseline), ("student", student)):
            if subject is not None:
                self._share(role, Row("", 0.0, model=subject.name, seed=subject.seed), plain[subject])
        base = Row("", 0.0, model=student.name, compared_with=baseline.name, seed=student.seed)
        for direction, (model, given) in zip(DIRECTIONS, ((student, baseline), (baseline, student)), strict=True):
            result = self._maps(model, given)
            empty, n = int(result.degenerate.sum()), len(result.degenerate)
            metric = "degenerate_maps" if direction == "distilled" else "degenerate_maps_residual"
            answer.add(replace(base, metric=metric, value=float(empty), layer=result.layer, n=n, unit="images"))
            self._share(direction, base, result)
        self._gain(base, plain[student], plain[baseline])

    def finish(self, answer: Answer) -> None:
        """Add the rows: per seed, and over seeds."""
        for numbers in filter(None, self._rows.values()):
            for row, interval in numbers:
                answer.add(with_interval(row, interval))
            first = numbers[0][0]
            joined = join([interval for _, interval in numbers], least=-1 if first.metric.endswith("gain") else 0)
            answer.add(with_interval(replace(first, seed=None), joined))

    def _maps(self, model: Subject, given: Subject | None) -> UniCAM:
        return unicam_from_activations(self.view.scene(model, given), size=self.view.size)

    def _of(self, result: UniCAM) -> Tensor:
        """Share of each image; NaN where the map or the mask is empty."""
        assert self.masks is not None  # noqa: S101 - checked by the callers
        share = energy_share(result.raw.cpu(), self.masks)
        return torch.where(self.masks.any(-1).any(-1), share, torch.nan)

    def _share(self, role: str, base: Row, result: UniCAM) -> None:
        if self.masks is None:
            return
        self._keep(replace(base, metric=f"share_on_object_{role}", layer=result.layer), self._of(result))

    def _gain(self, base: Row, student: UniCAM, baseline: UniCAM) -> None:
        if self.masks is None:
            return
        row = replace(base, metric="share_on_object_gain", layer=student.layer)
        self._keep(row, self._of(student) - self._of(baseline))

    def _keep(self, row: Row, values: Tensor) -> None:
        """Keep the mean over the images where it is defined; a network seen in several trios counts once."""
        defined = values.isfinite()
        key = (row.metric, row.model, row.layer)
        known = self._rows.setdefault(key, [])
        if not bool(defined.any()) or any(other.seed == row.seed for other, _ in known):
            return
        interval = bootstrap_mean(values[defined], seed=self.view.context.seed)
        chance = None if row.metric.endswith("gain") else self._area(defined)
        known.append((replace(row, chance=chance), interval))

    def _area(self, defined: Tensor) -> float:
        assert self.masks is not None  # noqa: S101 - as above
        return self.masks[defined].double().mean().item()
