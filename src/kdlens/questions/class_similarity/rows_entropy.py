"""Rows and curves of the entropy within categories: as the networks are, at one confidence, and by temperature."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from kdlens.answer import Answer, Row
from kdlens.errors import StatisticsError
from kdlens.questions.class_similarity.categories import Categories
from kdlens.questions.class_similarity.entropy import Measured, Within
from kdlens.questions.class_similarity.prepared import Key, Prepared
from kdlens.questions.class_similarity.temperatures import matched_temperature, mean_confidence
from kdlens.questions.rows import with_interval
from kdlens.stats.paired import in_quadrature
from kdlens.stats.resampling import Interval, percentile_interval, seed_interval


@dataclass(frozen=True)
class Sample:
    """The value for one network and seed, and on images drawn anew."""

    value: float
    replicates: Tensor
    n: int
    chance: float


@dataclass(frozen=True, eq=False)
class Entropies:
    """How entropies are taken: of which images, in which categories, by which variant."""

    found: Prepared
    images: Tensor
    categories: Categories
    within: Within
    draws: int
    seed: int

    def sample(self, key: Key, temperature: float) -> Sample:
        """The entropy of one network at a temperature.

        Raises:
            StatisticsError: no category with enough classes and images.
        """
        measured = Measured.of(
            self.found.logits[key][self.images],
            self.found.labels[self.images],
            self.categories.members,
            temperature=temperature,
            within=self.within,
        )
        value = measured.values(torch.ones(1, measured.n, dtype=torch.float64)).nanmean().item()
        draws = self.draws if int(measured.sizes.max()) > 1 else 0
        replicates = measured.replicates(draws, seed=self.seed) if draws else torch.empty(0, dtype=torch.float64)
        return Sample(value, replicates, measured.n, measured.chance)


def add_entropies(answer: Answer, entropies: Entropies, temperatures: Sequence[float]) -> str:
    """Add rows at temperature 1, at the confidence of the reference, and curves; returns a reason where it cannot.

    The reference is the teacher, or without one the first baseline.
    """
    found = entropies.found
    reference = found.teacher or next(key for key in found.logits if found.roles[key[0]] == "baseline")
    try:
        plain = {key: entropies.sample(key, 1.0) for key in found.logits}
    except StatisticsError as error:
        return str(error)
    _add_variant(answer, entropies, plain, "")
    confidence = mean_confidence(found.logits[reference][entropies.images])
    warmth = {key: matched_temperature(logits[entropies.images], confidence) for key, logits in found.logits.items()}
    for key, temperature in warmth.items():
        answer.add(Row("temperature_matched", temperature, model=key[0], seed=key[1], n=len(entropies.images)))
    if all(math.isfinite(t) for t in warmth.values()):
        warmth[reference] = 1.0
        matched = {key: entropies.sample(key, t) for key, t in warmth.items()}
        _add_variant(answer, entropies, matched, "_matched")
    _add_curves(answer, entropies, temperatures)
    return ""


def _add_variant(answer: Answer, entropies: Entropies, samples: dict[Key, Sample], suffix: str) -> None:
    found, unit = entropies.found, entropies.within.base
    metric = f"within_category_entropy{suffix}"
    for name in found.roles:
        keys = found.keys(name)
        for key in keys:
            row = Row(metric, 0.0, model=name, seed=key[1], unit=unit, chance=samples[key].chance)
            answer.add(with_interval(row, _joined([samples[key]])))
        row = Row(metric, 0.0, model=name, unit=unit, chance=samples[keys[0]].chance)
        answer.add(with_interval(row, _joined([samples[key] for key in keys])))
    for student in found.students:
        base = Row(f"{metric}_gain", 0.0, model=student, compared_with=found.baseline(student), unit=unit, chance=0.0)
        gains = [_difference(samples[key], samples[found.partners[key]]) for key in found.keys(student)]
        for key, gain in zip(found.keys(student), gains, strict=True):
            answer.add(with_interval(replace(base, seed=key[1]), _joined([gain])))
        answer.add(with_interval(base, _joined(gains)))


def _add_curves(answer: Answer, entropies: Entropies, temperatures: Sequence[float]) -> None:
    """Arrays `entropy.NAME`, `(temperatures, 3)`: mean over seeds, low, high."""
    found = entropies.found
    lines: dict[str, list[tuple[float, float, float]]] = {name: [] for name in found.roles}
    for temperature in temperatures:
        for name, points in lines.items():
            joined = _joined([entropies.sample(key, temperature) for key in found.keys(name)])
            points.append((joined.value, joined.low, joined.high))
    answer.arrays["temperatures"] = np.array(temperatures, dtype=np.float64)
    answer.arrays.update({f"entropy.{name}": np.array(points) for name, points in lines.items()})


def _joined(samples: Sequence[Sample]) -> Interval:
    """Mean over seeds judged on the same images, with the spread over seeds added in quadrature."""
    values = [sample.value for sample in samples]
    value = math.fsum(values) / len(values)
    replicates = torch.stack([sample.replicates for sample in samples]).mean(0)
    found = percentile_interval(value, replicates, samples[0].n)
    if len(values) == 1 or math.isnan(found.low):
        return found
    return in_quadrature(found, seed_interval(values))


def _difference(first: Sample, second: Sample) -> Sample:
    return Sample(first.value - second.value, first.replicates - second.replicates, first.n, 0.0)
