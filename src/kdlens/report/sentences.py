"""Findings as sentences that link to the rows they rest on."""

import re
from collections.abc import Iterable, Sequence

from kdlens.answer import Answer, Finding
from kdlens.report.blocks import Sentence
from kdlens.report.names import title_of
from kdlens.report.numbers import interval_text, known, signed, value_text, with_unit

BADGES = ("HELPED", "NO EFFECT", "HURT", "INCONCLUSIVE")
_BADGE = re.compile(rf"({'|'.join(BADGES)})\b\s*[:.,-]?\s*")
_MOST_LINKS = 6


def sentence(finding: Finding, answer: Answer, anchor: str) -> Sentence:
    """Set a finding of an answer whose section has the id `anchor`.

    Every sentence has a link: to its rows, or, for an alert without rows, to the section.
    """
    found = _BADGE.match(finding.text)
    rows = [index for index in dict.fromkeys(finding.rows) if index < len(answer.rows)]
    subject = next((answer.rows[index].model for index in rows if answer.rows[index].model), "")
    links = tuple((row_anchor(anchor, index), str(index + 1)) for index in rows[:_MOST_LINKS])
    return Sentence(
        text=finding.text[found.end() :] if found and finding.kind == "verdict" else finding.text,
        tone=finding.tone,
        kind=finding.kind,
        badge=found.group(1) if found and finding.kind == "verdict" else "",
        subject=subject,
        headline=_headline(answer, rows) if finding.kind == "verdict" else ("", ""),
        links=links or ((anchor, ""),),
        question=title_of(answer.question),
    )


def _headline(answer: Answer, rows: Sequence[int]) -> tuple[str, str]:
    """The first number a verdict rests on, and its interval."""
    if not rows or not known(answer.rows[rows[0]].value):
        return ("", "")
    row = answer.rows[rows[0]]
    return with_unit(value_text(row), row.unit), interval_text(row.low, row.high, row.unit, signed=signed(row))


def row_anchor(anchor: str, index: int) -> str:
    """The id of a row of an answer's table."""
    return f"row-{anchor}-{index + 1}"


def sentences(answer: Answer, anchor: str, *kinds: str) -> tuple[Sentence, ...]:
    """An answer's findings of some kinds, in its order."""
    return tuple(sentence(finding, answer, anchor) for finding in answer.findings if finding.kind in kinds)


def key_findings(found: Iterable[Sequence[Sentence]], *, most: int = 9) -> list[Sentence]:
    """The sentences to read first: some of every question, its verdict first, then what is good or bad."""
    questions = [of_question for of_question in found if of_question]
    each = max(2, most // max(1, len(questions)))
    chosen = []
    for of_question in questions:
        rank = {i: (s.kind != "verdict", s.tone == "neutral", i) for i, s in enumerate(of_question)}
        chosen += [of_question[i] for i in sorted(sorted(rank, key=rank.__getitem__)[:each])]
    return chosen


def not_answered(question: str, error: str) -> str:
    r"""What is said of a question that failed, in one line.

    Example:
        >>> not_answered("unicam", "RuntimeError: sizes\n\tdo not match")
        'Where the networks look could not be answered: RuntimeError: sizes do not match'
    """
    return f"{title_of(question)} could not be answered: {' '.join(error.split())}"


def told(found: Iterable[Sentence]) -> list[Sentence]:
    """What a section says itself: findings, and verdicts that are not among the verdicts of the page."""
    return [s for s in found if s.kind == "finding" or (s.kind == "verdict" and not s.badge)]
