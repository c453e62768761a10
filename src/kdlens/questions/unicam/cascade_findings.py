"""What becomes of a student's maps while it forgets what it learned, in sentences."""

from kdlens.answer import Answer, Row
from kdlens.questions.phrases import correlation, counted, listed
from kdlens.questions.unicam.joint.sanity import HEAD

TOO_ALIKE = 0.5
"""Correlation of the maps with those of shuffled weights above which they do not show what was learned."""


def say_cascade(answer: Answer, student: str) -> None:
    """How like the real maps those of a student stay, from its head to its input; nothing where it was not measured."""
    found = _rows(answer, "map_likeness_cascade", student)
    if not found:
        return
    rows = [row for _, row in found]
    alike = [f"{correlation(row.value, row.low, row.high)} ({_which(row, last=row is rows[-1])})" for row in rows]
    last, strength = rows[-1], _rows(answer, "map_rank_likeness_cascade", student)[-1:]
    text = (
        f"With its weights shuffled, the own maps of {student} correlate with the real ones at "
        f"{listed(alike)}{_beside(last)} (n = {counted(last.n or 0, 'image')})."
    )
    for _, row in strength:
        kept = correlation(row.value, row.low, row.high)
        text += f" How strong they are where, whatever the sign, keeps a rank correlation of {kept}{_beside(row)}."
    answer.say(
        text,
        rows=[i for i, _ in (*found, *strength)],
        tone="good" if last.value <= TOO_ALIKE else "neutral",
    )


def say_shuffled(answer: Answer, student: str) -> None:
    """Warn where the maps outlive all that the student learned."""
    for i, row in _rows(answer, "map_likeness_shuffled", student):
        if row.value > TOO_ALIKE:
            text = (
                f"The maps of {student} hardly depend on what it learned: with shuffled weights they correlate at "
                f"{correlation(row.value, row.low, row.high)} with the real ones. They may show edges of the image."
            )
            answer.say(text, rows=[i], kind="alert", tone="bad")


def _beside(row: Row) -> str:
    """What real maps of different images have in common."""
    return f", those of different images at {correlation(row.chance)}" if row.chance is not None else ""


def _which(row: Row, *, last: bool) -> str:
    """Which weights are shuffled."""
    if last:
        return "all weights"
    return "head" if row.layer == HEAD else f"from {row.layer} on"


def _rows(answer: Answer, metric: str, student: str) -> list[tuple[int, Row]]:
    return [(i, row) for i, row in enumerate(answer.rows) if row.metric == metric and row.model == student]
