"""What became of the pairs of classes that networks confuse, in sentences."""

from collections.abc import Sequence

from kdlens.answer import Answer, Row
from kdlens.questions.class_similarity.confusions import LEAST, Confusion, Story
from kdlens.questions.class_similarity.prepared import Prepared
from kdlens.questions.class_similarity.rows_confusions import pair_name
from kdlens.questions.phrases import counted, number, p_value, quoted, span

MOST = {"transferred": 3, "own": 2, "dropped": 2, "missing": 2}
"""Sentences of each story; the table has all."""


def say_confusions(answer: Answer, found: Prepared, student: str, every: Sequence[Confusion]) -> None:
    """Count the pairs by their story, then tell the largest of each."""
    tested = [one for one in every if one.story != "missing"]
    if found.teacher is None or not every:
        return
    _count(answer, found, student, every, len(tested))
    for story, most in MOST.items():
        chosen = sorted((one for one in every if one.story == story), key=lambda one: -abs(one.change.value))
        for one in chosen[:most]:
            _tell(answer, found, student, one)


def _count(answer: Answer, found: Prepared, student: str, every: Sequence[Confusion], tested: int) -> None:
    def count(story: Story) -> int:
        return sum(one.story == story for one in every)

    baseline, teacher = found.baseline(student), found.teacher[0] if found.teacher else ""
    rows = [i for i, row in enumerate(answer.rows) if row.model == student and row.metric in _METRICS]
    text = (
        f"Of {counted(tested, 'pair')} of classes that {student} and {baseline} confuse differently ({LEAST} images or "
        f"more), {student} makes {count('transferred')} clearly more often that {teacher} finds alike, {count('own')} "
        f"that it does not, and {count('dropped')} clearly less often; {count('missing')} that {teacher} makes more "
        f"often than both did not arrive (false discovery rate 5 %)."
    )
    answer.say(text, rows=rows)


_METRICS = tuple(f"confusion_{story}" for story in (*MOST, "undecided"))


def _tell(answer: Answer, found: Prepared, student: str, one: Confusion) -> None:
    teacher, baseline = found.teacher[0] if found.teacher else "", found.baseline(student)
    name = pair_name(found.classes, one.pair)
    support, rates = [], []
    for model in (student, teacher, baseline):
        row = answer.select(metric="confusion_rate", model=model, class_name=name)[0]
        support.append(answer.rows.index(row))
        rates.append(row)
    mine, its, other = rates
    share = answer.select(metric="share_of_wrong", model=teacher, class_name=name)[0]
    change = answer.select(metric=f"confusion_{one.story}", model=student, class_name=name)[0]
    support += [answer.rows.index(share), answer.rows.index(change)]
    true, wrong = quoted(found.classes[one.pair[0]]), quoted(found.classes[one.pair[1]])
    basis = f"n = {counted(mine.n or 0, 'image')} of {true}, {p_value(change.p)}"
    text = (
        f"{student} takes {true} for {wrong} on {_percent(mine)} of the images{_teacher(one.story, its, other, share)} "
        f"({_plain(its)}); {baseline} on {_plain(other)} ({basis})."
    )
    answer.say(text, rows=support)


def _teacher(story: Story, its: Row, other: Row, share: Row) -> str:
    """What the teacher has to do with it."""
    if story == "transferred":
        if its.value > other.value:
            return f", as {its.model} does"
        return (
            f", a pair that {its.model} finds alike ({number(share.value)} % of what it leaves to wrong classes; an "
            f"even share is {number(share.chance or 0)} %) but seldom makes"
        )
    if story == "own":
        return f", a pair that {its.model} does not find alike"
    if story == "missing":
        return f", less often than {its.model}"
    return ", like " + its.model if its.value < other.value else f", unlike {its.model}"


def _percent(row: Row) -> str:
    return f"{number(row.value)} %{span(row.low, row.high)}"


def _plain(row: Row) -> str:
    return f"{number(row.value)} %"
