"""Rows of how like the teacher's the class similarity of every network is, at one temperature and at one confidence."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kdlens.answer import Answer, Row
from kdlens.questions.class_similarity.correlation import (
    Likeness,
    Over,
    centred_interval,
    mantel_p,
    similarity_correlation,
    split_half,
)
from kdlens.questions.class_similarity.prepared import Key, Prepared
from kdlens.questions.class_similarity.similarity import Kind
from kdlens.questions.class_similarity.temperatures import matched_temperature, mean_confidence
from kdlens.questions.rows import with_interval
from kdlens.stats.paired import in_quadrature
from kdlens.stats.resampling import Interval, percentile_interval, seed_interval


@dataclass(frozen=True)
class Plan:
    """How matrices are made and compared; see `similarity_correlation`."""

    temperature: float
    of: Kind
    over: Over
    draws: int
    permutations: int
    seed: int


def add_similarity(answer: Answer, found: Prepared, halves: tuple[Tensor, Tensor], plan: Plan) -> None:
    """Add every network's likeness to the teacher, its gain over the baseline, and how steady the teacher itself is."""
    teacher = found.teacher
    if teacher is None:
        return
    others = [key for key in found.logits if key != teacher]
    _add_variant(answer, found, _measure(found, others, plan, dict.fromkeys(found.logits, plan.temperature)), "")
    if plan.of == "probabilities":
        confidence = mean_confidence(found.logits[teacher], plan.temperature)
        warmth = {key: matched_temperature(found.logits[key], confidence) for key in others}
        _add_temperatures(answer, found, {teacher: plan.temperature, **warmth}, "similarity_temperature_matched")
        if all(math.isfinite(t) for t in warmth.values()):
            warmth[teacher] = plan.temperature
            _add_variant(answer, found, _measure(found, others, plan, warmth), "_matched")
    steady = split_half(
        found.logits[teacher], found.labels, halves, temperature=plan.temperature, of=plan.of, over=plan.over
    )
    answer.add(Row("similarity_split_half", steady, model=teacher[0], n=len(found.labels)))


def _measure(found: Prepared, others: list[Key], plan: Plan, warmth: dict[Key, float]) -> dict[Key, Likeness]:
    teacher = found.teacher
    assert teacher is not None  # noqa: S101 - add_similarity has seen to it
    measured = similarity_correlation(
        found.logits[teacher],
        [found.logits[key] for key in others],
        found.labels,
        temperatures=[warmth[key] for key in (teacher, *others)],
        of=plan.of,
        over=plan.over,
        draws=plan.draws,
        permutations=plan.permutations,
        seed=plan.seed,
    )
    return dict(zip(others, measured, strict=True))


def _add_variant(answer: Answer, found: Prepared, likeness: dict[Key, Likeness], suffix: str) -> None:
    teacher = found.teacher[0] if found.teacher else ""
    k = len(found.present)
    for name, role in found.roles.items():
        if role == "teacher":
            continue
        base = Row(f"similarity{suffix}_correlation", 0.0, model=name, compared_with=teacher)
        keys = found.keys(name)
        for key in keys:
            one = likeness[key]
            row = with_interval(replace(base, seed=key[1]), Interval(one.value, one.low, one.high, one.n))
            answer.add(replace(row, p=_known(one.p), chance=_known(one.chance)))
        null = torch.stack([likeness[key].null for key in keys]).mean(0)
        row = with_interval(base, over_seeds([likeness[key] for key in keys]))
        chance = null.mean().item() if len(null) else math.nan
        answer.add(replace(row, p=_known(mantel_p(row.value, null, k)), chance=_known(chance)))
        if len(null):
            band = percentile_interval(chance, null, len(null))
            metric = f"similarity{suffix}_correlation_null"
            answer.add(replace(with_interval(replace(base, metric=metric), band), n=row.n))
    for student in found.students:
        _add_gain(answer, found, likeness, student, suffix)


def _add_gain(answer: Answer, found: Prepared, likeness: dict[Key, Likeness], student: str, suffix: str) -> None:
    base = Row(f"similarity{suffix}_gain", 0.0, model=student, compared_with=found.baseline(student), chance=0.0)
    gains = [_difference(likeness[key], likeness[found.partners[key]]) for key in found.keys(student)]
    for key, gain in zip(found.keys(student), gains, strict=True):
        answer.add(with_interval(replace(base, seed=key[1]), Interval(gain.value, gain.low, gain.high, gain.n)))
    answer.add(with_interval(base, over_seeds(gains, limit=2.0)))


def _difference(first: Likeness, second: Likeness) -> Likeness:
    """First minus second, on the same images drawn."""
    value, replicates = first.value - second.value, first.replicates - second.replicates
    found = _centred(value, replicates, first.n, 2.0)
    return Likeness(value, found.low, found.high, first.n, math.nan, torch.empty(0), replicates)


def over_seeds(parts: list[Likeness], *, limit: float = 1.0) -> Interval:
    """Mean over training seeds judged on the same images, with the spread over seeds added in quadrature."""
    values = [part.value for part in parts]
    value = math.fsum(values) / len(values)
    over_images = _centred(value, torch.stack([part.replicates for part in parts]).mean(0), parts[0].n, limit)
    if len(values) == 1 or math.isnan(over_images.low):
        return over_images
    joined = in_quadrature(over_images, seed_interval(values))
    return Interval(value, max(-limit, joined.low), min(limit, joined.high), joined.n)


def _centred(value: float, replicates: Tensor, n: int, limit: float) -> Interval:
    found = centred_interval(value / limit, replicates / limit, n)
    return Interval(value, limit * found.low, limit * found.high, n)


def _add_temperatures(answer: Answer, found: Prepared, warmth: dict[Key, float], metric: str) -> None:
    for key, temperature in warmth.items():
        answer.add(Row(metric, temperature, model=key[0], seed=key[1], n=len(found.labels)))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
