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
    last = rows[-1]
    chance = f"; real maps of different images do at {correlation(last.chance)}" if last.chance is not None else ""
    answer.say(
        f"With its weights shuffled, the own maps of {student} correlate with the real ones at "
        f"{listed(alike)}{chance} (n = {counted(last.n or 0, 'image')}).",
        rows=[i for i, _ in found],
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


def _which(row: Row, *, last: bool) -> str:
    """Which weights are shuffled."""
    if last:
        return "all weights"
    return "head" if row.layer == HEAD else f"from {row.layer} on"


def _rows(answer: Answer, metric: str, student: str) -> list[tuple[int, Row]]:
    return [(i, row) for i, row in enumerate(answer.rows) if row.metric == metric and row.model == student]
