"""All scores of a study, and their rows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from kdlens.answer import Answer, Row
from kdlens.questions.context import Context, Subject, Trio
from kdlens.questions.pairing import pair_layers
from kdlens.questions.relevance.features import Distances
from kdlens.questions.relevance.scores import (
    Difference,
    Plan,
    Score,
    difference,
    mean_score,
    relevance_score,
    similarity_score,
)

Key = tuple[str, str, str, str]
"""Metric, network, compared with, layer."""

Seen = Mapping[Subject, Mapping[str, Distances | str]]


@dataclass
class Measured:
    """Scores of every seed and their means; differences over seeds.

    Attributes:
        by_seed: key -> seed -> score.
        n: images.
    """

    n: int
    by_seed: dict[Key, dict[int, Score]] = field(default_factory=dict)

    def add(self, key: Key, seed: int, score: Score) -> None:
        """Keep one seed's score."""
        self.by_seed.setdefault(key, {})[seed] = score

    def mean(self, key: Key) -> Score:
        """The score over seeds."""
        return mean_score(list(self.by_seed[key].values()))

    def keys(self, metric: str) -> list[Key]:
        """All keys of a metric, in the order measured."""
        return [key for key in self.by_seed if key[0] == metric]

    def difference(self, first: Key, second: Key) -> Difference:
        """Difference of two scores, paired over images and seeds; fewer seeds of the second serve in turn."""
        one, other = self.by_seed[first], self.by_seed[second]
        in_turn = list(other.values())
        both = [(score, other.get(seed, in_turn[seed % len(in_turn)])) for seed, score in one.items()]
        usable = [pair for pair in both if not _undefined(*pair)] or both
        return difference(mean_score([a for a, _ in usable]), mean_score([b for _, b in usable]))


def measure(context: Context, seen: Seen, targets: Distances, *, plan: Plan, plain: Plan, partial: bool) -> Measured:
    """Compute every score once.

    Args:
        context: for the networks and how they belong together.
        seen: distances of every network's layers.
        targets: distances of the labels.
        plan: how distilled and residual scores are computed.
        plain: how FSS and layer-specific RS are computed.
        partial: partial instead of semi-partial correlations.
    """
    found = Measured(len(targets))
    for subject, layers in seen.items():
        for layer, d in layers.items():
            score = d if isinstance(d, str) else relevance_score(d, targets, plain)
            found.add(("rs_layer", subject.name, "", layer), subject.seed, _score(score))
    for trio in context.trios():
        _compare(found, trio, seen, targets, plan=plan, plain=plain, partial=partial)
    return found


def _compare(
    found: Measured, trio: Trio, seen: Seen, targets: Distances, *, plan: Plan, plain: Plan, partial: bool
) -> None:
    student, baseline = trio.student, trio.baseline
    for mine, other in pair_layers(student.layers, baseline.layers):
        a, b = seen[student][mine], seen[baseline][other]
        problem = _problem(a, b)
        pair = (student.name, baseline.name, mine)
        for metric, score in (
            ("fss", problem or similarity_score(a, b, plain)),  # type: ignore[arg-type]
            ("rs_distilled", problem or relevance_score(a, targets, plan, given=b, partial=partial)),  # type: ignore[arg-type]
            ("rs_residual", problem or relevance_score(b, targets, plan, given=a, partial=partial)),  # type: ignore[arg-type]
        ):
            found.add((metric, *pair), student.seed, _score(score))
    for subject in (student, baseline) if trio.teacher is not None else ():
        _like_the_teacher(found, subject, trio.teacher, seen, plain)  # type: ignore[arg-type]


def _like_the_teacher(found: Measured, subject: Subject, teacher: Subject, seen: Seen, plain: Plan) -> None:
    for mine, other in pair_layers(subject.layers, teacher.layers):
        key = ("fss", subject.name, teacher.name, mine)
        if subject.seed in found.by_seed.get(key, {}):
            continue  # a baseline serves several students
        a, b = seen[subject][mine], seen[teacher][other]
        problem = _problem(a, b)
        found.add(key, subject.seed, _score(problem or similarity_score(a, b, plain)))  # type: ignore[arg-type]


def add_rows(answer: Answer, measured: Measured) -> None:
    """Add every score, per seed and over seeds, then the differences the findings speak of."""
    for key, scores in measured.by_seed.items():
        metric, model, compared_with, layer = key
        base = Row(metric, 0.0, model=model, compared_with=compared_with, layer=layer)
        for seed, score in scores.items():
            answer.add(_row(replace(base, seed=seed), score))
        mean = measured.mean(key)
        answer.add(_row(base, mean))
        if len(mean.null):
            answer.add(_null_row(base, mean))
    for key in measured.keys("rs_distilled"):
        _, *rest = key
        _add_difference(answer, "rs_difference", key, measured.difference(key, ("rs_residual", *rest)))  # type: ignore[arg-type]
    for key, reference in likeness_pairs(measured):
        _add_difference(answer, "fss_gain", key, measured.difference(key, reference))


def likeness_pairs(measured: Measured) -> list[tuple[Key, Key]]:
    """Every student's FSS to the teacher with its baseline's FSS to the same teacher, layer by layer."""
    students = {key[1]: key[2] for key in measured.keys("rs_distilled")}
    layers = {name: [k[3] for k in measured.keys("fss") if k[1] == name] for name in {*students, *students.values()}}
    found = []
    for student, baseline in students.items():
        to_teacher = [k for k in measured.keys("fss") if k[1] == student and k[2] != baseline]
        for key in to_teacher:
            mine = list(dict.fromkeys(layers[student]))
            other = dict(pair_layers(mine, list(dict.fromkeys(layers[baseline]))))[key[3]]
            found.append((key, ("fss", baseline, key[2], other)))
    return found


def _add_difference(answer: Answer, metric: str, key: Key, d: Difference) -> None:
    answer.add(
        Row(
            metric,
            d.value,
            model=key[1],
            compared_with=key[2],
            layer=key[3],
            low=_known(d.low),
            high=_known(d.high),
            n=d.n,
            p=_known(d.p),
        )
    )


def _row(base: Row, score: Score) -> Row:
    return replace(
        base,
        value=score.value,
        low=_known(score.low),
        high=_known(score.high),
        chance=_known(score.chance),
        p=_known(score.p),
        n=score.n,
    )


def _null_row(base: Row, score: Score) -> Row:
    """The band in which 95 % of the permutations lie: what chance gives at this layer."""
    low, high = score.null.double().quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return replace(base, metric=f"{base.metric}_null", value=score.chance, low=low, high=high, n=score.n)


def _score(score: Score | str) -> Score:
    return Score(math.nan, 0, problem=score) if isinstance(score, str) else score


def _problem(*matrices: Distances | str) -> str:
    return next((m for m in matrices if isinstance(m, str)), "")


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _undefined(*scores: Score) -> bool:
    return any(math.isnan(score.value) for score in scores)
