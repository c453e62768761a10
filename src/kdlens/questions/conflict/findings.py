"""What the rows of conflict say, in sentences."""

from collections.abc import Mapping, Sequence
from typing import Literal

from kdlens.answer import Answer, Row
from kdlens.questions.conflict.pairs import FALSE, LEAST, PairChange
from kdlens.questions.conflict.seen import Study
from kdlens.questions.phrases import correlation, counted, listed, number, p_value, points, quoted, span

Verdict = Literal["fewer", "more", "as many", "inconclusive"]
_OPENING: dict[Verdict, str] = {
    "fewer": "Classes pull the shared layer apart less with {}",
    "more": "Classes pull the shared layer apart more with {}",
    "as many": "Classes pull the shared layer apart as much with {} as without distillation",
    "inconclusive": "Whether classes pull the shared layer apart less with {} is inconclusive",
}
_MOST_NAMED = 5
_UNLIKE = "the two are measured at layers, or with logits, of different kinds"


def say_all(
    answer: Answer, study: Study, pairs: Mapping[str, Sequence[tuple[int, PairChange]]], *, margin: float
) -> None:
    """Add the verdict of every student, then which pairs changed."""
    for student in study.students:
        _verdict(answer, study, student, margin)
    for student in study.students:
        if study.comparable(student):
            _pairs(answer, study, student, pairs[student])


def verdict_of(change: Row, margin: float) -> Verdict:
    """Judge a change of the conflict rate, in points, by its interval.

    Example:
        >>> verdict_of(Row("c", -8.0, low=-12.0, high=-4.0), 5), verdict_of(Row("c", 1.0, low=-2.0, high=4.0), 5)
        ('fewer', 'as many')
        >>> verdict_of(Row("c", 1.0, low=-9.0, high=11.0), 5), verdict_of(Row("c", -8.0), 5)
        ('inconclusive', 'inconclusive')
    """
    if change.low is None or change.high is None:
        return "inconclusive"
    if change.high < 0:
        return "fewer"
    if change.low > 0:
        return "more"
    return "as many" if -margin < change.low and change.high < margin else "inconclusive"


def find(answer: Answer, metric: str, **columns: object) -> tuple[int, Row] | None:
    """The first row that fits, with its index."""
    row = next(iter(answer.select(metric=metric, **columns)), None)
    return None if row is None else (answer.rows.index(row), row)


def percent(row: Row) -> str:
    """A share with its interval.

    Example:
        >>> percent(Row("c", 41.2, low=37.0, high=45.5))
        '41.2 % [37.0, 45.5]'
    """
    return f"{number(row.value)} %{span(row.low, row.high)}"


def _verdict(answer: Answer, study: Study, student: str, margin: float) -> None:
    baseline = study.baseline(student)
    rows = [
        find(answer, metric, model=model, seed=None)
        for metric, model in (
            ("conflict_rate_change", student),
            ("conflict_rate", student),
            ("conflict_rate", baseline),
            ("conflict_cosine_change", student),
        )
    ]
    if any(row is None for row in rows):
        return
    (_, change), (_, mine), (_, other), (_, cosine) = (row for row in rows if row is not None)
    comparable = study.comparable(student)
    verdict: Verdict = verdict_of(change, margin) if comparable else "inconclusive"
    by_chance = f", {number(mine.chance)} % by chance" if mine.chance is not None else ""
    teacher = next((name for name, role in study.roles.items() if role == "teacher"), None)
    theirs = find(answer, "conflict_rate", model=teacher, seed=None) if teacher else None
    hers = f" ({teacher} {percent(theirs[1])})" if theirs else ""
    where = f"at {mine.layer}" if mine.layer == other.layer else f"at {mine.layer} (of {baseline}: {other.layer})"
    batches, size = study.batches.shape
    text = (
        f"{_OPENING[verdict].format(student)}: {where}, {percent(mine)} of the pairs of classes have opposed "
        f"gradients{by_chance}, with {baseline} {percent(other)}{hers}; a change of "
        f"{points(change.value, change.low, change.high)}. The mean cosine changes by "
        f"{number(cosine.value, 2, signed=True)}{span(cosine.low, cosine.high, 2)} (95 % intervals, "
        f"{counted(batches, 'batch', 'batches')} of {counted(size, 'image')}, "
        f"{counted(len(study.keys(student)), 'seed')}). The rule says so because "
        f"{_because(verdict, margin) if comparable else _UNLIKE}."
    )
    answer.say(text, rows=[row[0] for row in (*rows, theirs) if row is not None], kind="verdict")


def _because(verdict: Verdict, margin: float) -> str:
    if verdict in ("fewer", "more"):
        return f"the interval of the change lies {'below' if verdict == 'fewer' else 'above'} 0"
    if verdict == "as many":
        return f"the interval of the change holds 0 and excludes {number(margin)} points or more"
    return f"the interval of the change neither lies on one side of 0 nor stays within {number(margin)} points of it"


def _pairs(answer: Answer, study: Study, student: str, found: Sequence[tuple[int, PairChange]]) -> None:
    tested = len(study.classes) * (len(study.classes) - 1) // 2
    baseline = study.baseline(student)
    for stopped in (True, False):
        mine = [(index, one) for index, one in found if one.stopped == stopped]
        if not mine:
            continue
        told = listed([_told(study, one) for _, one in mine], most=_MOST_NAMED)
        what = "stopped" if stopped else "started"
        text = (
            f"{student}: {counted(len(mine), 'pair')} of {tested:,} {what} pulling against each other (cosine in "
            f"{baseline} → {student}): {told}. Of pairs named so, at most {number(100 * FALSE, 0)} % are expected to "
            "be false alarms."
        )
        answer.say(text, rows=[index for index, _ in mine])
    rate = find(answer, "conflict_rate_change", model=student, seed=None)
    if not found and len(study.batches) >= LEAST and rate is not None:
        text = (
            f"{student}: of {counted(tested, 'pair')} of classes none changes between opposed and not opposed for sure."
        )
        answer.say(text, rows=[rate[0]])


def _told(study: Study, one: PairChange) -> str:
    names = f"{quoted(study.classes[one.a])} and {quoted(study.classes[one.b])}"
    return f"{names} {correlation(one.before)} → {correlation(one.after)} ({p_value(one.p)})"
