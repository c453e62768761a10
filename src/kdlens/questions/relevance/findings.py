"""What the scores say, in sentences, and what a reader must know first."""

import math
from collections.abc import Sequence

from kdlens.answer import Answer, Row
from kdlens.questions.phrases import correlation, counted, listed, p_value
from kdlens.questions.relevance.features import ENOUGH_IMAGES, Distances
from kdlens.questions.relevance.relevance import TWO_CLASSES, few_images, two_classes
from kdlens.questions.relevance.rows import Measured
from kdlens.stats.resampling import holm

CERTAIN = 0.05

MOST_PLACES = 3
"""Networks named in one alert; the others are counted."""


def say_all(answer: Answer, measured: Measured, targets: Distances) -> None:
    """Add findings for every student, then alerts."""
    for student in dict.fromkeys(key[1] for key in measured.keys("rs_distilled")):
        _distilled(answer, student)
        _like_the_teacher(answer, student)
    if two_classes(targets):
        answer.say(TWO_CLASSES, kind="alert")
    if measured.n < ENOUGH_IMAGES:
        text = few_images(measured.n)
        answer.say(f"{text[0].upper()}{text[1:]}.", kind="alert", tone="bad")
    _undefined(answer, measured)


def _distilled(answer: Answer, student: str) -> None:
    """Is what distillation added more about the task than what it took away?"""
    differences = _defined(answer, "rs_difference", student)
    if not differences:
        return
    corrected = _corrected(differences)
    sure = [(i, row, p) for (i, row), p in zip(differences, corrected, strict=True) if p < CERTAIN]
    ups, downs = ([x for x in sure if (x[1].value > 0) is up] for up in (True, False))
    for chosen, word in ((ups, "more"), (downs, "less")):
        if chosen:
            i, row, p = max(chosen, key=lambda x: abs(x[1].value))
            rows, numbers = _both(answer, student, row.layer)
            others = [x[1].layer for x in chosen if x[1].layer != row.layer]
            also = f"; also {word} relevant at {listed(others)}" if others else ""
            text = (
                f"Distilled features of {student} are {word} relevant than the features it dropped: {numbers} at "
                f"{row.layer} ({_corrected_p(p, len(differences))}"
                f"n = {counted(row.n or 0, 'image')}){also}."
            )
            answer.say(text, rows=[*rows, i, *(x[0] for x in chosen)], tone="good" if word == "more" else "bad")
    if not sure:
        (i, row), p = max(zip(differences, corrected, strict=True), key=lambda x: abs(x[0][1].value))
        rows, numbers = _both(answer, student, row.layer)
        text = (
            f"At no layer do the distilled features of {student} differ for certain in relevance from the features it "
            f"dropped; the largest difference is {numbers} at {row.layer} "
            f"({_corrected_p(p, len(differences))}n = {counted(row.n or 0, 'image')})."
        )
        answer.say(text, rows=[*rows, *(index for index, _ in differences)])
    _against_chance(answer, student)


def _both(answer: Answer, student: str, layer: str) -> tuple[list[int], str]:
    i, distilled = _find(answer, "rs_distilled", student, layer)
    j, residual = _find(answer, "rs_residual", student, layer)
    numbers = (
        f"RS {correlation(distilled.value, distilled.low, distilled.high)} against "
        f"{correlation(residual.value, residual.low, residual.high)}"
    )
    return [i, j], numbers


def _against_chance(answer: Answer, student: str) -> None:
    rows = _defined(answer, "rs_distilled", student)
    corrected = [p for p in _corrected(rows) if not math.isnan(p)]
    if corrected and min(corrected) >= CERTAIN:
        text = (
            f"At no layer are the distilled features of {student} clearly more relevant than chance (permuted labels, "
            f"Holm's correction over {counted(len(rows), 'layer')}, n = {counted(rows[0][1].n or 0, 'image')})."
        )
        answer.say(text, rows=[i for i, _ in rows], tone="bad")


def _like_the_teacher(answer: Answer, student: str) -> None:
    gains = _defined(answer, "fss_gain", student)
    if not gains:
        return
    corrected = _corrected(gains)
    (i, row), p = max(zip(gains, corrected, strict=True), key=lambda x: (x[1] < CERTAIN, abs(x[0][1].value)))
    teacher, baseline = row.compared_with, answer.select(metric="rs_distilled", model=student)[0].compared_with
    j, mine = _find(answer, "fss", student, row.layer, teacher)
    place = [x[1].layer for x in gains].index(row.layer)
    others = _layers(answer, "fss", baseline, teacher)
    k, other = _find(answer, "fss", baseline, others[min(place, len(others) - 1)], teacher)
    how = ("more like" if row.value > 0 else "less like") if p < CERTAIN else "not clearly more or less like"
    text = (
        f"{student} is {how} {teacher} than {baseline} is: FSS {correlation(mine.value, mine.low, mine.high)} against "
        f"{correlation(other.value, other.low, other.high)} at {row.layer} "
        f"({_corrected_p(p, len(gains))}n = {counted(row.n or 0, 'image')})."
    )
    answer.say(text, rows=[i, j, k])


def _undefined(answer: Answer, measured: Measured) -> None:
    """One alert for every reason why scores are undefined, with the networks and layers it holds for."""
    places: dict[str, dict[str, list[str]]] = {}
    metrics: dict[str, list[str]] = {}
    support: dict[str, list[int]] = {}
    for key, scores in measured.by_seed.items():
        metric, model, compared_with, layer = key
        for reason in dict.fromkeys(score.problem for score in scores.values() if score.problem):
            seeds = [str(seed) for seed, score in scores.items() if score.problem == reason]
            name = model if len(scores) == len(seeds) else f"{model} (seed{'s' * (len(seeds) > 1)} {listed(seeds)})"
            who = f"{name} against {compared_with}" if compared_with else name
            places.setdefault(reason, {}).setdefault(who, []).append(layer)
            metrics.setdefault(reason, []).append(metric)
            support.setdefault(reason, []).extend(_without_number(answer, model, compared_with, layer))
    for reason, layers in places.items():
        where = [f"{who} at {listed(list(dict.fromkeys(at)), most=4)}" for who, at in layers.items()]
        shown = where if len(where) <= MOST_PLACES + 1 else [*where[:MOST_PLACES], f"{len(where) - MOST_PLACES} more"]
        text = f"No score for {'; '.join(shown)} ({listed(list(dict.fromkeys(metrics[reason])))}): {reason}."
        answer.say(text, rows=dict.fromkeys(support[reason]), kind="alert", tone="bad")


def _without_number(answer: Answer, model: str, compared_with: str, layer: str) -> list[int]:
    """The undefined rows of one network's layer, so that each of them can show its reason."""
    return [
        i
        for i, row in enumerate(answer.rows)
        if (row.model, row.compared_with, row.layer) == (model, compared_with, layer) and math.isnan(row.value)
    ]


def _corrected_p(p: float, layers: int) -> str:
    """The p-value and what it was corrected for; nothing where it is unknown."""
    return "" if math.isnan(p) else f"{p_value(p)} with Holm's correction over {counted(layers, 'layer')}, "


def _corrected(rows: Sequence[tuple[int, Row]]) -> list[float]:
    """Holm's correction over layers; NaN where p is unknown, which is never significant."""
    return holm([math.nan if row.p is None else row.p for _, row in rows])


def _defined(answer: Answer, metric: str, model: str) -> list[tuple[int, Row]]:
    return [
        (i, row)
        for i, row in enumerate(answer.rows)
        if row.metric == metric and row.model == model and row.seed is None and not math.isnan(row.value)
    ]


def _find(answer: Answer, metric: str, model: str, layer: str, compared_with: str | None = None) -> tuple[int, Row]:
    found = answer.select(metric=metric, model=model, layer=layer, seed=None)
    row = next(row for row in found if compared_with in (None, row.compared_with))
    return answer.rows.index(row), row


def _layers(answer: Answer, metric: str, model: str, compared_with: str) -> Sequence[str]:
    found = answer.select(metric=metric, model=model, compared_with=compared_with, seed=None)
    return [row.layer for row in found]
