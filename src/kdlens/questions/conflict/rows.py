"""Rows of the gradients' conflict: every network, student against baseline, and the pairs that changed."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.answer import Answer, Row
from kdlens.questions.conflict.pairs import PairChange, pair_changes
from kdlens.questions.conflict.result import conflict_rates, mean_cosines, over_batches
from kdlens.questions.conflict.seen import Key, Study
from kdlens.questions.rows import with_interval
from kdlens.stats.paired import in_quadrature
from kdlens.stats.resampling import Interval, seed_interval

MOST_PAIRS = 12
"""Pairs of a student whose cosines are told where hardly any changed sign: those that changed most."""


def _percent(cosines: Tensor) -> Tensor:
    return 100 * conflict_rates(cosines)


METRICS: Mapping[str, tuple[Callable[[Tensor], Tensor], str, str, float]] = {
    "conflict_rate": (_percent, "%", "points", 100.0),
    "conflict_cosine": (mean_cosines, "", "", 1.0),
}
"""Measure -> of batches, its unit, the unit of a difference, and how large it can be."""


def add_conflict(answer: Answer, study: Study) -> None:
    """Add conflict rate and mean cosine of every network and seed, over seeds, and of student minus baseline."""
    for metric, (of, unit, unit_of_change, most) in METRICS.items():
        values = {key: of(sight.cosines) for key, sight in study.sights.items()}
        chance = {key: of(s.chance).nanmean().item() for key, s in study.sights.items() if s.chance is not None}
        low = 0.0 if metric == "conflict_rate" else -most
        for name in study.roles:
            keys = study.keys(name)
            base = Row(metric, 0.0, model=name, unit=unit, layer=study.sights[keys[0]].layer)
            _add(answer, study, base, keys, values, limits=(low, most), chance=chance)
        for student in study.students:
            keys = study.keys(student)
            changes = {key: values[key] - values[study.partners[key]] for key in keys}
            base = Row(
                f"{metric}_change",
                0.0,
                model=student,
                compared_with=study.baseline(student),
                unit=unit_of_change,
                layer=study.sights[keys[0]].layer,
                chance=0.0,
            )
            reach = most - low  # of rates: from none to all; of cosines: from -1 to 1
            _add(answer, study, base, keys, changes, limits=(-reach, reach), chance=None)


def _add(
    answer: Answer,
    study: Study,
    base: Row,
    keys: Sequence[Key],
    values: Mapping[Key, Float[Tensor, " b"]],
    *,
    limits: tuple[float, float],
    chance: Mapping[Key, float] | None,
) -> None:
    """One row a seed with its interval over batches, and one over seeds."""
    for key in keys:
        row = _row(replace(base, seed=key[1]), over_batches(values[key]), limits, study.images)
        answer.add(row if not chance else replace(row, chance=_known(chance[key])))
    row = _row(base, joined([values[key] for key in keys]), limits, study.images)
    expected = math.fsum(chance[key] for key in keys) / len(keys) if chance else None
    answer.add(row if expected is None else replace(row, chance=_known(expected)))


def joined(values: Sequence[Float[Tensor, " b"]]) -> Interval:
    """Mean over seeds on the same batches: Student's t over batches, and over seeds, in quadrature.

    Example:
        >>> one = joined([torch.tensor([0.0, 1.0])])
        >>> two = joined([torch.tensor([0.0, 1.0]), torch.tensor([2.0, 3.0])])
        >>> one.value, two.value, two.high - two.low > one.high - one.low
        (0.5, 1.5, True)
    """
    over = over_batches(torch.stack(list(values)).nanmean(0))
    each = [value for value in (one.nanmean().item() for one in values) if not math.isnan(value)]
    if math.isnan(over.value) or len(each) < 2:
        return over
    seeds = seed_interval(each)
    if math.isnan(over.low):  # one batch
        return Interval(over.value, over.value + seeds.low - seeds.value, over.value + seeds.high - seeds.value, over.n)
    return in_quadrature(
        over, replace(seeds, low=over.value + seeds.low - seeds.value, high=over.value + seeds.high - seeds.value)
    )


def add_pairs(answer: Answer, study: Study, student: str) -> list[tuple[int, PairChange]]:
    """Add the pairs that changed sign for sure, and those that changed most; returns the former with their rows.

    A pair has a row with the change, and one with the cosine of each network.
    """
    keys = study.keys(student)
    baselines = [study.sights[study.partners[key]].cosines for key in keys]
    changes = pair_changes([study.sights[key].cosines for key in keys], baselines)
    named = [one for one in changes if one.stopped or one.started]
    most = sorted((one for one in changes if one not in named), key=lambda one: -abs(one.change.value))[:MOST_PAIRS]
    found = []
    for one in (*sorted(named, key=lambda one: -abs(one.change.value)), *most):
        story = "stopped" if one.stopped else "started" if one.started else "moved"
        row = Row(
            f"pair_{story}",
            0.0,
            model=student,
            compared_with=study.baseline(student),
            class_name=pair_name(study, one.a, one.b),
            layer=study.sights[keys[0]].layer,
            chance=0.0,
            p=_known(one.p),
        )
        index = answer.add(_row(row, one.change, (-2.0, 2.0), study.images))
        if story != "moved":
            found.append((index, one))
        _add_cosines(answer, study, one, (study.baseline(student), student))
    return found


def pair_name(study: Study, a: int, b: int) -> str:
    """A pair of classes as a row names it."""
    return f"{study.classes[a]} / {study.classes[b]}"


def _add_cosines(answer: Answer, study: Study, pair: PairChange, names: Sequence[str]) -> None:
    """The cosine of the pair in each network, where no other student's pair has told it already."""
    teachers = [name for name, role in study.roles.items() if role == "teacher"]
    for name in (*teachers, *names):
        keys = study.keys(name)
        base = Row("pair_cosine", 0.0, model=name, class_name=pair_name(study, pair.a, pair.b))
        base = replace(base, layer=study.sights[keys[0]].layer)
        if answer.select(metric="pair_cosine", model=name, class_name=base.class_name):
            continue
        values = [study.sights[key].cosines[:, pair.a, pair.b] for key in keys]
        answer.add(_row(base, joined(values), (-1.0, 1.0), study.images))


def _row(base: Row, interval: Interval, limits: tuple[float, float], n: int) -> Row:
    return replace(within(with_interval(base, interval), limits), n=n)


def within(row: Row, limits: tuple[float, float]) -> Row:
    """The row with its interval cut to what the value can be."""
    low = None if row.low is None else max(limits[0], row.low)
    high = None if row.high is None else min(limits[1], row.high)
    return replace(row, low=low, high=high)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
