"""Rows of the dissection: detectors of every network and layer beside chance, and gains over the baseline."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from kdlens.answer import Answer, Row
from kdlens.questions.context import Subject, Trio
from kdlens.questions.dissection.gain import Number, count_of, counted, gain
from kdlens.questions.dissection.result import Dissection, jackknife
from kdlens.questions.dissection.tally import CategoryRule
from kdlens.questions.pairing import pair_layers
from kdlens.questions.rows import over_seeds, with_interval
from kdlens.stats.resampling import Interval

Found = Mapping[tuple[Subject, str], Dissection]

SWEEP = (0.03, 0.04, 0.05, 0.06, 0.08, 0.1)


class Levels(NamedTuple):
    """IoU from which a unit is a detector: the one that decides, and a second one."""

    threshold: float
    also: float


@dataclass(frozen=True)
class Measure:
    """One number of a layer.

    Attributes:
        metric: its name.
        threshold: IoU.
        of: what is counted.
        category: of detectors; all where there is none.
        rule: category rule; the plan's where there is none.
    """

    metric: str
    threshold: float
    of: Number = "total"
    category: str | None = None
    rule: CategoryRule | None = None

    @property
    def unit(self) -> str:
        """Unit of the number."""
        return {"share": "%", "unique": "concepts"}.get(self.of, "units")

    def of_layer(self, found: Dissection) -> tuple[float, list[float]]:
        """The number, and without each group of images in turn."""
        value, left = counted(self._ruled(found), self.threshold, self.of, self.category)
        return self.times * value, [self.times * one for one in left]

    def by_chance(self, found: Dissection) -> list[float]:
        """The number under every deal of the masks; none where concepts are chosen elsewhere."""
        if self.of == "held_out":
            return []
        ruled = self._ruled(found)
        return [self.times * count_of(found, deal, self.threshold, self.of, self.category) for deal in ruled.deals]

    @property
    def times(self) -> int:
        """Shares are told in per cent."""
        return 100 if self.of == "share" else 1

    def _ruled(self, found: Dissection) -> Dissection:
        return found if self.rule is None else found.under(self.rule)


def measures_of(levels: Levels, plan_rule: CategoryRule, categories: Sequence[str]) -> list[Measure]:
    """What is told of every layer."""
    t, other = levels.threshold, other_rule(plan_rule)
    return [
        Measure("detectors", t),
        Measure("detectors_share", t, "share"),
        Measure("unique_detectors", t, "unique"),
        Measure("detectors_held_out", t, "held_out"),
        Measure("detectors_also", levels.also),
        Measure("detectors_other_rule", t, rule=other),
        *(Measure("detectors_in_category", t, category=name) for name in categories),
    ]


def other_rule(rule: CategoryRule) -> CategoryRule:
    """The category rule that is not the plan's."""
    return "paper" if rule == "netdissect-lite" else "netdissect-lite"


def add_networks(answer: Answer, found: Found, levels: Levels) -> None:
    """Add the counts of every network and layer, per seed and over seeds."""
    groups: dict[tuple[str, str], dict[Subject, Dissection]] = {}
    for (subject, layer), one in found.items():
        groups.setdefault((subject.name, layer), {})[subject] = one
    for (name, layer), seeds in groups.items():
        first = next(iter(seeds.values()))
        for measure in measures_of(levels, first.plan.category_rule, first.vocabulary.categories):
            base = Row(measure.metric, 0.0, model=name, layer=layer, class_name=measure.category or "")
            _add(answer, base, measure, seeds, each=True)
        for threshold in sorted({*SWEEP, *levels}):
            base = Row("detectors_sweep", 0.0, model=name, layer=layer, class_name=f"IoU {threshold:g}")
            _add(answer, base, Measure("detectors_sweep", threshold), seeds, each=False)
        _add_rotated(answer, Row("detectors_rotated", 0.0, model=name, layer=layer, unit="units"), seeds, levels)


def _add(answer: Answer, base: Row, measure: Measure, seeds: Mapping[Subject, Dissection], *, each: bool) -> None:
    base = replace(base, unit=measure.unit)
    chances = [measure.by_chance(one) for one in seeds.values()]
    values = [measure.of_layer(one) for one in seeds.values()]
    most = 100.0 if measure.of == "share" else float(min(one.units for one in seeds.values()))
    rows = []
    for (subject, one), (value, left), chance in zip(seeds.items(), values, chances, strict=True):
        known = jackknife(value, left, one.images) if left else Interval(value, math.nan, math.nan, one.images)
        row = with_interval(replace(base, seed=subject.seed), known)
        rows.append(replace(row, chance=_mean(chance), p=_p(value, chance)))
    # the masks are dealt alike for all networks, so that a deal has a mean over seeds, too
    joint = [math.fsum(deal) / len(rows) for deal in zip(*chances, strict=True)]
    mean = over_seeds(rows)
    mean = replace(mean, p=_p(mean.value, joint))
    for row in [*(rows if each else []), mean]:
        answer.add(_within(row, most))
    if joint and each and not measure.category:
        null = replace(base, metric=f"{base.metric}_null", value=_mean(joint) or 0.0, n=mean.n)
        answer.add(replace(null, low=_quantile(joint, 0.025), high=_quantile(joint, 0.975)))


def _add_rotated(answer: Answer, base: Row, seeds: Mapping[Subject, Dissection], levels: Levels) -> None:
    """Detectors of the layer in a random basis, mean over rotations; p: rotations that count as many as the units."""
    found = {subject: one.counts(levels.threshold) for subject, one in seeds.items() if one.rotated}
    rows = [
        replace(base, seed=subject.seed, value=one.chance_rotated.value, n=one.images, p=one.p_rotated)
        for subject, one in found.items()
    ]
    for row in [*rows, over_seeds(rows)] if rows else []:
        answer.add(row)


def add_gains(answer: Answer, trios: Sequence[Trio], found: Found, levels: Levels) -> None:
    """Add what one student has beyond its baseline at every layer, paired by image and seed.

    Args:
        answer: gets the rows.
        trios: of one student, one a seed.
        found: dissections of all networks.
        levels: IoU.
    """
    for mine, other, pairs in paired(trios, found):
        first = pairs[0][0]
        base = Row("", 0.0, model=trios[0].student.name, compared_with=trios[0].baseline.name, layer=mine)
        seeds = [t.student.seed for t in trios if (t.student, mine) in found and (t.baseline, other) in found]
        for measure in measures_of(levels, first.plan.category_rule, first.vocabulary.categories):
            unit = "points" if measure.of == "share" else measure.unit
            named = replace(base, metric=f"{measure.metric}_gain", class_name=measure.category or "", unit=unit)
            if not measure.category:
                for seed, pair in zip(seeds, pairs, strict=True):
                    answer.add(_gain(replace(named, seed=seed), measure, [pair]))
            answer.add(_gain(named, measure, pairs))


def paired(trios: Sequence[Trio], found: Found) -> Iterator[tuple[str, str, list[tuple[Dissection, Dissection]]]]:
    """A student's layer, the baseline's, and both dissections of every seed; layers without maps are left out."""
    for mine, other in pair_layers(trios[0].student.layers, trios[0].baseline.layers):
        pairs = [(found.get((t.student, mine)), found.get((t.baseline, other))) for t in trios]
        known = [(a, b) for a, b in pairs if a is not None and b is not None]
        if known:
            yield mine, other, known


def _gain(base: Row, measure: Measure, pairs: Sequence[tuple[Dissection, Dissection]]) -> Row:
    mine, its = ([pair[side] for pair in pairs] for side in (0, 1))
    one = gain(*(mine, its, measure.threshold), of=measure.of, category=measure.category, category_rule=measure.rule)
    times = measure.times
    interval = Interval(times * one.value, times * one.low, times * one.high, one.images)
    return replace(with_interval(base, interval), p=None if math.isnan(one.p) else one.p)


def _within(row: Row, most: float) -> Row:
    """A count lies between none and all."""
    if row.low is None or row.high is None:
        return row
    return replace(row, low=max(0.0, row.low), high=min(most, row.high))


def _p(value: float, null: Sequence[float]) -> float | None:
    """Share of deals that count as many, the count itself included."""
    return (1 + sum(one >= value - 1e-9 for one in null)) / (1 + len(null)) if null else None


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _quantile(values: Sequence[float], share: float) -> float:
    ordered, place = sorted(values), share * (len(values) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
