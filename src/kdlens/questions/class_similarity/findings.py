"""What the class-similarity rows say, in sentences."""

from collections.abc import Mapping, Sequence
from typing import Literal

from kdlens.answer import Answer, Row
from kdlens.questions.class_similarity.categories import Categories
from kdlens.questions.class_similarity.confusions import Confusion
from kdlens.questions.class_similarity.findings_confusions import say_confusions
from kdlens.questions.class_similarity.prepared import Prepared
from kdlens.questions.phrases import correlation, counted, listed, number, p_value, span

Verdict = Literal["arrived", "moved away", "did not arrive", "inconclusive"]
Tone = Literal["good", "bad", "neutral"]
TONE: dict[Verdict, Tone] = {
    "arrived": "good",
    "moved away": "bad",
    "did not arrive": "neutral",
    "inconclusive": "neutral",
}
_OPENING: dict[Verdict, str] = {
    "arrived": "Class similarity arrived with {}",
    "moved away": "With {} class similarity moved away from the teacher's",
    "did not arrive": "Class similarity did not arrive with {}, beyond what the labels teach",
    "inconclusive": "Whether class similarity arrived with {} is inconclusive",
}


def say_all(
    answer: Answer,
    found: Prepared,
    stories: Mapping[str, Sequence[Confusion]],
    categories: Categories,
    *,
    margin: float,
) -> None:
    """Add the verdict of every student, then the findings."""
    for student in found.students:
        _verdict(answer, found, student, margin)
    for student in found.students:
        _entropy(answer, found, student, categories)
        say_confusions(answer, found, student, stories.get(student, ()))


def verdict_of(gains: Sequence[Row], margin: float) -> Verdict:
    """Judge a gain by its intervals, at the stated temperature and at one confidence.

    Example:
        >>> verdict_of([Row("g", 0.2, low=0.1, high=0.3), Row("m", 0.1, low=0.05, high=0.15)], 0.05)
        'arrived'
        >>> verdict_of([Row("g", 0.2, low=0.1, high=0.3), Row("m", 0.0, low=-0.01, high=0.01)], 0.05)
        'inconclusive'
        >>> verdict_of([Row("g", 0.0, low=-0.02, high=0.02)], 0.05), verdict_of([Row("g", 0.0)], 0.05)
        ('did not arrive', 'inconclusive')
    """
    ends = [(row.low, row.high) for row in gains if row.low is not None and row.high is not None]
    if len(ends) < len(gains) or not ends:
        return "inconclusive"
    if all(low > 0 for low, _ in ends):
        return "arrived"
    if all(high < 0 for _, high in ends):
        return "moved away"
    return "did not arrive" if all(-margin < low <= 0 <= high < margin for low, high in ends) else "inconclusive"


def find(answer: Answer, metric: str, **columns: object) -> tuple[int, Row] | None:
    """The first row that fits, with its index."""
    row = next(iter(answer.select(metric=metric, **columns)), None)
    return None if row is None else (answer.rows.index(row), row)


def signed(row: Row) -> str:
    """A gain in correlation with its interval, without leading zeros.

    Example:
        >>> signed(Row("g", 0.112, low=0.08, high=0.14)), signed(Row("g", -0.05))
        ('+.11 [.08, .14]', '-.05')
    """
    return f"{number(row.value, 2, signed=True)}{span(row.low, row.high, 2)}".replace("0.", ".")


def _verdict(answer: Answer, found: Prepared, student: str, margin: float) -> None:
    gain = find(answer, "similarity_gain", model=student, seed=None)
    mine = find(answer, "similarity_correlation", model=student, seed=None)
    baseline = found.baseline(student)
    other = find(answer, "similarity_correlation", model=baseline, seed=None)
    if gain is None or mine is None or other is None:
        return
    matched = find(answer, "similarity_matched_gain", model=student, seed=None)
    verdict = verdict_of([row for _, row in (gain, *([matched] if matched else []))], margin)
    at_one = f"; at the teacher's confidence {signed(matched[1])}" if matched else ""
    chance = f"by chance {correlation(mine[1].chance or 0.0)}, {p_value(mine[1].p)}"
    basis = f"n = {counted(mine[1].n or 0, 'image')}, {counted(len(found.present), 'class', 'classes')}"
    text = (
        f"{_OPENING[verdict].format(student)}: for which classes are alike, its rank correlation with "
        f"{mine[1].compared_with} is {correlation(mine[1].value, mine[1].low, mine[1].high)} "
        f"({chance}), that of {baseline} {correlation(other[1].value, other[1].low, other[1].high)}: a gain of "
        f"{signed(gain[1])}{at_one} (95 % interval, {basis}, {counted(len(found.keys(student)), 'seed')}). "
        f"The rule says so because {_because(verdict, margin, both=matched is not None)}."
    )
    rows = [i for i, _ in (gain, mine, other, *([matched] if matched else []))]
    answer.say(text, rows=rows, kind="verdict", tone=TONE[verdict])


def _because(verdict: Verdict, margin: float, *, both: bool) -> str:
    what = "both intervals" if both else "the interval"
    s = "" if both else "s"
    if verdict in ("arrived", "moved away"):
        return f"{what} lie{s} {'above' if verdict == 'arrived' else 'below'} 0"
    if verdict == "did not arrive":
        return f"{what} hold{s} 0 and exclude{s} a gain or loss of {number(margin, 2)} or more"
    if both:
        return f"the intervals neither both lie on one side of 0 nor both stay within {number(margin, 2)} of it"
    return f"the interval neither lies on one side of 0 nor stays within {number(margin, 2)} of it"


def _entropy(answer: Answer, found: Prepared, student: str, categories: Categories) -> None:
    names = [found.teacher[0]] if found.teacher else []
    names += [student, found.baseline(student)]
    rows = [find(answer, "within_category_entropy", model=name, seed=None) for name in names]
    gain = find(answer, "within_category_entropy_gain", model=student, seed=None)
    if gain is None or any(row is None for row in rows):
        return
    shown = [row for row in rows if row is not None]
    unit, most = gain[1].unit, shown[0][1].chance or 0.0
    values = listed([f"{row.model} {number(row.value, 3)}{span(row.low, row.high, 3)}" for _, row in shown])
    matched = find(answer, "within_category_entropy_matched_gain", model=student, seed=None)
    text = (
        f"Within {_whose(categories)}, entropy of the output at temperature 1: {values} {unit} (an even share "
        f"{number(most, 3)}; n = {counted(gain[1].n or 0, 'image')}). {_direction(gain[1])}"
    )
    support = [i for i, _ in (*shown, gain)]
    if matched is not None:
        text += f" {_at_one_confidence(gain[1], matched[1])}"
        support.append(matched[0])
    answer.say(text, rows=support)


def _whose(categories: Categories) -> str:
    count = counted(len(categories.members), "category", "categories")
    if categories.source == "teacher":
        return f"the teacher's {count}"
    return "all classes" if categories.source == "all" else count


def _direction(gain: Row) -> str:
    low, high = gain.low, gain.high
    amount = f"{number(gain.value, 3, signed=True)}{span(low, high, 3)} {gain.unit}"
    if low is not None and high is not None and (low > 0 or high < 0):
        reports = "as the paper reports of distillation" if low > 0 else "as the paper reports of label smoothing"
        more = "more" if low > 0 else "less"
        return f"{gain.model} leaves {more} to like classes than {gain.compared_with} ({amount}), {reports}."
    return f"{gain.model} and {gain.compared_with} do not differ clearly: {amount}."


def _at_one_confidence(gain: Row, matched: Row) -> str:
    amount = f"{number(matched.value, 3, signed=True)}{span(matched.low, matched.high, 3)} {matched.unit}"
    if matched.low is None or matched.high is None or matched.low <= 0 <= matched.high:
        clear = gain.low is not None and gain.high is not None and not gain.low <= 0 <= gain.high
        more = ", so that confidence explains the difference" if clear else ""
        return f"At one confidence for all they do not differ clearly ({amount}){more}."
    same = (matched.value > 0) == (gain.value > 0)
    return f"At one confidence for all the difference is {amount}: {'it stands' if same else 'it turns'}."
