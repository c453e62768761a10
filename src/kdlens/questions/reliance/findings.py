"""What the reliance rows say, in sentences."""

from collections.abc import Sequence

from kdlens.answer import Answer, Row
from kdlens.questions.phrases import counted, digits_that_add_up, number, points, span

FEW_IMAGES = 100


def say_all(answer: Answer, students: Sequence[str], *, n: int, left_out: int) -> None:
    """Add findings for every student, then alerts."""
    for student in dict.fromkeys(students):
        _flipped(answer, student)
        _swapped(answer, student)
        _removed(answer, student)
        _pasted(answer, student)
    if left_out:
        text = (
            f"{counted(left_out, 'image')} left out: no object, or hardly any background (less than 5 % of the image)."
        )
        answer.say(text, kind="alert", tone="bad" if left_out > n else "neutral")
    if n < FEW_IMAGES:
        answer.say(f"Only {counted(n, 'image')}: the intervals are wide.", kind="alert", tone="bad")


def _flipped(answer: Answer, student: str) -> None:
    """The plainest sign: whether the answer moves with the background."""
    i, change = _find(answer, "answers_changed_change", student)
    j, mine = _find(answer, "answers_changed", student)
    k, other = _find(answer, "answers_changed", change.compared_with)
    sure = _sure(change)
    digits = digits_that_add_up(mine.value, other.value, change.value)
    text = (
        f"Another background changes the answer of {change.compared_with} on {_share(other, digits)} of the images and "
        f"that of {student} on {_share(mine, digits)}: {'' if sure else 'no clear difference, '}"
        f"{points(change.value, change.low, change.high, digits)} (n = {counted(change.n or 0, 'image')})."
    )
    tone = ("good" if change.value < 0 else "bad") if sure else "neutral"
    answer.say(text, rows=[i, j, k], tone=tone)  # type: ignore[arg-type]


def _sure(change: Row) -> bool:
    return change.low is not None and change.high is not None and not change.low <= 0 <= change.high


def _swapped(answer: Answer, student: str) -> None:
    i, change = _find(answer, "background_reliance_change", student)
    baseline = change.compared_with
    j, mine = _find(answer, "background_reliance", student)
    k, other = _find(answer, "background_reliance", baseline)
    sure = _sure(change)
    how = f"{student} loses {'less' if change.value < 0 else 'more'} accuracy to a wrong background than {baseline}"
    if not sure:
        how = f"It is not clear whether {student} loses more or less accuracy to a wrong background than {baseline}"
    digits = digits_that_add_up(mine.value, other.value, change.value)
    text = (
        f"{how}: when the background is swapped for that of another "
        f"class, {baseline} {_loses(other, digits)} and {student} {_loses(mine, digits)}, a difference of "
        f"{points(change.value, change.low, change.high, digits)} (n = {counted(change.n or 0, 'image')})."
    )
    tone = ("good" if change.value < 0 else "bad") if sure else "neutral"
    rows = [i, j, k]
    if answer.select(metric="background_reliance", model="teacher", seed=None):
        t, teacher = _find(answer, "background_reliance", "teacher")
        text = f"{text[:-1]}; the teacher {_loses(teacher)}."
        rows.append(t)
    answer.say(text, rows=rows, tone=tone)  # type: ignore[arg-type]


def _removed(answer: Answer, student: str) -> None:
    baseline = answer.select(metric="background_reliance_change", model=student)[0].compared_with
    i, mine = _find(answer, "accuracy_object_removed", student)
    j, other = _find(answer, "accuracy_object_removed", baseline)
    text = (
        f"With the object taken out, {baseline} still names {_share(other)} of the images right and {student} "
        f"{_share(mine)} (guessing: {number(mine.chance or 0)} %; n = {counted(mine.n or 0, 'image')})."
    )
    answer.say(text, rows=[i, j])


def _pasted(answer: Answer, student: str) -> None:
    if not answer.select(metric="background_gap", model=student, seed=None):
        return
    i, original = _find(answer, "accuracy_original", student)
    j, same = _find(answer, "accuracy_background_same_class", student)
    k, gap = _find(answer, "background_gap", student)
    text = (
        f"What cutting and pasting costs by itself: on another background of the same class, {student} names "
        f"{_share(same)} of the images right, against {_share(original)} as they are. That and the swap to another "
        f"class differ by {points(gap.value, gap.low, gap.high)} (n = {counted(gap.n or 0, 'image')})."
    )
    answer.say(text, rows=[i, j, k])


def _loses(row: Row, digits: int = 1) -> str:
    if row.value < 0:
        low, high = (None, None) if row.low is None or row.high is None else (-row.high, -row.low)
        return f"gains {number(-row.value, digits)} points{span(low, high, digits)}"
    return f"loses {number(row.value, digits)} points{span(row.low, row.high, digits)}"


def _share(row: Row, digits: int = 1) -> str:
    return f"{number(row.value, digits)} %{span(row.low, row.high, digits)}"


def _find(answer: Answer, metric: str, model: str) -> tuple[int, Row]:
    row = answer.select(metric=metric, model=model, seed=None)[0]
    return answer.rows.index(row), row
